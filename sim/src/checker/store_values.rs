//! Every lease that a node writes can be read by all, and names a node.

use selvedge_engine::{LeaseRecord, WatchEvent};

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::Write;
use crate::violation::{Finding, Invariant};

/// Checks a change of the store that the model took for `write`, in a cluster of `nodes`.
pub(crate) fn check(event: &WatchEvent, write: &Write, nodes: usize) -> Verdict {
    let WatchEvent::Put(kv) = event else {
        return Ok(());
    };
    let key = kv.key.escape_ascii();
    let value = kv.value.escape_ascii();
    let wrong = match write {
        Write::Stray => format!("{key} is written, which is no lease's key"),
        Write::Lease { owner: None, .. } => format!("{key} has an unreadable value: {value}"),
        Write::Lease {
            owner: Some(owner), ..
        } if NodeId::by_public_ip(*owner, nodes).is_none() => {
            format!("{key} names {owner}, which is no node")
        }
        Write::Lease { .. } if !reads_back(&kv.value) => {
            format!("{key} has a value that reads back as another: {value}")
        }
        Write::Lease { .. } | Write::Junk | Write::Gone { .. } => return Ok(()),
    };
    Err(Finding::new(Invariant::StoreValues, [], wrong))
}

fn reads_back(value: &[u8]) -> bool {
    LeaseRecord::decode(value).is_ok_and(|record| record.encode() == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::fixture::{N1, after, connected, put};

    #[test]
    fn a_lease_as_nodes_write_it_passes() {
        assert_eq!(judged("10.5.1.0-24", &good()), Ok(()));
    }

    #[test]
    fn unreadable_foreign_and_stray_records_are_found() {
        let spaced = good().replace(':', ": ");
        let foreign = r#"{"PublicIP":"9.9.9.9","PublicIPv6":null}"#;

        assert!(judged("10.5.1.0-24", "{").is_err());
        assert!(judged("10.5.1.0-24", foreign).is_err());
        assert!(judged("10.5.1.0-24", &spaced).is_err());
        assert!(judged("subnet", &good()).is_err());
    }

    fn judged(key: &str, value: &str) -> Verdict {
        let mut cluster = connected();
        let event = put(key, value);
        let write = cluster.observe(&event, after(1));
        check(&event, &write, 3)
    }

    fn good() -> String {
        format!(r#"{{"PublicIP":"{}","PublicIPv6":null}}"#, N1.public_ip())
    }
}
