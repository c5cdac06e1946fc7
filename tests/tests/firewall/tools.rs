//! Programs that are missing, are of the older kind, or have to wait.

use std::time::Duration;

use selvedge_engine::{
    Firewall as Kind, ForwardRules, KernelErrorKind, KernelEvent, KernelObject, SourcePorts, TrafficOptions,
};
use selvedge_host::kernel::firewall::Firewall;
use selvedge_tests::need;

use crate::rulesets::{alone, every_ruleset, traffic};
use crate::space::run;

#[test]
fn a_missing_program_is_one_clear_line_and_nothing_to_remove() {
    need!(root, unshare);

    // The process has one environment for all its tests; this one has a process of its own.
    if std::env::var_os("SELVEDGE_TEST_WITHOUT_TOOLS").is_none() {
        let status = std::process::Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                "mount -t tmpfs none /usr/sbin && exec \"$0\" --exact \"$1\"",
            ])
            .arg(std::env::current_exe().unwrap())
            .arg("tools::a_missing_program_is_one_clear_line_and_nothing_to_remove")
            .env("SELVEDGE_TEST_WITHOUT_TOOLS", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut firewall = Firewall::open();
        for ruleset in every_ruleset() {
            let error = firewall.ensure_ruleset(&ruleset).await.unwrap_err();
            assert_eq!(error.kind, KernelErrorKind::Unsupported, "{error}");
            assert!(error.message.contains("is not installed: install"), "{error}");
            assert_eq!(firewall.remove_ruleset(ruleset.name).await, Ok(()));
        }
        let options = firewall.traffic_options(ForwardRules::On, SourcePorts::FullyRandom);
        assert_eq!(options.await, TrafficOptions::default());
    });
}

#[test]
fn the_older_iptables_is_compared_when_asked_and_its_lock_waited_for() {
    need!(root, ip);
    if let Some(missing) = selvedge_tests::requirement::missing("iptables-legacy") {
        selvedge_tests::skip!("{missing}");
        return;
    }

    let programs = std::env::var("SELVEDGE_TEST_PROGRAMS");
    let Ok(programs) = programs else {
        let directory = tempfile::tempdir().unwrap();
        for program in ["iptables", "ip6tables"] {
            for part in ["", "-save", "-restore"] {
                let older = format!("/usr/sbin/{program}-legacy{part}");
                std::os::unix::fs::symlink(older, directory.path().join(format!("{program}{part}"))).unwrap();
            }
        }
        // The lock is held in a /run of its own.
        let status = std::process::Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                "mount -t tmpfs none /run && exec \"$0\" --exact \"$1\"",
            ])
            .arg(std::env::current_exe().unwrap())
            .arg("tools::the_older_iptables_is_compared_when_asked_and_its_lock_waited_for")
            .env("SELVEDGE_TEST_PROGRAMS", directory.path())
            .env(
                "PATH",
                format!(
                    "{}:{}",
                    directory.path().display(),
                    std::env::var("PATH").unwrap()
                ),
            )
            .status();
        assert!(status.unwrap().success());
        return;
    };
    alone(async move |firewall| {
        let ruleset = traffic(Kind::Iptables).remove(0);
        firewall.ensure_ruleset(&ruleset).await.unwrap();
        assert!(run(&format!("{programs}/iptables-save -t nat")).contains("-j FLANNEL-POSTRTG"));
        assert!(firewall.check().await.is_empty());

        run("iptables -t nat -F POSTROUTING");
        let doubt = tokio::time::timeout(Duration::from_millis(500), firewall.doubted()).await;
        assert!(doubt.is_err(), "the older iptables tells nobody");
        let found = firewall.check().await;
        assert!(
            matches!(found.as_slice(), [KernelEvent::Vanished(KernelObject::Ruleset(lost))] if *lost == ruleset)
        );

        let lock = std::fs::File::create("/run/xtables.lock").unwrap();
        lock.lock().unwrap();
        let error = firewall.ensure_ruleset(&ruleset).await.unwrap_err();
        assert_eq!(error.kind, KernelErrorKind::Other);
        assert!(error.message.contains("fuser -v /run/xtables.lock"), "{error}");
        assert_eq!(error.message.lines().count(), 1);
        drop(lock);
        firewall.ensure_ruleset(&ruleset).await.unwrap();
        assert!(run("iptables-save -t nat").contains("-j FLANNEL-POSTRTG"));
    });
}
