//! What the daemon knows about itself at a moment.

use selvedge_engine::{Engine, Health, Holdings, Instant, Status};

use super::tally::Counts;

/// How things stand.
#[derive(Clone, Debug)]
pub enum Report {
    /// The daemon looks for its interface and has no engine yet; the text says what is missing.
    Searching(String),
    /// It has an engine.
    Serving(Box<Serving>),
}

/// What the engine, and those who listen to it, know.
#[derive(Clone, Debug)]
pub struct Serving {
    /// When.
    pub now: Instant,
    /// The node's state.
    pub status: Status,
    /// How well it does.
    pub health: Health,
    /// How much it holds.
    pub holdings: Holdings,
    /// What happened so far.
    pub counts: Counts,
}

impl Report {
    /// Asks an engine; costs as much as it has peers and objects.
    pub fn of(engine: &Engine, now: Instant, counts: Counts) -> Self {
        Self::Serving(Box::new(Serving {
            now,
            status: engine.status(),
            health: engine.health(now),
            holdings: engine.holdings(),
            counts,
        }))
    }

    /// Returns what keeps the node from being ready, in lines; nothing if it is.
    pub fn obstacles(&self) -> Vec<String> {
        match self {
            Self::Searching(missing) => vec![missing.clone()],
            Self::Serving(serving) => serving.obstacles(),
        }
    }
}

impl Serving {
    /// Returns what keeps the node from being ready, in lines; nothing if it is.
    pub fn obstacles(&self) -> Vec<String> {
        let obstacles = self.health.obstacles.iter();
        obstacles.map(ToString::to_string).collect()
    }
}
