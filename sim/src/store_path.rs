//! The way between a node and the store: a connection of two streams that keep order and lose nothing, until it breaks.

use std::collections::BTreeSet;
use std::time::Duration;

use selvedge_engine::{Instant, Rng};
use serde::{Deserialize, Serialize};

use crate::duration_text;

/// How the way between a node and the store behaves.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StorePathOptions {
    /// The least time that a message takes, each way.
    #[serde(with = "duration_text")]
    pub delay: Duration,
    /// What is added to the delay at most.
    #[serde(with = "duration_text")]
    pub jitter: Duration,
    /// How long a silent connection is held to be alive.
    #[serde(with = "duration_text")]
    pub keep_alive: Duration,
}

impl Default for StorePathOptions {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(1),
            keep_alive: Duration::from_secs(3),
        }
    }
}

/// Whether messages get through one direction of the way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Gate {
    Open,
    Closed,
}

/// A stream of a connection: what one carries overtakes what the other does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stream {
    /// Requests and their answers.
    Calls,
    /// What is about watches.
    Watches,
}

/// A message on its way, marked with the connection and the stream that carry it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Carried<M> {
    connection: u64,
    stream: Stream,
    message: M,
}

/// A message that reached the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrived<M> {
    /// Whoever sent it waits for the answer.
    FromTheLiving(M),
    /// Whoever sent it is dead by now.
    FromTheDead(M),
}

/// A message and when it arrives at the other end.
pub(crate) type InFlight<M> = (Instant, Carried<M>);

/// The way between one node and the store.
///
/// `U` are messages to the store, `D` messages to the node. While a direction is closed, its messages wait in the
/// connection as TCP keeps them for retransmission. A connection with a closed direction breaks after the
/// keep-alive time; what it held is lost, and once both directions are open the next message makes a new one.
/// While only answers are lost, requests get through even then, as through a proxy that half works.
#[derive(Debug)]
pub(crate) struct StorePath<U, D> {
    options: StorePathOptions,
    extra_delay: Duration,
    /// By how much what watches say is later.
    watch_lag: Duration,
    rng: Rng,
    connection: u64,
    /// The connections whose node died; what it had sent before still arrives.
    orphaned: BTreeSet<u64>,
    state: Connection,
    closed_since: Option<Instant>,
    up: Direction<U>,
    down: Direction<D>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Connection {
    Established,
    Broken,
}

#[derive(Debug)]
struct Direction<M> {
    gate: Gate,
    calls: Lane<M>,
    watches: Lane<M>,
}

/// A stream in one direction.
#[derive(Debug)]
struct Lane<M> {
    last_arrival: Instant,
    held: Vec<M>,
}

impl<U, D> StorePath<U, D> {
    pub(crate) const fn new(options: StorePathOptions, rng: Rng) -> Self {
        Self {
            options,
            extra_delay: Duration::ZERO,
            watch_lag: Duration::ZERO,
            rng,
            connection: 1,
            orphaned: BTreeSet::new(),
            state: Connection::Established,
            closed_since: None,
            up: Direction::new(),
            down: Direction::new(),
        }
    }

    /// Sets how long a silent connection is held to be alive.
    pub(crate) const fn set_keep_alive(&mut self, keep_alive: Duration) {
        self.options.keep_alive = keep_alive;
    }

    /// Tells whether both directions are open.
    pub(crate) fn is_open(&self) -> bool {
        self.closed_since.is_none()
    }

    /// Tells whether a message to the store has a connection to go by, or can make one.
    pub(crate) fn can_connect(&self) -> bool {
        self.is_open() || self.state == Connection::Established
    }

    /// Sends a message to the store; `None` if it waits or is lost.
    pub(crate) fn send_up(&mut self, stream: Stream, message: U, now: Instant) -> Option<InFlight<U>> {
        let handshake = self.connect();
        if self.up.gate == Gate::Closed {
            self.up.hold(stream, message, self.state);
            return None;
        }
        let delay = self.delay() + handshake;
        Some(self.up.launch(stream, message, self.connection, now + delay))
    }

    /// Sends a message to the node; `None` if it waits or is lost.
    pub(crate) fn send_down(&mut self, stream: Stream, message: D, now: Instant) -> Option<InFlight<D>> {
        if self.down.gate == Gate::Closed {
            self.down.hold(stream, message, self.state);
            return None;
        }
        let lag = match stream {
            Stream::Calls => Duration::ZERO,
            Stream::Watches => self.watch_lag,
        };
        let delay = self.delay() + lag;
        Some(self.down.launch(stream, message, self.connection, now + delay))
    }

