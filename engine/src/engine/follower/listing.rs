//! One list of all leases, read in pages.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::num::NonZero;

use serde::{Deserialize, Serialize};

use crate::action::RequestId;
use crate::engine::outbox::Outbox;
use crate::leases::{Extent, MAX_RECORDS};
use crate::store::{
    Header, KeyRange, KeyValue, Page, Revision, StoreError, StoreErrorKind, StoreRequest, StoreResponse,
};

/// How many keys a page has: some hundred kilobytes.
const PAGE: Option<NonZero<u32>> = NonZero::new(1000);

/// A list under way: all pages show the store as it was at the revision of the first.
///
/// It ends at [`MAX_RECORDS`] keys, so that neither memory nor requests grow with what others write.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Listing {
    id: RequestId,
    /// The newest revision known when the list was asked for: an answer below it means that the store went back in
    /// time.
    seen: Revision,
    /// What came with the first page.
    header: Option<Header>,
    kvs: Vec<KeyValue>,
}

/// A list that was read to its end.
#[derive(Debug)]
pub(super) struct Listed {
    /// The newest revision that was known when it was asked for.
    pub(super) seen: Revision,
    /// About the store; the list shows it at this revision.
    pub(super) header: Header,
    pub(super) kvs: Vec<KeyValue>,
    pub(super) extent: Extent,
}

/// What follows from a page.
#[derive(Debug)]
pub(super) enum Turn {
    Next(Listing),
    Done(Listed),
}

impl Listing {
    /// Asks for the first page.
    pub(super) fn begin(range: &KeyRange, seen: Revision, outbox: &mut Outbox) -> Self {
        Self {
            id: ask(range, Page::default().after, None, outbox),
            seen,
            header: None,
            kvs: Vec::new(),
        }
    }

    pub(super) fn awaits(&self, id: RequestId) -> bool {
        self.id == id
    }

    /// Takes a page, and asks for the next.
    ///
    /// # Errors
    ///
    /// What the store says, or what is wrong with its page; then nothing of the list is of any use.
    pub(super) fn take(
        mut self,
        result: Result<StoreResponse, StoreError>,
        range: &KeyRange,
        outbox: &mut Outbox,
    ) -> Result<Turn, StoreError> {
        let StoreResponse::Range { header, kvs, more } = result? else {
            return Err(broken("the answer is none to a read"));
        };
        let first = *self.header.get_or_insert(header);
        if first.cluster_id != header.cluster_id {
            return Err(broken("the store was replaced while it was read"));
        }
        let last = kvs.last().map(|kv| kv.key.clone());
        self.kvs.extend(kvs);
        let extent = match (more, last) {
            (false, _) => Extent::Whole,
            (true, None) => return Err(broken("a page is empty although more is to follow")),
            (true, Some(_)) if self.kvs.len() >= MAX_RECORDS => Extent::Cut,
            (true, Some(last)) => {
                self.id = ask(range, Some(last), Some(first.revision), outbox);
                return Ok(Turn::Next(self));
            }
        };
        Ok(Turn::Done(Listed {
            seen: self.seen,
            header: first,
            kvs: self.kvs,
            extent,
        }))
    }
}

fn ask(
    range: &KeyRange,
    after: Option<Vec<u8>>,
    revision: Option<Revision>,
    outbox: &mut Outbox,
) -> RequestId {
    outbox.request(StoreRequest::Range {
        range: range.clone(),
        page: Page { after, limit: PAGE },
        revision,
    })
}

fn broken(message: &str) -> StoreError {
    StoreError {
        kind: StoreErrorKind::Invalid,
        message: message.to_string(),
    }
}
