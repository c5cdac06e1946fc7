//! Who changes the firewall besides us: the kernel's notifications of nftables, which iptables on nftables causes as well.
//!
//! They only raise suspicion: all that is read is whose change it was and which table it was about.

use std::collections::BTreeSet;
use std::io;

use nix::errno::Errno;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use selvedge_engine::RulesetName;

/// The multicast group of changes to nftables (`NFNLGRP_NFTABLES`, `linux/netfilter/nfnetlink.h`).
const GROUP: u32 = 7;
/// The messages of nftables (`NFNL_SUBSYS_NFTABLES`).
const SUBSYSTEM: u16 = 10;
/// The end of a transaction (`NFT_MSG_NEWGEN`), which is about no table.
const NEW_GENERATION: u16 = 15;
/// The name of the table, in every other message (`NFTA_TABLE_NAME`, `NFTA_RULE_TABLE` and so on).
const TABLE_NAME: u16 = 1;

/// The lengths of headers: netlink's, that of `struct nfgenmsg`, and an attribute's.
const MESSAGE_HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;

/// A subscription to changes of nftables.
#[derive(Debug)]
pub(super) struct Watch {
    socket: Option<Subscription>,
    /// What others touched and nobody was told yet.
    untold: Option<Touched>,
}

struct Subscription(TokioSocket);

/// The tables that others changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Touched {
    /// Nobody knows which: messages were lost.
    Any,
    /// These, by family and name.
    Tables(BTreeSet<(u8, String)>),
}

impl Watch {
    pub(super) fn open() -> Self {
        let socket = subscribe()
            .inspect_err(|error| tracing::info!("cannot watch for changes of the firewall: {error}"))
            .ok();
        Self {
            socket: socket.map(Subscription),
            untold: None,
        }
    }

    /// Takes note that a process of ours has ended: the kernel has told of its changes by then.
    pub(super) fn pass_over(&mut self, pid: u32) {
        while let Some(Subscription(socket)) = &self.socket {
            match socket.socket_ref().recv_from_full() {
                Ok((datagram, _)) => self.note(touched_by_others(&datagram, Some(pid))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.fail(&error),
            }
        }
    }

    /// Returns what others have touched and nobody was told yet.
    pub(super) fn take(&mut self) -> Option<Touched> {
        self.untold.take()
    }

    /// Adds to what others have touched.
    pub(super) fn note(&mut self, touched: Option<Touched>) {
        self.untold = match (self.untold.take(), touched) {
            (Some(before), Some(touched)) => Some(touched.and(before)),
            (before, touched) => touched.or(before),
        };
    }

    /// Waits for changes by others.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    pub(super) async fn touched(&mut self) -> Touched {
        loop {
            if let Some(touched) = self.take() {
                return touched;
            }
            let Some(Subscription(socket)) = &mut self.socket else {
                return std::future::pending().await;
            };
            match socket.recv_from_full().await {
                Ok((datagram, _)) => self.note(touched_by_others(&datagram, None)),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        if error.raw_os_error() == Some(Errno::ENOBUFS as i32) {
            return self.note(Some(Touched::Any));
        }
        tracing::warn!("cannot watch for changes of the firewall any more: {error}");
        self.socket = None;
    }
}

impl Touched {
    /// Tells whether any of the rulesets may have been changed.
    pub(super) fn concerns(&self, names: impl IntoIterator<Item = RulesetName>) -> bool {
        let Self::Tables(tables) = self else {
            return true;
        };
        names
            .into_iter()
            .flat_map(places)
            .any(|(family, table)| tables.contains(&(*family, (*table).to_owned())))
    }

    /// Adds what was touched before.
    pub(super) fn and(self, before: Self) -> Self {
        match (self, before) {
            (Self::Tables(mut tables), Self::Tables(before)) => {
                tables.extend(before);
                Self::Tables(tables)
            }
            (Self::Any, _) | (_, Self::Any) => Self::Any,
        }
    }
}

/// Returns the nftables tables that a ruleset has rules in, by family (`NFPROTO_*`) and name.
fn places(name: RulesetName) -> &'static [(u8, &'static str)] {
    use selvedge_engine::IpVersion::{V4, V6};
    match name {
        RulesetName::NftablesTraffic(V4) => &[(2, "flannel-ipv4")],
        RulesetName::NftablesTraffic(V6) => &[(10, "flannel-ipv6")],
        RulesetName::IptablesTraffic(V4) => &[(2, "nat"), (2, "filter")],
        RulesetName::IptablesTraffic(V6) => &[(10, "nat"), (10, "filter")],
        RulesetName::Membership => &[(1, "selvedge")],
    }
}

/// Returns what a datagram says that others touched, if anything.
fn touched_by_others(datagram: &[u8], ours: Option<u32>) -> Option<Touched> {
    let tables: BTreeSet<_> = changes(datagram)
        .filter(|change| Some(change.port) != ours)
        .map(|change| (change.family, change.table.to_owned()))
        .collect();
    (!tables.is_empty()).then_some(Touched::Tables(tables))
}

