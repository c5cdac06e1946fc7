//! A node that joins a cluster of 5,000 leases: the host's loop and its client of etcd, against a server on loopback.
//!
//! Its kernel grants everything at once: with the `udp` backend a peer costs no kernel object.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use etcd_client::Channel;
use selvedge_engine::{
    Action, Command, Engine, Event, ExitReason, KernelError, KernelEvent, KernelFacts, KernelOp, MachineId,
    OpId, Setup, StoreRequest, Survey, Underlay,
};
use selvedge_host::clock::{BootClock, Clock};
use selvedge_host::event_loop::{self, Observer, Parts};
use selvedge_host::kernel::{Kernel, Outcome};
use selvedge_host::store::endpoint::Endpoint;
use selvedge_host::store::{Store, transport};
use selvedge_host::tunnel::SharedTable;
use selvedge_sim::grpc::{SharedStore, serve};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::goal::Goal;

const LEASES: usize = 5000;

/// Joins once to warm up, and once for the figures.
pub(crate) fn join() -> Vec<Goal> {
    let endpoint = start_server();
    join_once(&endpoint, Ipv4Addr::new(198, 19, 255, 1));
    let joined = join_once(&endpoint, Ipv4Addr::new(198, 19, 255, 2));
    let remark = format!(
        "{} requests in all, of which {} pages",
        joined.requests, joined.pages
    );
    vec![
        Goal {
            name: "join of 5,000 leases, until all are in the host's table".to_owned(),
            figure: joined.took.as_secs_f64(),
            limit: 1.0,
            unit: "s",
            remark,
        },
        Goal {
            name: "lists for the join, each in pages of 1,000".to_owned(),
            figure: f64::from(joined.lists),
            limit: 1.0,
            unit: "lists",
            remark: String::new(),
        },
    ]
}

/// What a node did until it had the whole table.
#[derive(Clone, Copy, Debug, Default)]
struct Joined {
    took: Duration,
    lists: u32,
    pages: u32,
    requests: u32,
}

/// Serves a store with leases from a thread of its own.
fn start_server() -> Endpoint {
    let (ready, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            serve(filled_store(), listener, std::future::pending())
                .await
                .unwrap();
        });
    });
    Endpoint::parse(&format!("http://{}", address.recv().unwrap())).unwrap()
}

fn filled_store() -> SharedStore {
    let store = SharedStore::new(1);
    store.act(|store, _| {
        let config = br#"{"Network":"10.0.0.0/8"}"#;
        store.put(b"/coreos.com/network/config", config, None).unwrap();
        for number in 0..LEASES {
            let (high, low) = (number / 200, number % 200);
            let key = format!("/coreos.com/network/subnets/10.{}.{low}.0-24", 100 + high);
            let value = format!(r#"{{"PublicIP":"198.18.{high}.{low}","PublicIPv6":null}}"#);
            store.put(key.as_bytes(), value.as_bytes(), None).unwrap();
        }
    });
    store
}

fn join_once(endpoint: &Endpoint, public_ip: Ipv4Addr) -> Joined {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (commands, receiver) = mpsc::channel(1);
        let (finished, joined) = oneshot::channel();
        let clock = BootClock;
        let start = clock.now();
        let observer = Watch {
            start,
            joined: Joined::default(),
            finished: Some(finished),
        };
        let channel = |endpoint: &Endpoint| Ok(Channel::Tonic(transport(endpoint).connect_lazy()));
        let parts = Parts {
            clock,
            kernel: WillingKernel,
            store: Store::new(std::slice::from_ref(endpoint), None, channel).unwrap(),
            commands: receiver,
            table: SharedTable::default(),
            observer,
        };
        let engine = Engine::new(setup(public_ip), 1, start);
        let end = async {
            let joined = joined.await.unwrap();
            commands.send(Command::Shutdown).await.unwrap();
            joined
        };
        let ((_, reason), joined) = tokio::join!(event_loop::run(engine, parts), end);
        assert_eq!(reason, ExitReason::Shutdown);
        joined
    })
}

fn setup(public_ip: Ipv4Addr) -> Setup {
    let underlay = Underlay {
        interface: "eth0".to_owned(),
        index: 2,
        mtu: 1500,
        address: public_ip,
        address_v6: None,
        public_ip,
        public_ipv6: None,
    };
    let machine = u64::from(public_ip.to_bits());
    Setup::new(MachineId::new(machine, machine), underlay)
}

/// Counts what the loop asks for, until every lease is in the table.
struct Watch {
    start: selvedge_engine::Instant,
    joined: Joined,
    finished: Option<oneshot::Sender<Joined>>,
}

impl Observer for Watch {
    fn event(&mut self, _event: &Event) {}

    fn ready(&mut self) {}

    fn action(&mut self, action: &Action) {
        match action {
            Action::Request { request, .. } => self.count(request),
            Action::Forwarding(table) if table.len() >= LEASES => {
                self.joined.took = BootClock.now().saturating_since(self.start);
                if let Some(finished) = self.finished.take() {
                    finished.send(self.joined).unwrap();
                }
            }
            Action::Watch { .. }
            | Action::CancelWatch(_)
            | Action::Reconnect
            | Action::Kernel { .. }
            | Action::Survey { .. }
            | Action::Forwarding(_)
            | Action::Ready
            | Action::Event(_)
            | Action::Exit(_) => {}
        }
    }

    fn settled(&mut self, _engine: &Engine) {}
}

impl Watch {
    fn count(&mut self, request: &StoreRequest) {
        self.joined.requests += 1;
        if let StoreRequest::Range { page, .. } = request
            && page.limit.is_some()
        {
            self.joined.pages += 1;
            self.joined.lists += u32::from(page.after.is_none());
        }
    }
}

/// A kernel that grants everything.
struct WillingKernel;

impl Kernel for WillingKernel {
    async fn apply(&mut self, _id: OpId, _op: KernelOp) -> Outcome {
        Outcome::Ended(Ok(()))
    }

    async fn survey(&mut self, _survey: &Survey) -> Result<Box<KernelFacts>, KernelError> {
        Ok(Box::default())
    }

    async fn next_event(&mut self) -> KernelEvent {
        std::future::pending().await
    }
}
