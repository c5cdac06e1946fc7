//! Nodes whose programs for the firewall are missing, or have to wait for others.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;

use selvedge_host::lab::{Ending, Pace, Place, Stopwatch};
use selvedge_tests::backend::{Backend, Families};
use selvedge_tests::need;
use selvedge_tests::real_nodes::{PREFIX, RealNodes, node, wait_until};

use crate::PROGRAM;
use crate::firewall::{Filter, SOON, await_filter, restart, run};
use crate::hostile::unharmed;
use crate::masquerading::{Kind, reaches};

const LOCK: &str = "/run/xtables.lock";

#[test]
fn without_nft_and_iptables_each_is_told_of_in_one_line_and_pods_reach_each_other() {
    need!(root, ip, unshare, etcd);
    for (kind, advice) in [
        (
            Kind::Nftables,
            "nft is not installed: install nftables, or set EnableNFTables to false in the network config",
        ),
        (
            Kind::Iptables,
            "is not installed: install iptables, or set EnableNFTables to true in the network config",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let program = wrapped(folder.path(), "mount -t tmpfs none /usr/sbin", "");
        let mut real = RealNodes::wire_with_backend("t-fwless", 2, Backend::Vxlan, Families::V4, &program);
        real.put("config", &kind.config());
        real.lab.add_node_flags(&["--ip-masq", "--membership=enforce"]);

        real.start_all();

        unharmed(&real);
        let rules = real.await_log(node(1), advice);
        let filter = real.await_log(
            node(1),
            "nft is not installed: install nftables, or give --membership=off",
        );
        for line in [&rules, &filter] {
            assert!(line.contains("WARN"), "{line}");
        }
        // Long enough for several attempts.
        thread::sleep(Duration::from_secs(3));
        let log = real.log(node(1));
        assert_eq!(log.matches("is not installed").count(), 2, "{log}");
    }
}

#[test]
fn who_holds_the_lock_of_iptables_holds_up_no_peer() {
    need!(root, ip, nft, iptables, unshare, etcd);
    if let Some(missing) = selvedge_tests::requirement::missing("iptables-legacy") {
        selvedge_tests::skip!("{missing}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let lock = folder.path().join("lock");
    let lock_file = File::create(&lock).expect("a file");
    File::options()
        .create(true)
        .append(true)
        .open(LOCK)
        .expect("the lock's place");
    older_iptables(folder.path());
    let mount = format!("mount --bind {} {LOCK}", lock.display());
    let program = wrapped(folder.path(), &mount, &folder.path().display().to_string());
    let mut real = RealNodes::wire_with_backend("t-fwlock", 2, Backend::Vxlan, Families::V4, &program);
    real.put("config", &Kind::Iptables.config());
    real.lab.add_node_flags(&["--ip-masq", "--membership=enforce"]);
    real.start_all();
    let namespace = real.lab.namespace(Place::Node(node(1)));
    let masquerades = || run(&namespace, "iptables-legacy-save -t nat").contains("MASQUERADE");
    assert!(wait_until(SOON, masquerades), "{}", real.log(node(1)));
    let key = format!("{}-24", real.subnet_address(2));
    let way = format!("{}/24", real.subnet_address(2));
    real.lab.stop_node(node(2), Ending::Graceful).expect("it ends");
    real.delete(&format!("{PREFIX}/subnets/{key}"));
    let is_gone = wait_until(SOON, || {
        let routes = namespace.ip_output(&["route", "show", &way]);
        routes.is_ok_and(|routes| routes.is_empty())
    });
    assert!(is_gone, "{}", real.log(node(1)));

    run(&namespace, "iptables-legacy -t nat -F FLANNEL-POSTRTG");
    lock_file.lock().expect("nobody else has it");
    let starting = Stopwatch::start();
    restart(&mut real, 1, &[]);
    await_filter(&real, 1, Filter::Dropping);
    real.lab.start_node(node(2)).expect("it starts");
    let holds_lease = || real.leases().iter().any(|(name, _)| name.ends_with(&key));
    assert!(wait_until(SOON, holds_lease), "{}", real.log(node(2)));
    let joined = Stopwatch::start();
    let is_reached = wait_until(SOON, || reaches(&real, 1, 2));
    let took = joined.elapsed();
    assert!(
        starting.elapsed() < Duration::from_secs(5),
        "the lock was still waited for"
    );
    assert!(
        is_reached && took < Duration::from_secs(1),
        "{took:?}\n{}",
        real.log(node(1))
    );
    println!("reached {took:.0?} after it had a lease, while the lock was held");
    let told = real.await_log(node(1), "fuser -v /run/xtables.lock");
    assert!(told.contains("WARN"), "{told}");
    assert!(!masquerades());

    drop(lock_file);
    assert!(wait_until(SOON, masquerades), "{}", real.log(node(1)));
    let links = real.lab.ping_all_pods(Pace::QUICK).expect("probes are sent");
    assert!(links.iter().all(|link| link.echoes.lost() == 0));
}

/// Writes a program that runs ours where something is mounted first, with another folder before its path.
fn wrapped(folder: &Path, mount: &str, path: &str) -> String {
    let file = folder.join("selvedge");
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c '{mount} && PATH={path}:$PATH exec \"$0\" \"$@\"' {PROGRAM} \"$@\"\n"
    );
    fs::write(&file, script).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it can be run");
    file.display().to_string()
}

/// Puts links to the older iptables into a folder.
fn older_iptables(folder: &Path) {
    for program in ["iptables", "ip6tables"] {
        for part in ["", "-save", "-restore"] {
            let older = format!("/usr/sbin/{program}-legacy{part}");
            symlink(older, folder.join(format!("{program}{part}"))).expect("linked");
        }
    }
}