fn subscribe() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    let inner = socket.socket_mut();
    inner.bind(&SocketAddr::new(0, 0))?;
    inner.add_membership(GROUP)?;
    Ok(socket)
}

/// A change of something in a table.
#[derive(Debug, Eq, PartialEq)]
struct Change<'a> {
    /// The netlink port of who made it: the number of its process, as `nft` and `iptables` choose it.
    port: u32,
    family: u8,
    table: &'a str,
}

/// Reads the changes in a datagram; what cannot be read is none.
fn changes(datagram: &[u8]) -> impl Iterator<Item = Change<'_>> {
    split(datagram, |header| {
        let length = u32::from_ne_bytes(*header.first_chunk()?);
        usize::try_from(length).ok()
    })
    .filter_map(change)
}

fn change(message: &[u8]) -> Option<Change<'_>> {
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let port = u32::from_ne_bytes(*message.get(12..)?.first_chunk()?);
    if kind >> 8 != SUBSYSTEM || kind & 0xff == NEW_GENERATION {
        return None;
    }
    let family = *message.get(MESSAGE_HEADER)?;
    let attributes = message.get(MESSAGE_HEADER + FAMILY_HEADER..)?;
    let mut attributes = split(attributes, |header| {
        Some(u16::from_ne_bytes(*header.first_chunk()?).into())
    });
    let name = attributes.find(|attribute| {
        let kind = attribute.get(2..).and_then(<[u8]>::first_chunk);
        kind.is_some_and(|kind| u16::from_ne_bytes(*kind) == TABLE_NAME)
    })?;
    let name = name.get(ATTRIBUTE_HEADER..)?.split(|byte| *byte == 0).next()?;
    let table = std::str::from_utf8(name).ok()?;
    Some(Change { port, family, table })
}

/// Splits a row of parts that begin with their lengths and are padded to four bytes.
fn split(mut row: &[u8], length: impl Fn(&[u8]) -> Option<usize>) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = length(row)?;
        let part = row.get(..length).filter(|part| part.len() >= ATTRIBUTE_HEADER)?;
        row = row.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    })
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use selvedge_engine::IpVersion;

    use super::*;

    #[test]
    fn changes_tell_their_table_and_whose_they_are() {
        let mut datagram = message(SUBSYSTEM << 8, 77, 2, "nat");
        datagram.extend(message(SUBSYSTEM << 8 | 6, 78, 1, "selvedge"));
        datagram.extend(message(SUBSYSTEM << 8 | NEW_GENERATION, 78, 0, "x"));
        datagram.extend(message(1 << 8, 79, 2, "conntrack"));

        let changes: Vec<_> = changes(&datagram).collect();

        let change = |port, family, table| Change { port, family, table };
        assert_eq!(changes, [change(77, 2, "nat"), change(78, 1, "selvedge")]);
    }

    #[test]
    fn a_ruleset_is_concerned_by_its_own_tables_alone() {
        let touched = |family, table: &str| Touched::Tables(BTreeSet::from([(family, table.to_owned())]));
        let chains = [RulesetName::IptablesTraffic(IpVersion::V4)];

        assert!(touched(2, "filter").concerns(chains));
        assert!(!touched(10, "filter").concerns(chains));
        assert!(!touched(2, "selvedge").concerns([RulesetName::Membership]));
        assert!(
            touched(2, "x")
                .and(touched(1, "selvedge"))
                .concerns([RulesetName::Membership])
        );
        assert!(touched(2, "x").and(Touched::Any).concerns(chains));
    }

    proptest! {
        #[test]
        fn any_datagram_can_be_read(datagram in proptest::collection::vec(any::<u8>(), 0..200), length in 0_u8..200) {
            let _none = changes(&datagram).count();
            let mut cut = message(SUBSYSTEM << 8, 77, 2, "flannel-ipv4");
            cut.truncate(length.into());
            prop_assert!(changes(&cut).count() <= 1);
        }
    }

    fn message(kind: u16, port: u32, family: u8, table: &str) -> Vec<u8> {
        let text = table.len() + 1;
        let mut attribute = Vec::new();
        attribute.extend(u16::try_from(ATTRIBUTE_HEADER + text).unwrap().to_ne_bytes());
        attribute.extend(TABLE_NAME.to_ne_bytes());
        attribute.extend(table.as_bytes());
        attribute.resize(ATTRIBUTE_HEADER + text.next_multiple_of(4), 0);
        let length = MESSAGE_HEADER + FAMILY_HEADER + attribute.len();
        let mut message = Vec::new();
        message.extend(u32::try_from(length).unwrap().to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend([0; 6]);
        message.extend(port.to_ne_bytes());
        message.extend([family, 0, 0, 0]);
        message.extend(attribute);
        message
    }
}
