//! What the kernel may do for the data path, so that one system call carries many packets.

use std::fmt;
use std::str::FromStr;

/// The offloads that are asked for; what the kernel does not have is gone without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offloads {
    /// The TUN device takes and gives super-packets of TCP.
    pub tso: Offload,
    /// The TUN device takes and gives super-packets of UDP (Linux 6.2).
    pub uso: Offload,
    /// The socket sends many datagrams at once (`UDP_SEGMENT`).
    pub udp_gso: Offload,
    /// The socket receives many datagrams at once (`UDP_GRO`).
    pub udp_gro: Offload,
}

/// Whether an offload is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offload {
    /// It is, where the kernel has it.
    Wanted,
    /// It is not.
    Off,
}

impl Offloads {
    /// Everything that there is.
    pub const ALL: Self = Self {
        tso: Offload::Wanted,
        uso: Offload::Wanted,
        udp_gso: Offload::Wanted,
        udp_gro: Offload::Wanted,
    };

    /// One packet for each system call.
    pub const NONE: Self = Self {
        tso: Offload::Off,
        uso: Offload::Off,
        udp_gso: Offload::Off,
        udp_gro: Offload::Off,
    };

    fn named(&mut self) -> [(&'static str, &mut Offload); 4] {
        [
            ("tso", &mut self.tso),
            ("uso", &mut self.uso),
            ("udp-gso", &mut self.udp_gso),
            ("udp-gro", &mut self.udp_gro),
        ]
    }
}

impl FromStr for Offloads {
    type Err = String;

    /// Reads `all`, `none`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::ALL),
            "none" => return Ok(Self::NONE),
            _ => {}
        }
        let mut offloads = Self::NONE;
        for name in text.split(',').map(str::trim) {
            let mut named = offloads.named().into_iter();
            let Some((_, offload)) = named.find(|(known, _)| *known == name) else {
                return Err(format!(
                    "{name:?} is no offload; it is all, none, or some of tso, uso, udp-gso and udp-gro, with commas \
                     between them"
                ));
            };
            *offload = Offload::Wanted;
        }
        Ok(offloads)
    }
}

impl fmt::Display for Offloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        let mut copy = *self;
        let wanted: Vec<_> = copy
            .named()
            .into_iter()
            .filter(|(_, offload)| **offload == Offload::Wanted)
            .map(|(name, _)| name)
            .collect();
        f.write_str(&wanted.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in [
            "none",
            "tso",
            "tso,uso",
            "udp-gso,udp-gro",
            "tso,uso,udp-gso,udp-gro",
        ] {
            let offloads: Offloads = text.parse().unwrap();

            assert_eq!(offloads.to_string(), text);
        }
        assert_eq!("all".parse(), Ok(Offloads::ALL));
        assert_eq!(
            " tso , udp-gro".parse::<Offloads>().unwrap().to_string(),
            "tso,udp-gro"
        );
    }

    #[test]
    fn a_name_that_nobody_knows_is_quoted() {
        let error = "tso,gso".parse::<Offloads>().unwrap_err();

        assert!(
            error.starts_with("\"gso\" is no offload; it is all, none, or some of"),
            "{error}"
        );
    }
}
