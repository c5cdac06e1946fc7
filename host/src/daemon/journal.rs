//! What the log, the service manager, the recording and those who ask are told.

use selvedge_engine::{Action, Engine, Event, Input, Instant, Phase, Status, Summary, Twin};

use crate::clock::{BootClock, Clock as _};
use crate::event_loop::Observer;
use crate::http::inquiry::Inquiries;
use crate::http::report::Report;
use crate::http::tally::Tally;
use crate::logging;
use crate::recorder::RecordingFile;
use crate::supervisor::Supervisor;

/// Tells the log what happens, and the service manager and whoever asks how things stand, and records if that is wanted.
#[derive(Debug)]
pub(super) struct Journal {
    supervisor: Supervisor,
    /// What the line was last made from.
    summary: Option<Summary>,
    line: String,
    recording: Option<RecordingFile>,
    tally: Tally,
    inquiries: Inquiries,
}

impl Journal {
    pub(super) fn new(
        supervisor: Supervisor,
        recording: Option<RecordingFile>,
        inquiries: Inquiries,
    ) -> Self {
        Self {
            supervisor,
            summary: None,
            line: String::new(),
            recording,
            tally: Tally::default(),
            inquiries,
        }
    }

    fn tell_supervisor(&mut self, engine: &Engine) {
        let summary = engine.summary();
        if self.summary == Some(summary) {
            return;
        }
        self.summary = Some(summary);
        let line = line(&engine.status());
        if line != self.line {
            self.supervisor.status(&line);
            self.line = line;
        }
    }
}

impl Observer for Journal {
    fn event(&mut self, event: &Event) {
        logging::event(event);
        self.tally.event(event);
    }

    fn ready(&mut self) {
        self.supervisor.ready();
    }

    fn input(&mut self, engine: &Engine, input: &Input, now: Instant) {
        if let Some(recording) = &mut self.recording {
            recording.input(engine, input, now);
        }
        self.tally.input(input);
    }

    fn action(&mut self, action: &Action) {
        if let Some(recording) = &mut self.recording {
            recording.action(action);
        }
        self.tally.action(action);
    }

    fn settled(&mut self, engine: &Engine) {
        if let Some(recording) = &mut self.recording {
            recording.flush();
        }
        self.tell_supervisor(engine);
        let tally = &self.tally;
        self.inquiries
            .answer(|| Report::of(engine, BootClock.now(), tally.counts().clone()));
    }

    async fn asked(&mut self) {
        self.inquiries.wait().await;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.supervisor.stopping();
    }
}

fn line(status: &Status) -> String {
    if let Some(twin) = status.twin {
        let cure = twin.cure();
        let Twin {
            public_ip,
            subnet,
            rival,
        } = twin;
        return format!("public IP {public_ip} is taken by {rival}, which holds {subnet}: {cure}");
    }
    match (status.phase, status.subnet) {
        (Phase::Configuring, _) => "waiting for the network config".to_owned(),
        (Phase::Acquiring, None) => "taking a subnet".to_owned(),
        (Phase::Acquiring, Some(subnet)) => format!("taking a subnet again, carrying {subnet} meanwhile"),
        (Phase::Preparing, _) => "setting up the tunnel".to_owned(),
        (Phase::Running, Some(subnet)) => format!("holding {subnet}, {}", peers(status)),
        (Phase::Running, None) => "running".to_owned(),
        (Phase::Stopped, _) => "stopping".to_owned(),
    }
}

fn peers(status: &Status) -> String {
    let (peers, stale) = (status.peers.len(), status.stale.len());
    let stale = match stale {
        0 => String::new(),
        _ => format!(", {stale} of them without a lease for the moment"),
    };
    let failing = match &status.failing[..] {
        [] => String::new(),
        [(object, error)] => format!("; cannot set up {object}: {error}"),
        [(object, error), others @ ..] => {
            format!(
                "; cannot set up {object}: {error} ({} other failures)",
                others.len()
            )
        }
    };
    format!("{peers} peers{stale}{failing}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use ipnet::Ipv4Net;
    use selvedge_engine::{Revision, Rival, Subnet};

    use super::*;

    #[test]
    fn the_service_manager_reads_what_the_node_waits_for() {
        assert_eq!(line(&status()), "waiting for the network config");
    }

    #[test]
    fn the_service_manager_reads_who_has_the_public_ip_and_what_to_do() {
        let twin = Twin {
            public_ip: IpAddr::from([192, 0, 2, 1]),
            subnet: Subnet::V4("10.5.3.0/24".parse().unwrap()),
            rival: Rival::Copy,
        };
        let refused = Status {
            phase: Phase::Acquiring,
            twin: Some(twin),
            ..status()
        };

        assert_eq!(
            line(&refused),
            "public IP 192.0.2.1 is taken by a copy of this machine, which holds 10.5.3.0-24: give each machine its own \
             with --iface or --public-ip, and the copy a new /etc/machine-id"
        );
    }

    #[test]
    fn the_service_manager_reads_how_many_peers_are_stale() {
        let subnet = |number| Subnet::V4(Ipv4Net::new(Ipv4Addr::new(10, 5, number, 0), 24).unwrap());
        let peers = BTreeMap::from([2, 3].map(|number| (subnet(number), IpAddr::from([192, 0, 2, number]))));
        let running = Status {
            phase: Phase::Running,
            subnet: Some(subnet(1)),
            peers,
            ..status()
        };
        let waiting = Status {
            stale: BTreeMap::from([(subnet(2), Duration::from_mins(1))]),
            ..running.clone()
        };

        assert_eq!(line(&running), "holding 10.5.1.0-24, 2 peers");
        assert_eq!(
            line(&waiting),
            "holding 10.5.1.0-24, 2 peers, 1 of them without a lease for the moment"
        );
    }

    fn status() -> Status {
        Status {
            phase: Phase::Configuring,
            subnet: None,
            twin: None,
            public_ip: Ipv4Addr::new(192, 0, 2, 1),
            backend: None,
            revision: Revision(0),
            peers: BTreeMap::new(),
            stale: BTreeMap::new(),
            rejected: BTreeMap::new(),
            missed_changes: 0,
            failing: Vec::new(),
            off_link: Vec::new(),
        }
    }
}
