//! The lab's wiring, without daemons: namespaces, cables, pods, and that nothing of it stays behind.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use selvedge_host::lab::{
    Cut, Echoes, Interrupt, Lab, LabError, LabName, LabOptions, Namespace, NodeNumber, Pace, Place,
    ProbeStream, StoreChoice,
};
use selvedge_tests::need;
use selvedge_tests::turn::Turn;

const PACE: Pace = Pace {
    interval: Duration::from_millis(20),
    patience: Duration::from_millis(300),
    count: 5,
};

#[test]
fn a_lab_leaves_nothing_behind() {
    need!(root, ip);
    let _turn = Turn::take("t-nothing");
    let lab = build("t-nothing", 2);
    assert!(!namespaces_of("t-nothing").is_empty());
    assert!(lab.state_dir().exists());
    let state_dir = lab.state_dir();

    drop(lab);

    assert_eq!(namespaces_of("t-nothing"), Vec::<String>::new());
    assert!(!state_dir.exists());
}

#[test]
fn building_clears_what_a_crash_left() {
    need!(root, ip);
    let _turn = Turn::take("t-crash");
    let crashed = build("t-crash", 3);
    let mut orphan = crashed
        .namespace(Place::Node(node(3)))
        .command("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sleep starts");
    crashed.stay();

    let lab = build("t-crash", 1);

    assert_eq!(lab.nodes().len(), 1);
    assert!(!lab.namespace(Place::Node(node(3))).exists());
    assert!(!orphan.wait().expect("it ended").success());
}

#[test]
fn taking_down_a_lab_twice_is_fine() {
    need!(root, ip);
    let _turn = Turn::take("t-twice");
    let name = name("t-twice");
    build("t-twice", 1).stay();

    Lab::down(&name).expect("the first time");
    Lab::down(&name).expect("the second time");

    assert_eq!(namespaces_of("t-twice"), Vec::<String>::new());
}

#[test]
fn two_commands_on_one_lab_do_not_meet() {
    need!(root, ip);
    let _turn = Turn::take("t-busy");
    let lab = build("t-busy", 1);

    let second = Lab::down(lab.name());

    assert!(matches!(second, Err(LabError::Busy(_))), "{second:?}");
    assert!(lab.namespace(Place::Switch).exists());
}

#[test]
fn labs_of_different_names_live_side_by_side() {
    need!(root, ip);
    let _turn = Turn::take("t-side");
    let first = build("t-side", 2);
    let second = build("t-side-2", 2);

    drop(second);

    assert_eq!(ping(&first, Place::Node(node(1)), node(2).public_ip()).lost(), 0);
}

#[test]
fn a_node_that_is_cut_off_hears_nothing_until_it_is_healed() {
    need!(root, ip);
    let _turn = Turn::take("t-cut");
    let lab = build("t-cut", 3);
    let (first, second, third) = (node(1), node(2), node(3));
    let store = Ipv4Addr::new(192, 0, 2, 250);

    lab.cut(third, Cut::Underlay).expect("cut");
    let cut_off = ping(&lab, Place::Node(first), third.public_ip());
    let others = ping(&lab, Place::Node(first), second.public_ip());
    lab.cut(second, Cut::Store).expect("cut");
    let store_lost = ping(&lab, Place::Node(second), store);
    let peer_there = ping(&lab, Place::Node(second), first.public_ip());
    lab.heal(second).expect("heal");
    lab.heal(third).expect("heal");

    assert_eq!((cut_off.lost(), others.lost()), (5, 0));
    assert_eq!((store_lost.lost(), peer_there.lost()), (5, 0));
    assert!(answers(&lab, Place::Node(first), third.public_ip()));
    assert!(answers(&lab, Place::Node(second), store));
}

#[test]
fn a_pod_is_attached_as_the_subnet_file_says() {
    need!(root, ip);
    let _turn = Turn::take("t-pod");
    let lab = build("t-pod", 1);
    let file = lab.subnet_file(node(1));
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    fs::write(&file, "FLANNEL_SUBNET=10.50.7.1/24\nFLANNEL_MTU=1400\n").expect("written");

    lab.attach_pods().expect("attached");

    let pod = lab.namespace(Place::Pod(node(1)));
    let link = pod.ip_output(&["-o", "link", "show", "eth0"]).expect("shown");
    assert!(link.contains("mtu 1400"), "{link}");
    assert_eq!(
        ping(&lab, Place::Node(node(1)), Ipv4Addr::new(10, 50, 7, 2)).lost(),
        0
    );
    assert_eq!(ping(&lab, Place::Pod(node(1)), node(1).public_ip()).lost(), 0);
}

fn build(lab: &str, nodes: u8) -> Lab {
    let options = LabOptions {
        nodes,
        store: StoreChoice::Provided,
        ..LabOptions::new(name(lab), PathBuf::from("/bin/false"))
    };
    Lab::build(options, Interrupt::never()).expect("the lab is built")
}

fn ping(lab: &Lab, from: Place, to: Ipv4Addr) -> Echoes {
    ProbeStream::start(&lab.namespace(from), to, PACE)
        .expect("probes start")
        .finish()
}

/// Waits for an answer for a few seconds: a neighbour that did not answer is asked again only each second.
fn answers(lab: &Lab, from: Place, to: Ipv4Addr) -> bool {
    let pace = Pace { count: 250, ..PACE };
    let stream = ProbeStream::start(&lab.namespace(from), to, pace).expect("probes start");
    while !stream.answered() && stream.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(PACE.interval);
    }
    let echoes = stream.stop();
    echoes.lost() < echoes.sent()
}

fn namespaces_of(lab: &str) -> Vec<String> {
    let name = name(lab);
    let all = Namespace::list().expect("namespaces are listed");
    all.into_iter()
        .filter(|namespace| name.place(namespace).is_some())
        .collect()
}

fn name(text: &str) -> LabName {
    text.parse().expect("a lab's name")
}

fn node(number: u8) -> NodeNumber {
    NodeNumber::new(number).expect("a node's number")
}
