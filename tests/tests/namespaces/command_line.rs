//! `selvedge lab` as a user runs it, with the embedded store.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use selvedge_host::lab::{Lab, LabName, Namespace};
use selvedge_tests::etcd::{Etcd, Place};
use selvedge_tests::need;
use selvedge_tests::real_nodes::wait_until;
use selvedge_tests::turn::Turn;

use crate::PROGRAM;

#[test]
fn a_lab_is_brought_up_used_and_taken_down() {
    need!(root, tun, ip);
    let lab = CleanUp::new("t-cli");

    let up = lab.run(&["up", "--nodes", "2"]);
    let address = lab.run_in("pod-2", &["ip", "-4", "-o", "address", "show", "eth0"]);
    let status = lab.run(&["status"]);
    let cut = lab.run(&["cut", "node-2"]);
    let alone = lab.run(&["status"]);
    let heal = lab.run(&["heal", "node-2"]);
    let down = lab.run(&["down"]);

    for done in [&up, &address, &status, &cut, &alone, &heal, &down] {
        assert!(done.status.success(), "{done:?}");
    }
    assert!(text(&up).contains("node-2"), "{}", text(&up));
    assert!(text(&address).contains("inet 10.50."), "{}", text(&address));
    assert_eq!(text(&status).matches(" 0 %").count(), 2, "{}", text(&status));
    assert_eq!(text(&alone).matches("100 %").count(), 2, "{}", text(&alone));
    assert_eq!(lab.remains(), Vec::<String>::new());
}

#[test]
fn a_lab_uses_a_real_etcd_and_takes_its_keys_away_again() {
    need!(root, tun, ip, etcd);
    let lab = CleanUp::new("t-relay");
    let binary = Etcd::find_binary().expect("etcd is installed");
    let etcd = Etcd::start(&binary, Place::loopback().expect("a port")).expect("etcd starts");
    let endpoint = etcd.endpoints().concat();

    let up = lab.run(&["up", "--nodes", "2", "--etcd-endpoints", &endpoint]);
    let during = keys(&endpoint);
    let status = lab.run(&["status"]);
    let down = lab.run(&["down"]);

    assert!(up.status.success(), "{up:?}");
    assert_eq!(
        during
            .iter()
            .filter(|key| key.starts_with("/selvedge-lab/t-relay/subnets/"))
            .count(),
        2
    );
    assert!(text(&status).contains("udp"), "{}", text(&status));
    assert!(down.status.success(), "{down:?}");
    assert_eq!(keys(&endpoint), Vec::<String>::new());
}

#[test]
fn an_interrupted_start_leaves_nothing_behind() {
    need!(root, tun, ip);
    // At different stages of the start, from wiring to waiting for the daemons.
    for (index, pause) in [30, 100, 200, 300, 450].into_iter().enumerate() {
        let lab = CleanUp::new(&format!("t-int-{index}"));
        let mut up = lab.spawn(&["up", "--nodes", "3"]);
        thread::sleep(Duration::from_millis(pause));

        kill(pid(&up), Signal::SIGINT).expect("signalled");

        let status = up.wait().expect("it ends");
        if status.code() == Some(130) {
            assert_eq!(lab.remains(), Vec::<String>::new(), "after {pause} ms");
        } else {
            assert!(status.success(), "after {pause} ms: {status}");
        }
    }
}

#[test]
fn an_interrupted_demonstration_leaves_nothing_behind() {
    need!(root, tun, ip);
    // While it shows traffic, and while a node is cut off.
    for (index, pause) in [1500, 3500].into_iter().enumerate() {
        let lab = CleanUp::new(&format!("t-dint-{index}"));
        let mut demo = lab.spawn(&["demo"]);
        thread::sleep(Duration::from_millis(pause));

        kill(pid(&demo), Signal::SIGTERM).expect("signalled");

        assert_eq!(
            demo.wait().expect("it ends").code(),
            Some(130),
            "after {pause} ms"
        );
        assert_eq!(lab.remains(), Vec::<String>::new(), "after {pause} ms");
    }
}

