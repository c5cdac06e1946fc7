//! A reservation stays one until an operator says otherwise (control-plane.md, 3.4). That its node gets it shows at rest.

use super::Verdict;
use crate::ref_cluster::Write;
use crate::violation::{Finding, Invariant};

/// Checks that a write does not give an etcd lease to a key that had none.
pub(crate) fn check_write(write: &Write) -> Verdict {
    match write {
        Write::Lease {
            subnet,
            owner: Some(owner),
            reservation: Reservation::Lost,
            ..
        } => {
            let text = format!("{owner} turns the reservation of {subnet} into a lease that ends");
            Err(Finding::new(Invariant::Reservations, [], text))
        }
        Write::Lease { .. } | Write::Gone { .. } | Write::Junk | Write::Stray => Ok(()),
    }
}

/// What a write means to the reservation of a subnet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reservation {
    /// There is none, before or after.
    None,
    /// There is one now.
    Standing,
    /// There was one.
    Lost,
}

#[cfg(test)]
mod tests {
    use selvedge_engine::{EtcdLeaseId, WatchEvent};

    use super::*;
    use crate::ref_cluster::fixture::{N1, after, connected, put};

    #[test]
    fn a_reservation_may_be_rewritten_but_not_get_an_etcd_lease() {
        let mut cluster = connected();
        let value = format!(r#"{{"PublicIP":"{}","PublicIPv6":null}}"#, N1.public_ip());
        let reserved = put("10.5.1.0-24", &value);
        let WatchEvent::Put(mut kv) = reserved.clone() else {
            panic!("a put")
        };
        kv.lease = Some(EtcdLeaseId(7));

        let first = cluster.observe(&reserved, after(1));
        let again = cluster.observe(&reserved, after(2));
        let lost = cluster.observe(&WatchEvent::Put(kv), after(3));

        assert_eq!((check_write(&first), check_write(&again)), (Ok(()), Ok(())));
        assert!(check_write(&lost).is_err());
    }
}
