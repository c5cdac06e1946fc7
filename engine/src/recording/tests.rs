use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::action::{Action, Command, KernelEvent, OpId, RequestId, StoreEvent, WatchId};
use crate::engine::Engine;
use crate::firewall::TrafficOptions;
use crate::input::Input;
use crate::kernel::KernelFacts;
use crate::kernel::{
    Address, IpVersion, KernelError, KernelErrorKind, KernelObject, Link, LinkKind, LinkName, NextHop, Route,
    Sysctl,
};
use crate::machine_id::MachineId;
use crate::setup::{Errand, LeasePolicy, Membership, OnExpiry, OnLoss, OnOverlap, Setup, StorePrefix};
use crate::store::{
    EtcdLeaseId, Header, KeyValue, Revision, StoreError, StoreErrorKind, StoreResponse, TxnOpResponse,
    TxnOutcome, WatchEnd, WatchEvent,
};
use crate::subnet_file::{Masquerade, PreviousSubnet, SubnetFile};
use crate::time::Instant;
use crate::underlay::{Families, InterfaceChoice, Selection, Underlay};

const HEADER: Header = Header {
    cluster_id: u64::MAX,
    member_id: 3,
    revision: Revision(i64::MAX),
    raft_term: 2,
};

#[test]
fn every_input_reads_back_as_it_was() {
    let inputs: Vec<Input> = store_events()
        .into_iter()
        .map(Input::Store)
        .chain(kernel_events().into_iter().map(Input::Kernel))
        .chain([Input::Command(Command::Shutdown), Input::Timeout])
        .collect();

    let read = inputs_of(&recorded(&inputs));

    assert_eq!(read, inputs);
}

#[test]
fn the_description_of_an_engine_reads_back_as_it_was() {
    for membership in [Membership::Off, Membership::Log, Membership::Enforce] {
        let setup = Setup {
            membership,
            ..setup()
        };
        let header = RecordingHeader::new(setup, u64::MAX, Instant::from_nanos(17));

        let (_, text) = Recorder::start(header.clone());

        assert_eq!(Recording::parse(&text).unwrap().header(), &header);
    }
}

#[test]
fn a_list_that_tells_nothing_new_takes_one_short_line() {
    let kvs: Vec<KeyValue> = (0..5000).map(lease).collect();
    let mut recorder = recorder();
    let first = recorder.input(&list(kvs.clone()), Instant::ZERO);

    let again = recorder.input(&list(kvs.clone()), Instant::ZERO);
    let renewed = KeyValue {
        version: 2,
        ..lease(4711)
    };
    let seen = recorder.input(&watched(vec![WatchEvent::Put(renewed.clone())]), Instant::ZERO);
    let mut kvs = kvs;
    kvs[4711] = renewed;
    let after = recorder.input(&list(kvs.clone()), Instant::ZERO);

    assert!(first.len() > 500_000, "{}", first.len());
    assert!(again.len() < 400, "{again}");
    assert!(after.len() < 400, "{after}");
    let text = [start(), first, again, seen, after].concat();
    assert_eq!(inputs_of(&text).last(), Some(&list(kvs)));
}

#[test]
fn pre_shared_keys_are_masked() {
    let config =
        br#"{"Network":"10.5.0.0/16","Backend":{"Type":"ipsec","psk" : "hunter2\"x","PSK":"s3cret"}}"#;
    let masked =
        br#"{"Network":"10.5.0.0/16","Backend":{"Type":"ipsec","psk" : "xxxxxxxxxx","PSK":"xxxxxx"}}"#;
    let kv = |value: &[u8]| KeyValue {
        value: value.to_vec(),
        ..lease(1)
    };
    let inputs = |value: &[u8]| [list(vec![kv(value)]), watched(vec![WatchEvent::Put(kv(value))])];

    let text = recorded(&inputs(config));

    assert!(!text.contains("hunter2") && !text.contains("s3cret"), "{text}");
    assert_eq!(inputs_of(&text), inputs(masked));
}

