//! A node under test, in a network namespace of its own.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use selvedge_engine::{
    KernelError, KernelEvent, KernelFacts, KernelObject, KernelOp, LinkName, OpId, Survey,
};
use selvedge_host::kernel::linux::LinuxKernel;
use selvedge_host::kernel::{Kernel as _, Outcome};
use selvedge_host::tunnel::offload::Offloads;
use selvedge_host::tunnel::worker_count::WorkerCount;
use selvedge_host::tunnel::{DataPath, SharedTable, TunnelProbe};
use tempfile::TempDir;

pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const OWN_POD: Ipv4Addr = Ipv4Addr::new(10, 50, 1, 2);

const DATA_PATH: DataPath = DataPath {
    offloads: Offloads::ALL,
    workers: WorkerCount::ONE,
};

/// Longer than it takes until a doubt is told.
const QUIET: Duration = Duration::from_millis(300);

/// The adapter with what it shares with the daemon.
pub(crate) struct Node {
    pub(crate) kernel: LinuxKernel,
    pub(crate) table: SharedTable,
    pub(crate) probe: TunnelProbe,
    pub(crate) directory: TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let table = SharedTable::default();
        let probe = TunnelProbe::default();
        let file = directory.path().join("subnet.env");
        Self {
            kernel: LinuxKernel::open(file, table.clone(), DATA_PATH, probe.clone()).unwrap(),
            table,
            probe,
            directory,
        }
    }

    pub(crate) async fn ensure(&mut self, object: KernelObject) {
        self.change(KernelOp::Ensure(object)).await.unwrap();
    }

    pub(crate) async fn refusal(&mut self, object: KernelObject) -> KernelError {
        self.change(KernelOp::Ensure(object)).await.unwrap_err()
    }

    async fn change(&mut self, op: KernelOp) -> Result<(), KernelError> {
        match self.kernel.apply(OpId(1), op).await {
            Outcome::Ended(result) => result,
            Outcome::Begun => panic!("only the firewall takes its time"),
        }
    }

    pub(crate) async fn event(&mut self) -> KernelEvent {
        let event = tokio::time::timeout(Duration::from_secs(5), self.kernel.next_event());
        event.await.expect("an event in time")
    }

    pub(crate) async fn replace(&mut self, object: KernelObject) {
        self.change(KernelOp::Replace(object)).await.unwrap();
    }

    pub(crate) async fn remove(&mut self, object: KernelObject) {
        self.change(KernelOp::Remove(object)).await.unwrap();
    }

    pub(crate) async fn survey(&mut self, tunnels: &[&str]) -> KernelFacts {
        let survey = Survey {
            tunnels: tunnels.iter().map(|name| LinkName((*name).to_owned())).collect(),
            destination: None,
        };
        *self.kernel.survey(&survey).await.unwrap()
    }

    /// Waits until everything that has happened is told.
    pub(crate) async fn settle(&mut self) {
        while tokio::time::timeout(QUIET, self.kernel.next_event())
            .await
            .is_ok()
        {}
    }

    /// Waits until nothing is told for a while.
    ///
    /// # Panics
    ///
    /// If something is told.
    pub(crate) async fn is_quiet(&mut self) {
        if let Ok(event) = tokio::time::timeout(QUIET, self.kernel.next_event()).await {
            panic!("nothing has happened, and {event:?} is told");
        }
    }

    /// Waits for a doubt.
    pub(crate) async fn doubts(&mut self, because: &str) {
        let event = tokio::time::timeout(QUIET, self.kernel.next_event()).await;
        assert!(matches!(event, Ok(KernelEvent::Doubted)), "{because}: {event:?}");
        self.settle().await;
    }
}

/// Runs a test on a thread with a network namespace of its own, which ends with the thread. The loopback device
/// has the addresses of this node, of its peer and of its pod.
pub(crate) fn in_namespace(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        for address in [OWN, PEER, OWN_POD] {
            ip(&format!("addr add {address}/32 dev lo"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Gives the namespace an underlay device, eth0, with an address of each IP version.
pub(crate) fn add_underlay() {
    ip("link add eth0 address 02:00:00:00:00:01 type veth peer name far");
    ip(&format!("addr del {OWN}/32 dev lo"));
    ip(&format!("addr del {PEER}/32 dev lo"));
    ip(&format!("addr add {OWN}/24 dev eth0"));
    ip("addr add 2001:db8:77::1/64 dev eth0 nodad");
    for device in ["eth0", "far"] {
        // Addresses that the kernel makes up appear when it likes.
        ip(&format!("link set {device} addrgenmode none"));
        ip(&format!("link set {device} up"));
    }
}

/// Runs `ip`, and returns what it prints.
pub(crate) fn ip(args: &str) -> String {
    run("ip", args)
}

/// Runs `bridge`, and returns what it prints.
pub(crate) fn bridge(args: &str) -> String {
    run("bridge", args)
}

fn run(program: &str, args: &str) -> String {
    let output = Command::new(program).args(args.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
