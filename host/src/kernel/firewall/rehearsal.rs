//! Comparing the kernel's rules with a script: the kernel lists rules in words of its own, so the script is carried out in a
//! network namespace that lasts for a moment, and both listings are held against each other.

use std::io;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use selvedge_engine::Ruleset;
use tokio::sync::oneshot;

use super::Firewall;
use super::listing;

impl Firewall {
    /// Tells whether the kernel has exactly the rules of a ruleset; its members are not looked at.
    ///
    /// # Errors
    ///
    /// If that cannot be seen: without the ruleset's program, or without the right to make a network namespace.
    pub async fn has(&mut self, ruleset: &Ruleset) -> io::Result<bool> {
        let present = listing::list(ruleset.name, &mut self.watch).await;
        let present = present.map_err(io::Error::other)?;
        Ok(present.rules == rehearse(ruleset.clone()).await?)
    }
}

/// Returns how the kernel lists the rules of a ruleset where there is nothing else.
async fn rehearse(ruleset: Ruleset) -> io::Result<Vec<String>> {
    let (sender, listed) = oneshot::channel();
    // The namespace is the thread's alone, and ends with it.
    thread::Builder::new().spawn(move || {
        // Fails only if nobody wants to know any more.
        drop(sender.send(list_alone(&ruleset)));
    })?;
    listed.await.map_err(io::Error::other)?
}

fn list_alone(ruleset: &Ruleset) -> io::Result<Vec<String>> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut firewall = Firewall::open();
        let made = firewall.ensure_ruleset(ruleset).await;
        made.map_err(io::Error::other)?;
        let made = firewall.made.remove(&ruleset.name);
        Ok(made.map(|made| made.rules).unwrap_or_default())
    })
}