#[test]
fn a_killed_start_is_cleared_by_the_next_one() {
    need!(root, tun, ip);
    let lab = CleanUp::new("t-kill9");
    let mut killed = lab.spawn(&["up", "--nodes", "3"]);
    assert!(wait_until(Duration::from_secs(5), || lab.remains().len() >= 3));
    kill(pid(&killed), Signal::SIGKILL).expect("signalled");
    killed.wait().expect("it ends");

    let again = lab.run(&["up", "--nodes", "1"]);
    assert!(text(&again).contains("removed first"), "{}", text(&again));
    let down = lab.run(&["down"]);

    assert!(again.status.success(), "{again:?}");
    assert!(down.status.success(), "{down:?}");
    assert_eq!(lab.remains(), Vec::<String>::new());
}

#[test]
fn a_daemon_that_ends_is_shown_with_its_log_and_nothing_stays() {
    need!(root, tun, ip, unshare);
    let lab = CleanUp::new("t-fails");
    let script = r#"mount -t tmpfs none /dev/net && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args([
        "--mount", "sh", "-c", script, "sh", PROGRAM, "lab", "up", "--name", "t-fails",
    ]);

    let up = command.stdin(Stdio::null()).output().expect("it runs");

    let told = String::from_utf8_lossy(&up.stderr).into_owned();
    assert_eq!(up.status.code(), Some(1), "{told}");
    assert!(
        told.contains("node-1 ended") && told.contains("/dev/net/tun"),
        "{told}"
    );
    assert_eq!(lab.remains(), Vec::<String>::new());
}

#[test]
fn without_root_the_way_to_get_it_is_shown() {
    need!(root);
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("selvedge");
    std::fs::copy(PROGRAM, &program).expect("copied");
    open_to_all(folder.path());

    let refused = Command::new(&program)
        .args(["lab", "up", "--nodes", "2"])
        .uid(65_534)
        .gid(65_534)
        .output();

    let refused = refused.expect("it runs");
    assert_eq!(refused.status.code(), Some(77));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    let sudo = format!("sudo {} lab up --nodes 2", program.display());
    assert!(
        told.trim_end().ends_with(&sudo) && told.lines().count() == 1,
        "{told}"
    );
}

#[test]
fn without_the_ip_command_its_package_is_named() {
    need!(root);

    let refused = Command::new(PROGRAM)
        .args(["lab", "up"])
        .env("PATH", "/nonexistent")
        .output();

    let refused = refused.expect("it runs");
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("apt-get install iproute2") && told.lines().count() == 1,
        "{told}"
    );
}

#[test]
fn the_demonstration_ends_well() {
    need!(root, tun, ip);
    let lab = CleanUp::new("t-demo");

    let demo = lab.run(&["demo"]);

    assert!(demo.status.success(), "{demo:?}");
    assert!(text(&demo).contains("keeps its lease"), "{}", text(&demo));
    assert_eq!(lab.remains(), Vec::<String>::new());
}

/// Takes a lab down at the end of a test, whatever happened.
struct CleanUp(LabName, #[expect(dead_code, reason = "held, not used")] Turn);

impl CleanUp {
    fn new(name: &str) -> Self {
        Self(name.parse().expect("a lab's name"), Turn::take(name))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (first, rest) = arguments.split_first().expect("a command");
        let mut command = Command::new(PROGRAM);
        command
            .args(["lab", first, "--name", &self.0.to_string()])
            .args(rest);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    fn run_in(&self, place: &str, command: &[&str]) -> Output {
        self.run(&[&["exec", place, "--"], command].concat())
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    }

    /// Returns what is still there of the lab: namespaces and its state directory.
    fn remains(&self) -> Vec<String> {
        let all = Namespace::list().expect("namespaces are listed");
        let own = all
            .into_iter()
            .filter(|namespace| self.0.place(namespace).is_some());
        let directory = self.0.state_dir();
        own.chain(directory.exists().then(|| directory.display().to_string()))
            .collect()
    }
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        if let Err(error) = Lab::down(&self.0) {
            eprintln!("lab {} stays: {error}", self.0);
        }
    }
}

fn keys(endpoint: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut client = etcd_client::Client::connect([endpoint], None)
            .await
            .expect("etcd answers");
        let all = etcd_client::GetOptions::new().with_all_keys().with_keys_only();
        let answer = client.get("", Some(all)).await.expect("etcd answers");
        answer
            .kvs()
            .iter()
            .map(|kv| String::from_utf8_lossy(kv.key()).into_owned())
            .collect()
    })
}

fn open_to_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("opened");
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("a process id"))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