    /// Takes a message that reaches the store; `None` if it waits or is lost.
    pub(crate) fn arrive_up(&mut self, carried: Carried<U>) -> Option<Arrived<U>> {
        let Carried {
            connection,
            stream,
            message,
        } = carried;
        if self.orphaned.contains(&connection) {
            return (self.up.gate == Gate::Open).then_some(Arrived::FromTheDead(message));
        }
        if connection != self.connection {
            return None;
        }
        let arrived = self.up.receive(stream, message, self.state)?;
        Some(Arrived::FromTheLiving(arrived))
    }

    /// Takes a message that reaches the node; `None` if it waits or is lost.
    pub(crate) fn arrive_down(&mut self, carried: Carried<D>) -> Option<D> {
        if carried.connection != self.connection {
            return None;
        }
        self.down.receive(carried.stream, carried.message, self.state)
    }

    /// Opens and closes directions; returns what waited and is on its way now.
    pub(crate) fn set_gates(
        &mut self,
        up: Gate,
        down: Gate,
        now: Instant,
    ) -> (Vec<InFlight<U>>, Vec<InFlight<D>>) {
        self.up.gate = up;
        self.down.gate = down;
        let closed = up == Gate::Closed || down == Gate::Closed;
        self.closed_since = closed.then(|| self.closed_since.unwrap_or(now));
        let at = now + self.delay() + RETRANSMISSION;
        (
            self.up.release(self.connection, at),
            self.down.release(self.connection, at),
        )
    }

    /// Returns when the connection breaks if nothing opens until then.
    pub(crate) fn breaks_at(&self) -> Option<Instant> {
        match self.state {
            Connection::Established => Some(self.closed_since? + self.options.keep_alive),
            Connection::Broken => None,
        }
    }

    /// Breaks the connection: what it carries and holds is lost.
    pub(crate) fn break_connection(&mut self) {
        self.state = Connection::Broken;
        self.connection += 1;
        self.orphaned.clear();
        self.up.lose_held();
        self.down.lose_held();
    }

    /// Ends the connection because the node's end died: what waits is lost, what is on its way to the store arrives.
    pub(crate) fn orphan_connection(&mut self) {
        let mut orphaned = std::mem::take(&mut self.orphaned);
        orphaned.insert(self.connection);
        self.break_connection();
        self.orphaned = orphaned;
    }

    /// Makes the way slower than its options say, each way.
    pub(crate) const fn slow_down(&mut self, by: Duration) {
        self.extra_delay = by;
    }

    /// Makes what watches say later.
    pub(crate) const fn lag_watches(&mut self, by: Duration) {
        self.watch_lag = by;
    }

    fn connect(&mut self) -> Duration {
        if self.state == Connection::Established || !self.is_open() {
            return Duration::ZERO;
        }
        self.state = Connection::Established;
        self.delay() * 2
    }

    fn delay(&mut self) -> Duration {
        self.options.delay + self.extra_delay + self.rng.between(Duration::ZERO, self.options.jitter)
    }
}

impl<M> Direction<M> {
    const fn new() -> Self {
        Self {
            gate: Gate::Open,
            calls: Lane::new(),
            watches: Lane::new(),
        }
    }

    const fn lane(&mut self, stream: Stream) -> &mut Lane<M> {
        match stream {
            Stream::Calls => &mut self.calls,
            Stream::Watches => &mut self.watches,
        }
    }

    fn launch(&mut self, stream: Stream, message: M, connection: u64, at: Instant) -> InFlight<M> {
        let carried = Carried {
            connection,
            stream,
            message,
        };
        (self.lane(stream).next_arrival(at), carried)
    }

    fn receive(&mut self, stream: Stream, message: M, state: Connection) -> Option<M> {
        match self.gate {
            Gate::Open => Some(message),
            Gate::Closed => {
                self.hold(stream, message, state);
                None
            }
        }
    }

    fn hold(&mut self, stream: Stream, message: M, state: Connection) {
        match state {
            Connection::Established => self.lane(stream).held.push(message),
            Connection::Broken => {}
        }
    }

    fn lose_held(&mut self) {
        self.calls.held.clear();
        self.watches.held.clear();
    }

    fn release(&mut self, connection: u64, at: Instant) -> Vec<InFlight<M>> {
        match self.gate {
            Gate::Open => [Stream::Calls, Stream::Watches]
                .into_iter()
                .flat_map(|stream| self.release_lane(stream, connection, at))
                .collect(),
            Gate::Closed => Vec::new(),
        }
    }

    fn release_lane(&mut self, stream: Stream, connection: u64, at: Instant) -> Vec<InFlight<M>> {
        let held = std::mem::take(&mut self.lane(stream).held);
        held.into_iter()
            .map(|message| self.launch(stream, message, connection, at))
            .collect()
    }
}

impl<M> Lane<M> {
    const fn new() -> Self {
        Self {
            last_arrival: Instant::ZERO,
            held: Vec::new(),
        }
    }

