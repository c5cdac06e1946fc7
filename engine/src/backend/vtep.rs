//! What a lease says of its node's VXLAN device, for one IP version: `{"VNI":1,"VtepMAC":"46:3d:a8:dc:ed:cb"}`
//! (backends.md, 1.3).

use alloc::format;
use alloc::string::String;

use crate::json::Object;
use crate::kernel::{MacAddress, Vni};
use crate::reject_reason::RejectReason;

/// Reads the hardware address of a peer's device from the data of its lease: key names in any case, unknown keys ignored.
///
/// The network identifier is ignored, too: a node takes and sends packets of the network config's, whatever a lease
/// says.
///
/// # Errors
///
/// [`RejectReason::BadBackendData`] if there is no address, or one that no single device can have.
pub(super) fn read(data: Option<&str>) -> Result<MacAddress, RejectReason> {
    let text = data.ok_or(RejectReason::BadBackendData)?;
    let object = Object::parse(text.as_bytes(), text.len()).map_err(|_| RejectReason::BadBackendData)?;
    let mac: Option<String> = object.get("VtepMAC").map_err(|_| RejectReason::BadBackendData)?;
    mac.and_then(|mac| mac.parse().ok())
        .filter(|mac: &MacAddress| mac.is_unicast())
        .ok_or(RejectReason::BadBackendData)
}

/// Writes the data of a node's own lease, byte for byte as flannel does.
pub(super) fn write(vni: Vni, mac: MacAddress) -> String {
    format!(r#"{{"VNI":{vni},"VtepMAC":"{mac}"}}"#)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddress = MacAddress([0x46, 0x3d, 0xa8, 0xdc, 0xed, 0xcb]);

    #[test]
    fn data_is_written_byte_for_byte() {
        let written = write(Vni::new(1).unwrap(), MAC);

        assert_eq!(written, r#"{"VNI":1,"VtepMAC":"46:3d:a8:dc:ed:cb"}"#);
    }

    #[test]
    fn only_the_hardware_address_counts() {
        for data in [
            r#"{"VtepMAC":"46:3d:a8:dc:ed:cb"}"#,
            r#"{"VNI":4096,"VtepMAC":"46:3D:A8:DC:ED:CB"}"#,
            r#"{"vni":-1,"VTEPMAC":"46:3d:a8:dc:ed:cb","Other":[{}]}"#,
            r#" { "VNI" : "1" , "vtepMac" : "46:3d:a8:dc:ed:cb" } "#,
            r#"{"VNI":null,"VtepMAC":"02:00:00:00:00:01","VtepMAC":"46:3d:a8:dc:ed:cb","VtepMAC":null}"#,
        ] {
            assert_eq!(read(Some(data)), Ok(MAC), "{data}");
        }
    }

    #[test]
    fn data_without_the_address_of_a_single_device_is_refused() {
        assert_eq!(read(None), Err(RejectReason::BadBackendData));
        for data in [
            "",
            "null",
            "[]",
            "1",
            r#""46:3d:a8:dc:ed:cb""#,
            "{}",
            r#"{"VNI":1}"#,
            r#"{"VNI":1,"VtepMAC":null}"#,
            r#"{"VNI":1,"VtepMAC":""}"#,
            r#"{"VNI":1,"VtepMAC":[70,61,168,220,237,203]}"#,
            r#"{"VNI":1,"VtepMAC":"46:3d:a8:dc:ed"}"#,
            r#"{"VNI":1,"VtepMAC":"00:00:00:00:00:00"}"#,
            r#"{"VNI":1,"VtepMAC":"ff:ff:ff:ff:ff:ff"}"#,
            r#"{"VNI":1,"VtepMAC":"01:00:5e:00:00:01"}"#,
        ] {
            assert_eq!(read(Some(data)), Err(RejectReason::BadBackendData), "{data}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(vni in 0..=0x00ff_ffff_u32, bytes in any::<[u8; 6]>()) {
            let mac = MacAddress::local(bytes);

            prop_assert_eq!(read(Some(&write(Vni::new(vni).unwrap(), mac))), Ok(mac));
        }

        #[test]
        fn reading_never_panics(data in any::<String>()) {
            let _read = read(Some(&data));
        }
    }
}