#[test]
fn a_recording_that_goes_on_elsewhere_needs_nothing_of_the_one_before() {
    let mut engine = Engine::new(setup(), 7, Instant::ZERO);
    let mut recorder = recorder();
    drain(&mut engine, &mut recorder);
    let later = Instant::from_nanos(5);
    let kvs: Vec<KeyValue> = (0..100).map(lease).collect();
    recorder.input(&list(kvs.clone()), later);

    let Continuation { last, first } = recorder.continue_elsewhere(&engine, later).unwrap();
    let next = recorder.input(&list(kvs.clone()), later);

    assert!(last.contains("\"why\":\"continued\""), "{last}");
    let text = [first, next].concat();
    let recording = Recording::parse(&text).unwrap();
    let (restored, actions) = recording.engine().unwrap();
    assert_eq!(recording.begin(), later);
    assert_eq!(actions, recorder.actions());
    assert_eq!(format!("{restored:?}"), format!("{engine:?}"));
    assert_eq!(inputs_of(&text), [list(kvs)]);
}

#[test]
fn recordings_of_the_first_format_are_read() {
    let text = recorded(&[Input::Timeout]).replace("\"format\":2", "\"format\":1");

    assert_eq!(inputs_of(&text), [Input::Timeout]);
}

#[test]
fn pre_shared_keys_are_masked_in_snapshots() {
    let text = br#"{"Network":"10.5.0.0/16","Backend":{"Type":"udp","PSK":"hunter2"}}"#;
    let no_text = [text, &b"\xff"[..]].concat();
    let config = |value: &[u8]| KeyValue {
        key: b"/coreos.com/network/config".to_vec(),
        value: value.to_vec(),
        ..lease(1)
    };
    let mut engine = Engine::new(setup(), 7, Instant::ZERO);
    let mut recorder = recorder();
    drain(&mut engine, &mut recorder);
    let answer = StoreResponse::Range {
        header: Header::default(),
        kvs: vec![config(text)],
        more: false,
    };
    engine.handle(
        Input::Store(StoreEvent::Response {
            id: RequestId(1),
            result: Ok(answer),
        }),
        Instant::ZERO,
    );
    let watch = drain(&mut engine, &mut recorder).expect("the config is watched");
    let with_text = continued(&engine, &mut recorder, "hunter2");
    let changed = WatchEvent::Put(config(&no_text));
    engine.handle(
        Input::Store(StoreEvent::WatchBatch {
            id: watch,
            header: HEADER,
            events: vec![changed],
        }),
        Instant::ZERO,
    );
    drain(&mut engine, &mut recorder);

    let with_bytes = continued(&engine, &mut recorder, HUNTER2);

    for first in [with_text, with_bytes] {
        assert!(!first.contains("hunter2") && !first.contains(HUNTER2), "{first}");
        assert!(Recording::parse(&first).unwrap().engine().is_ok());
    }
}

/// `hunter2` in hexadecimal.
const HUNTER2: &str = "68756e74657232";

/// Returns the first line of a recording that goes on with an engine whose state holds a secret.
fn continued(engine: &Engine, recorder: &mut Recorder, secret: &str) -> String {
    let whole = engine.snapshot().unwrap();
    assert!(whole.text().contains(secret), "{whole:?}");
    let continuation = recorder.continue_elsewhere(engine, Instant::ZERO);
    continuation.unwrap().first
}

