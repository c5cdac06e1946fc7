//! The loop that joins the engine to the world.
//!
//! Each wake-up takes the time once, reads a bounded batch from every source that has something, feeds it to
//! the engine and hands out what the engine wants, before anything new is read. The timer is set to the
//! engine's timeout just before waiting.

use std::time::Duration;

use selvedge_engine::{
    Action, Command, Engine, Event, ExitReason, Input, Instant, KernelEvent, KernelOp, OpId, Survey,
};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::kernel::{Kernel, Outcome};
use crate::store::Store;
use crate::tunnel::SharedTable;

/// How many inputs are read from one source in one wake-up.
const BATCH: usize = 64;

/// The longest sleep. Timers stand still while the machine is suspended and the engine's clock does not, so
/// what became due in the meantime is noticed this late at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// How many kernel events wait for the loop before the kernel's side is held up.
const KERNEL_EVENT_CAPACITY: usize = 256;

/// How long requests that are still under way at the end are waited for.
const PARTING: Duration = Duration::from_secs(1);

/// What the loop needs besides the engine.
#[derive(Debug)]
pub struct Parts<C, K, O> {
    /// Where time comes from.
    pub clock: C,
    /// The node.
    pub kernel: K,
    /// etcd.
    pub store: Store,
    /// What the operator wants.
    pub commands: mpsc::Receiver<Command>,
    /// Where the forwarders read their table.
    pub table: SharedTable,
    /// Who is told what happens.
    pub observer: O,
}

/// Someone who is told what happens, and changes nothing.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: &Event);

    /// The node carries traffic.
    fn ready(&mut self);

    /// The engine is about to be told something.
    fn input(&mut self, _engine: &Engine, _input: &Input, _now: Instant) {}

    /// The engine wants something done; what [`Observer::event`] and [`Observer::ready`] are told as well is among it.
    fn action(&mut self, _action: &Action) {}

    /// A wake-up is over.
    fn settled(&mut self, engine: &Engine);

    /// Waits until somebody wants to know how the engine is; [`Observer::settled`] follows.
    ///
    /// Nothing may be lost if the future is dropped before it ends.
    fn asked(&mut self) -> impl Future<Output = ()> {
        std::future::pending()
    }
}

/// Runs an engine until it wants to end; returns it as it was then.
pub async fn run<C, K, O>(engine: Engine, parts: Parts<C, K, O>) -> (Engine, ExitReason)
where
    C: Clock,
    K: Kernel,
    O: Observer,
{
    let Parts {
        clock,
        kernel,
        store,
        commands,
        table,
        observer,
    } = parts;
    let (orders, kernel_orders) = mpsc::unbounded_channel();
    let (sender, kernel_events) = mpsc::channel(KERNEL_EVENT_CAPACITY);
    let mut event_loop = EventLoop {
        engine,
        clock,
        store,
        commands,
        table,
        observer,
        orders,
        kernel_events,
    };
    let reason = tokio::select! {
        biased;
        reason = event_loop.run() => {
            event_loop.store.finish(PARTING).await;
            reason
        }
        () = drive_kernel(kernel, kernel_orders, sender) => ExitReason::Shutdown,
    };
    (event_loop.engine, reason)
}

/// What the node's side is to do.
#[derive(Debug)]
enum Order {
    Change(OpId, KernelOp),
    Look(OpId, Survey),
}

/// Carries out orders as they were given, and reports their outcome and what happens by itself.
///
/// Runs beside the loop so that a slow operation does not hold up the store. The queue of orders needs no bound: the engine
/// has at most one under way for each object, and one survey.
async fn drive_kernel(
    mut kernel: impl Kernel,
    mut orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<KernelEvent>,
) {
    loop {
        let event = tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Change(id, op)) => match kernel.apply(id, op).await {
                    Outcome::Ended(result) => KernelEvent::OpDone { id, result },
                    Outcome::Begun => continue,
                },
                Some(Order::Look(id, survey)) => KernelEvent::Surveyed { id, result: kernel.survey(&survey).await },
                None => return,
            },
            event = kernel.next_event() => event,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

struct EventLoop<C, O> {
    engine: Engine,
    clock: C,
    store: Store,
    commands: mpsc::Receiver<Command>,
    table: SharedTable,
    observer: O,
    orders: mpsc::UnboundedSender<Order>,
    kernel_events: mpsc::Receiver<KernelEvent>,
}

impl<C: Clock, O: Observer> EventLoop<C, O> {
    async fn run(&mut self) -> ExitReason {
        let mut inputs = Vec::with_capacity(3 * BATCH);
        if let Some(reason) = self.flush(self.clock.now()) {
            return reason;
        }
        loop {
            self.observer.settled(&self.engine);
            self.wait(&mut inputs).await;
            let now = self.clock.now();
            for input in inputs.drain(..) {
                if let Some(reason) = self.tell(input, now) {
                    return reason;
                }
            }
            if self.engine.poll_timeout().is_some_and(|(due, _)| due <= now)
                && let Some(reason) = self.tell(Input::Timeout, now)
            {
                return reason;
            }
        }
    }

    /// Waits for inputs or the engine's timeout, and collects at most a batch from each source.
    async fn wait(&mut self, inputs: &mut Vec<Input>) {
        let sleep = self.time_to_sleep();
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => inputs.push(Input::Command(command)),
            Some(event) = self.kernel_events.recv() => inputs.push(Input::Kernel(event)),
            event = self.store.next_event() => inputs.push(Input::Store(event)),
            () = self.observer.asked() => {}
            () = tokio::time::sleep(sleep) => {}
        }
        inputs.extend(
            std::iter::from_fn(|| self.commands.try_recv().ok())
                .take(BATCH)
                .map(Input::Command),
        );
        inputs.extend(
            std::iter::from_fn(|| self.kernel_events.try_recv().ok())
                .take(BATCH)
                .map(Input::Kernel),
        );
        inputs.extend(
            std::iter::from_fn(|| self.store.try_next_event())
                .take(BATCH)
                .map(Input::Store),
        );
    }

    fn time_to_sleep(&self) -> Duration {
        self.engine
            .poll_timeout()
            .map_or(LONGEST_SLEEP, |(due, _)| due.saturating_since(self.clock.now()))
            .min(LONGEST_SLEEP)
    }

    fn tell(&mut self, input: Input, now: Instant) -> Option<ExitReason> {
        self.observer.input(&self.engine, &input, now);
        self.engine.handle(input, now);
        self.flush(now)
    }

    /// Hands out everything that the engine wants done.
    fn flush(&mut self, now: Instant) -> Option<ExitReason> {
        while let Some(action) = self.engine.poll_action() {
            self.observer.action(&action);
            match action {
                Action::Request {
                    id,
                    deadline,
                    request,
                } => self.store.request(id, deadline.saturating_since(now), request),
                Action::Watch { id, range, start } => self.store.watch(id, range, start),
                Action::CancelWatch(id) => self.store.cancel_watch(id),
                Action::Reconnect => self.store.reconnect(),
                Action::Kernel { id, op } => self.order(Order::Change(id, op)),
                Action::Survey { id, survey } => self.order(Order::Look(id, survey)),
                Action::Forwarding(table) => self.table.store(Some(table)),
                Action::Ready => self.observer.ready(),
                Action::Event(event) => self.observer.event(&event),
                Action::Exit(reason) => return Some(reason),
            }
        }
        None
    }

    fn order(&self, order: Order) {
        // Fails only if the kernel's side has ended, and then so does the loop.
        drop(self.orders.send(order));
    }
}
