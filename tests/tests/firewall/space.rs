//! Network namespaces, each with a thread of its own inside.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with its loopback device up, which ends with its thread.
pub(crate) struct Space {
    jobs: Sender<Job>,
    thread: i32,
}

impl Space {
    pub(crate) fn new() -> Self {
        let (jobs, inbox) = channel::<Job>();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run("ip link set lo up");
            // Addresses are used at once.
            std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
            sender.send(gettid().as_raw()).unwrap();
            for job in inbox {
                job();
            }
        });
        let thread = receiver.recv().unwrap();
        Self { jobs, thread }
    }

    /// Returns the number of the thread, by which the kernel finds the namespace.
    pub(crate) fn thread(&self) -> i32 {
        self.thread
    }

    /// Runs a part of the test inside.
    pub(crate) fn run<T: Send + 'static>(&self, part: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = channel();
        let job = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(part));
            sender.send(result).unwrap();
        };
        self.jobs.send(Box::new(job)).unwrap();
        receiver
            .recv()
            .unwrap()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Runs a program whose arguments have no spaces in them, and returns what it printed.
pub(crate) fn run(line: &str) -> String {
    run_with_input(line, "")
}

/// Runs a program that reads a text.
pub(crate) fn run_with_input(line: &str, input: &str) -> String {
    let mut words = line.split(' ');
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