#[test]
fn damage_is_told_by_line() {
    let whole = recorded(&[list(vec![lease(1)]), Input::Timeout, list(vec![lease(1)])]);
    let lines: Vec<&str> = whole.lines().collect();
    let with = |replaced: &[&str]| [&replaced.join("\n"), "\n"].concat();
    let end = recorder().end(RecordingEnd::Exit, Instant::ZERO);
    let texts = [
        String::new(),
        "{\"nodes\":3}\n".to_string(),
        "{\"recording\":17}\n".to_string(),
        start().replace("\"format\":2", "\"format\":3"),
        start().replace("\"seed\"", "\"sead\""),
        with(&[lines[0], "garbage"]),
        with(&[lines[0], lines[0]]),
        with(&[lines[0], "{\"input\":{\"at\":5}}"]),
        with(&[lines[0], lines[1], &lines[2].replace("timeout", "teatime")]),
        with(&[lines[0], &lines[1].replace("\"actions\":\"", "\"actions\":\"zz")]),
        with(&[lines[0], lines[3]]),
        with(&[lines[0], &lines[1].replace("\"lists\"", "\"liszt\"")]),
        with(&[lines[0], &lines[2].replace("\"at\":0", "\"at\":9"), lines[2]]),
        with(&[lines[0], end.trim_end(), lines[2]]),
    ];

    let errors: Vec<String> = texts.iter().map(|text| problem_of(text)).collect();

    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_line_cut_off_at_the_end_is_no_damage() {
    let whole = recorded(&[Input::Timeout, Input::Timeout]);
    let beginning = whole.lines().next().unwrap().len() + 1;

    for length in beginning..whole.len() {
        let read: Vec<Recorded> = Recording::parse(&whole[..length])
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();

        let cut = matches!(read.last(), Some(Recorded::CutOff { .. }));
        assert_eq!(cut, !whole[..length].ends_with('\n'), "{length}");
    }
}

proptest! {
    #[test]
    fn lists_and_changes_read_back_whatever_they_are(
        inputs in proptest::collection::vec(any_input(), 0..20),
    ) {
        prop_assert_eq!(inputs_of(&recorded(&inputs)), inputs);
    }

    #[test]
    fn reading_never_panics(text in any::<String>(), cut in any::<prop::sample::Index>()) {
        let mut damaged = recorded(&[list(vec![lease(1)]), Input::Timeout, list(vec![lease(1)])]);
        damaged.insert_str(cut.index(damaged.len()), &text);

        for read in [&text, &damaged] {
            let _entries = Recording::parse(read).map(Iterator::count);
        }
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    let key = proptest::collection::vec(prop_oneof![Just(0xff), b'a'..=b'c'], 0..3);
    let kv = (key.clone(), 0_i64..3).prop_map(|(key, version)| KeyValue {
        key,
        version,
        ..lease(1)
    });
    let put = kv.clone().prop_map(WatchEvent::Put);
    let delete = key.prop_map(|key| WatchEvent::Delete {
        key,
        mod_revision: Revision(9),
    });
    prop_oneof![
        proptest::collection::vec(kv, 0..8).prop_map(list),
        proptest::collection::vec(prop_oneof![put, delete], 0..4).prop_map(watched),
    ]
}

fn store_events() -> Vec<StoreEvent> {
    let responses = [
        StoreResponse::Range {
            header: HEADER,
            kvs: vec![
                lease(1),
                KeyValue {
                    lease: None,
                    ..lease(2)
                },
            ],
            more: false,
        },
        StoreResponse::Range {
            header: HEADER,
            kvs: vec![lease(1)],
            more: true,
        },
        StoreResponse::Txn {
            header: HEADER,
            outcome: TxnOutcome::Succeeded,
            responses: vec![TxnOpResponse::Put, TxnOpResponse::Delete(7)],
        },
        StoreResponse::Txn {
            header: Header::default(),
            outcome: TxnOutcome::Failed,
            responses: vec![],
        },
        StoreResponse::LeaseGrant {
            header: HEADER,
            id: EtcdLeaseId(i64::MIN),
            ttl_seconds: 86_400,
        },
        StoreResponse::LeaseKeepAlive {
            header: HEADER,
            id: EtcdLeaseId(i64::MAX),
            ttl_seconds: -1,
        },
        StoreResponse::LeaseRevoke { header: HEADER },
    ];
    let errors = [
        StoreErrorKind::Unavailable,
        StoreErrorKind::DeadlineExceeded,
        StoreErrorKind::Auth,
        StoreErrorKind::NoSpace,
        StoreErrorKind::Compacted,
        StoreErrorKind::FutureRevision,
        StoreErrorKind::LeaseNotFound,
        StoreErrorKind::LeaseExists,
        StoreErrorKind::Invalid,
    ];
    let error = |kind| StoreError {
        kind,
        message: "etcd at http://[::1]:2379: \"quoted\"\nand broken \u{fffd}".to_string(),
    };
    let answered = responses.into_iter().map(Ok);
    let results = answered.chain(errors.map(|kind| Err(error(kind))));
    let mut events: Vec<StoreEvent> = results
        .map(|result| StoreEvent::Response {
            id: RequestId(u64::MAX),
            result,
        })
        .collect();
    let id = WatchId(5);
    events.push(StoreEvent::WatchCreated { id, header: HEADER });
    events.push(StoreEvent::WatchBatch {
        id,
        header: HEADER,
        events: vec![
            WatchEvent::Put(lease(3)),
            WatchEvent::Delete {
                key: vec![0, 0xff, b'"'],
                mod_revision: Revision(12),
            },
        ],
    });
    for end in [
        WatchEnd::Compacted(Revision(4)),
        WatchEnd::Failed(error(StoreErrorKind::Unavailable)),
    ] {
        events.push(StoreEvent::WatchEnded { id, end });
    }
    events
}

fn kernel_events() -> Vec<KernelEvent> {
    let link = LinkName("flannel0".to_string());
    let file = |masquerade, v4, v6| {
        KernelObject::SubnetFile(SubnetFile {
            v4,
            v6,
            mtu: 1472,
            masquerade,
        })
    };
    let v4 = ("10.5.0.0/16".parse().unwrap(), "10.5.3.0/24".parse().unwrap());
    let v6 = ("fd05::/48".parse().unwrap(), "fd05:0:0:3::/64".parse().unwrap());
    let objects = [
        KernelObject::Socket(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8285)),
        KernelObject::Link(Link {
            name: link.clone(),
            kind: LinkKind::Tun,
            mtu: 1472,
            alias: String::new(),
        }),
        KernelObject::Sysctl(Sysctl {
            link: link.clone(),
            version: IpVersion::V4,
            key: Cow::Borrowed("accept_local"),
            value: Cow::Borrowed("1"),
        }),
        KernelObject::Address(Address {
            link: link.clone(),
            net: "10.5.3.0/32".parse().unwrap(),
        }),
        KernelObject::Route(Route::new(
            "10.5.0.0/16".parse().unwrap(),
            NextHop::Link(link.clone()),
        )),
        file(Masquerade::Off, Some(v4), None),
        file(Masquerade::On, None, Some(v6)),
    ];
    let errors = [
        KernelErrorKind::Taken,
        KernelErrorKind::NotFound,
        KernelErrorKind::Permission,
        KernelErrorKind::Unsupported,
        KernelErrorKind::Other,
    ];
    let failed = |kind| {
        Err(KernelError {
            kind,
            message: "netlink: no such device".to_string(),
        })
    };
    let done = [Ok(())].into_iter().chain(errors.map(failed));
    let done = done.map(|result| KernelEvent::OpDone { id: OpId(9), result });
    objects
        .map(KernelEvent::Vanished)
        .into_iter()
        .chain(done)
        .chain([
            KernelEvent::LinkVanished(link.clone()),
            KernelEvent::Doubted,
            KernelEvent::Surveyed {
                id: OpId(10),
                result: Ok(Box::new(KernelFacts::default())),
            },
        ])
        .collect()
}

/// Drains what an engine wants done; returns the last watch that it opens.
fn drain(engine: &mut Engine, recorder: &mut Recorder) -> Option<WatchId> {
    let mut watch = None;
    while let Some(action) = engine.poll_action() {
        recorder.action(&action);
        if let Action::Watch { id, .. } = action {
            watch = Some(id);
        }
    }
    watch
}

fn recorded(inputs: &[Input]) -> String {
    let mut recorder = recorder();
    let mut text = start();
    for input in inputs {
        text.push_str(&recorder.input(input, Instant::ZERO));
    }
    text
}

fn inputs_of(text: &str) -> Vec<Input> {
    let entries = Recording::parse(text).unwrap();
    entries
        .map(|entry| match entry.unwrap() {
            Recorded::Input { input, .. } => input,
            other @ (Recorded::End { .. } | Recorded::CutOff { .. }) => panic!("{other:?}"),
        })
        .collect()
}

fn problem_of(text: &str) -> String {
    let problem = match Recording::parse(text) {
        Ok(mut entries) => entries.find_map(Result::err),
        Err(error) => Some(error),
    };
    problem.expect("it is damaged").to_string()
}

fn recorder() -> Recorder {
    Recorder::start(header()).0
}

fn start() -> String {
    Recorder::start(header()).1
}

fn header() -> RecordingHeader {
    RecordingHeader::new(setup(), 7, Instant::ZERO)
}

fn setup() -> Setup {
    let public_ip = Ipv4Addr::new(192, 0, 2, 1);
    Setup {
        errand: Errand::Plan,
        machine: MachineId::new(u64::MAX, u64::MAX),
        underlay: Underlay {
            interface: "eth0".to_string(),
            index: 2,
            mtu: 1500,
            address: Ipv4Addr::new(10, 0, 0, 1),
            address_v6: Some(Ipv6Addr::LOCALHOST),
            public_ip,
            public_ipv6: Some(Ipv6Addr::LOCALHOST),
        },
        selection: Selection {
            interfaces: vec![
                InterfaceChoice::Name("eth0".to_string()),
                InterfaceChoice::Address(public_ip.into()),
                InterfaceChoice::CanReach(Ipv6Addr::LOCALHOST.into()),
            ],
            public_ip: Some(public_ip),
            public_ipv6: None,
            families: Families::Any,
        },
        former_networks: vec!["10.5.0.0/16".parse().unwrap()],
        prefix: StorePrefix::new("/coreos.com/network"),
        previous: PreviousSubnet {
            v4: Some("10.5.3.0/24".parse().unwrap()),
            v6: None,
        },
        renew_margin: Duration::from_hours(1),
        peer_grace: Duration::from_mins(2),
        lease_policy: LeasePolicy {
            on_loss: OnLoss::Reallocate,
            on_expiry: OnExpiry::Fence,
        },
        masquerade: Masquerade::On,
        traffic: TrafficOptions::default(),
        on_overlap: OnOverlap::Serve,
        store_addresses: vec![public_ip.into()],
        membership: Membership::Enforce,
    }
}

fn lease(number: u32) -> KeyValue {
    let subnet = Ipv4Addr::from_bits(0x0a00_0000 + (number << 8));
    KeyValue {
        key: format!("/coreos.com/network/subnets/{number:08}-{subnet}-24").into_bytes(),
        value: format!(r#"{{"PublicIP":"{subnet}"}}"#).into_bytes(),
        create_revision: Revision(number.into()),
        mod_revision: Revision(number.into()),
        version: 1,
        lease: Some(EtcdLeaseId(number.into())),
    }
}

fn list(kvs: Vec<KeyValue>) -> Input {
    Input::Store(StoreEvent::Response {
        id: RequestId(1),
        result: Ok(StoreResponse::Range {
            header: HEADER,
            kvs,
            more: false,
        }),
    })
}

fn watched(events: Vec<WatchEvent>) -> Input {
    Input::Store(StoreEvent::WatchBatch {
        id: WatchId(2),
        header: HEADER,
        events,
    })
}
