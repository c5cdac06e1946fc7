//! Lease values: what is read can be written and means the same.

use selvedge_engine::{LeaseRecord, RejectReason};
use serde_json::Value;

/// The longest value that is read, in bytes.
const MAX_VALUE: usize = 64 * 1024;

/// Reads the bytes as a lease's value and writes it again.
///
/// # Panics
///
/// If writing changes what is read, or does not come to rest.
pub fn lease_value(data: &[u8]) {
    let record = match LeaseRecord::decode(data) {
        Ok(record) => record,
        Err(reason) => {
            let expected = if data.len() > MAX_VALUE {
                RejectReason::TooLarge
            } else {
                RejectReason::BadValue
            };
            assert_eq!(reason, expected);
            return;
        }
    };
    let written = record.encode();
    if written.len() > MAX_VALUE {
        return;
    }
    let again = LeaseRecord::decode(&written).expect("what is written can be read");
    assert_eq!(again.encode(), written);
    assert_eq!(again.public_ip, record.public_ip);
    assert_eq!(again.public_ipv6, record.public_ipv6);
    assert_eq!(again.backend_type, record.backend_type);
    assert_same_meaning(again.backend_data.as_deref(), record.backend_data.as_deref());
    assert_same_meaning(
        again.backend_v6_data.as_deref(),
        record.backend_v6_data.as_deref(),
    );
}

fn assert_same_meaning(one: Option<&str>, other: Option<&str>) {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    assert_eq!(one.map(parsed), other.map(parsed));
}