    /// Returns when a message arrives that would at this time, were it not for those before it.
    fn next_arrival(&mut self, at: Instant) -> Instant {
        self.last_arrival = at.max(self.last_arrival + Duration::from_nanos(1));
        self.last_arrival
    }
}

/// How long TCP waits at first before it sends again (RFC 6298, Linux's minimum).
const RETRANSMISSION: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_order_whatever_the_jitter() {
        let mut path = path(StorePathOptions {
            jitter: Duration::from_secs(1),
            ..StorePathOptions::default()
        });

        let arrivals: Vec<_> = (0..100)
            .filter_map(|number| path.send_up(Stream::Calls, number, Instant::ZERO))
            .map(|(at, _)| at)
            .collect();

        assert_eq!(arrivals.len(), 100);
        assert!(arrivals.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_short_cut_only_delays() {
        let mut path = path(StorePathOptions::default());
        path.set_gates(Gate::Closed, Gate::Closed, Instant::ZERO);
        assert_eq!(path.send_up(Stream::Calls, 1, Instant::ZERO), None);
        assert_eq!(path.send_up(Stream::Calls, 2, Instant::ZERO), None);

        let (up, down) = path.set_gates(Gate::Open, Gate::Open, after(1));

        let arrived: Vec<_> = up
            .into_iter()
            .filter_map(|(_, carried)| path.arrive_up(carried))
            .collect();
        assert_eq!(arrived, [1, 2].map(Arrived::FromTheLiving));
        assert!(down.is_empty());
    }

    #[test]
    fn answers_overtake_what_late_watches_say() {
        let mut path = path(StorePathOptions::default());
        path.lag_watches(Duration::from_secs(10));

        let (said_at, _) = path.send_down(Stream::Watches, "change", Instant::ZERO).unwrap();
        let (answered_at, _) = path.send_down(Stream::Calls, "answer", Instant::ZERO).unwrap();

        assert!(answered_at < after(1), "{answered_at}");
        assert!(said_at >= after(10), "{said_at}");
    }

    #[test]
    fn a_long_cut_breaks_the_connection_and_loses_what_it_carried() {
        let mut path = path(StorePathOptions::default());
        let (_, in_flight) = path.send_down(Stream::Calls, "answer", Instant::ZERO).unwrap();
        path.set_gates(Gate::Closed, Gate::Closed, Instant::ZERO);
        path.send_up(Stream::Calls, 1, Instant::ZERO);

        assert_eq!(path.breaks_at(), Some(after(3)));
        path.break_connection();

        assert_eq!(path.breaks_at(), None);
        assert!(!path.can_connect());
        assert_eq!(path.send_up(Stream::Calls, 2, after(4)), None);
        let (up, _) = path.set_gates(Gate::Open, Gate::Open, after(5));
        assert!(up.is_empty());
        assert_eq!(path.arrive_down(in_flight), None);
        let (_, carried) = path.send_up(Stream::Calls, 3, after(6)).unwrap();
        assert_eq!(path.arrive_up(carried), Some(Arrived::FromTheLiving(3)));
    }

    #[test]
    fn requests_arrive_while_only_answers_are_lost() {
        let mut path = path(StorePathOptions::default());
        path.set_gates(Gate::Open, Gate::Closed, Instant::ZERO);
        path.break_connection();

        let (_, carried) = path.send_up(Stream::Calls, 7, after(1)).unwrap();

        assert_eq!(path.arrive_up(carried), Some(Arrived::FromTheLiving(7)));
        assert_eq!(path.send_down(Stream::Calls, "answer", after(1)), None);
        let (_, down) = path.set_gates(Gate::Open, Gate::Open, after(2));
        assert!(down.is_empty());
    }

    #[test]
    fn what_a_node_sent_before_it_died_arrives_and_its_answers_do_not() {
        let mut path = path(StorePathOptions::default());
        let (_, request) = path.send_up(Stream::Calls, 1, Instant::ZERO).unwrap();
        let (_, answer) = path.send_down(Stream::Calls, "answer", Instant::ZERO).unwrap();

        path.orphan_connection();
        let (_, of_next_life) = path.send_up(Stream::Calls, 2, Instant::ZERO).unwrap();

        assert_eq!(path.arrive_up(request.clone()), Some(Arrived::FromTheDead(1)));
        assert_eq!(path.arrive_up(of_next_life), Some(Arrived::FromTheLiving(2)));
        assert_eq!(path.arrive_down(answer), None);
        path.break_connection();
        assert_eq!(path.arrive_up(request), None);
    }

    fn path(options: StorePathOptions) -> StorePath<u32, &'static str> {
        StorePath::new(options, Rng::new(1))
    }

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }
}
