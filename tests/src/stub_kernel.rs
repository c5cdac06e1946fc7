//! A node with the simulator's kernel, whose tunnel runs between a [`MemoryTun`] and a simulated socket.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use selvedge_engine::{
    KernelError, KernelErrorKind, KernelEvent, KernelFacts, KernelObject, KernelOp, OpId, Survey,
};
use selvedge_host::kernel::{Kernel, Outcome};
use selvedge_host::tunnel::worker::Worker;
use selvedge_host::tunnel::{Query, SharedTable};
use selvedge_sim::Linux;
use tokio::sync::mpsc;

use crate::memory_tun::MemoryTun;
use crate::turmoil_net::{SimClock, SimUdp};

/// The objects that a [`StubKernel`] holds, for the test to see.
pub type Objects = Arc<Mutex<BTreeSet<KernelObject>>>;

/// How long a [`StubKernel`] takes for each operation, for the test to set.
pub type Pace = Arc<Mutex<Duration>>;

/// A kernel that grants everything, and remembers it as the simulator's does.
#[derive(Debug)]
pub struct StubKernel {
    linux: Linux,
    objects: Objects,
    pace: Pace,
    clock: SimClock,
    tun: MemoryTun,
    table: SharedTable,
    worker: Option<mpsc::Sender<Query>>,
}

impl StubKernel {
    /// Makes a kernel that has no more than this address.
    pub fn new(
        address: Ipv4Addr,
        objects: Objects,
        pace: Pace,
        clock: SimClock,
        tun: MemoryTun,
        table: SharedTable,
    ) -> Self {
        objects.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Self {
            linux: Linux::new(address),
            objects,
            pace,
            clock,
            tun,
            table,
            worker: None,
        }
    }

    async fn ensure(&mut self, object: KernelObject) -> Result<(), KernelError> {
        if let KernelObject::Socket(local) = object
            && self.worker.is_none()
        {
            let socket = SimUdp::bind(local.port()).await.map_err(|error| KernelError {
                kind: KernelErrorKind::Taken,
                message: error.to_string(),
            })?;
            let worker = Worker::new(self.tun.clone(), socket, self.clock.clone(), self.table.clone());
            let (queries, receiver) = mpsc::channel(1);
            tokio::task::spawn_local(worker.run(receiver));
            self.worker = Some(queries);
        }
        self.objects().insert(object);
        Ok(())
    }

    fn remove(&mut self, object: &KernelObject) {
        if let KernelObject::Socket(_) = object {
            self.worker = None;
        }
        self.objects().remove(object);
    }

    fn objects(&self) -> std::sync::MutexGuard<'_, BTreeSet<KernelObject>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel for StubKernel {
    async fn apply(&mut self, _id: OpId, op: KernelOp) -> Outcome {
        let pace = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        if let Err(error) = self.linux.apply(&op) {
            return Outcome::Ended(Err(error));
        }
        Outcome::Ended(match op {
            KernelOp::Ensure(object) | KernelOp::Replace(object) => self.ensure(object).await,
            KernelOp::Remove(object) => {
                self.remove(&object);
                Ok(())
            }
        })
    }

    async fn survey(&mut self, survey: &Survey) -> Result<Box<KernelFacts>, KernelError> {
        Ok(Box::new(self.linux.survey(survey)))
    }

    async fn next_event(&mut self) -> KernelEvent {
        std::future::pending().await
    }
}
