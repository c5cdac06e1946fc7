//! The interface that carries the tunnel: the kernel's facts, put to the engine's choice.

use std::io;

use selvedge_engine::{Attachments, SelectError, Selection, Survey, Underlay};

use crate::kernel::netlink::Netlink;
use crate::kernel::survey;

/// Why no interface was found.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The kernel does not say.
    #[error("cannot ask the kernel for its interfaces: {0}")]
    Netlink(#[from] io::Error),
    /// None fits.
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// Finds the interface that is asked for; must be called inside a tokio runtime.
///
/// # Errors
///
/// If there is none now; later there may be.
pub async fn find(selection: &Selection) -> Result<Underlay, InterfaceError> {
    let question = Survey {
        tunnels: Vec::new(),
        destination: selection.destination(),
    };
    let facts = survey::look(&Netlink::open()?, &question).await?;
    Ok(Underlay::select(&Attachments::of(&facts), selection)?)
}
