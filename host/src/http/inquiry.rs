//! Questions to the event loop, and their answers.

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::fresh::Fresh;
use super::report::Report;

/// How many questions wait for the loop.
const CAPACITY: usize = 4;

/// How long the loop has for an answer. It turns within milliseconds even when much changes.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a report is used again: those who ask often cost the loop no more than this.
const FRESH: Duration = Duration::from_millis(100);

/// A question to the event loop.
#[derive(Debug)]
enum Inquiry {
    /// Does it turn?
    Pulse(oneshot::Sender<()>),
    /// How do things stand?
    Report(oneshot::Sender<Arc<Report>>),
}

/// Asks the event loop.
#[derive(Debug)]
pub struct Inquirer {
    inquiries: mpsc::Sender<Inquiry>,
    report: Fresh<Arc<Report>>,
}

/// The event loop's side: what it is asked.
#[derive(Debug)]
pub struct Inquiries {
    receiver: mpsc::Receiver<Inquiry>,
    /// What has come and is not answered yet.
    waiting: Vec<Inquiry>,
}

/// The event loop gave no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Silence {
    /// Not in time.
    #[error("the event loop has not turned for {} s", PATIENCE.as_secs())]
    Stuck,
    /// And never will: it has ended.
    #[error("the event loop has ended")]
    Ended,
}

/// Makes both sides; nobody has to use the first.
pub fn channel() -> (Inquirer, Inquiries) {
    let (inquiries, receiver) = mpsc::channel(CAPACITY);
    let inquirer = Inquirer {
        inquiries,
        report: Fresh::new(FRESH),
    };
    let waiting = Vec::with_capacity(CAPACITY);
    (inquirer, Inquiries { receiver, waiting })
}

impl Inquirer {
    /// Makes the loop turn once.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub async fn pulse(&self) -> Result<(), Silence> {
        in_time(self.ask(Inquiry::Pulse)).await
    }

    /// Returns how things stand, or stood a tenth of a second ago.
    ///
    /// # Errors
    ///
    /// If the loop does not answer.
    pub async fn report(&self) -> Result<Arc<Report>, Silence> {
        in_time(self.report.get(self.ask(Inquiry::Report))).await
    }

    async fn ask<T>(&self, inquiry: impl FnOnce(oneshot::Sender<T>) -> Inquiry) -> Result<T, Silence> {
        let (sender, receiver) = oneshot::channel();
        let sent = self.inquiries.send(inquiry(sender)).await;
        sent.map_err(|_| Silence::Ended)?;
        receiver.await.map_err(|_| Silence::Ended)
    }
}

impl Inquiries {
    /// Waits until something is asked; for ever if nobody can.
    ///
    /// Nothing is lost if the future is dropped before it ends.
    pub async fn wait(&mut self) {
        if !self.waiting.is_empty() {
            return;
        }
        match self.receiver.recv().await {
            Some(inquiry) => self.waiting.push(inquiry),
            None => std::future::pending().await,
        }
    }

    /// Answers all that was asked, with one report if it takes one.
    pub fn answer(&mut self, report: impl FnOnce() -> Report) {
        self.collect();
        let report = LazyCell::new(|| Arc::new(report()));
        for inquiry in self.waiting.drain(..) {
            // Whoever asked may have gone, and costs no report then.
            match inquiry {
                Inquiry::Pulse(sender) => drop(sender.send(())),
                Inquiry::Report(sender) if sender.is_closed() => {}
                Inquiry::Report(sender) => drop(sender.send(Arc::clone(&report))),
            }
        }
    }

    fn collect(&mut self) {
        let room = CAPACITY.saturating_sub(self.waiting.len());
        let more = std::iter::from_fn(|| self.receiver.try_recv().ok());
        self.waiting.extend(more.take(room));
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Silence>>) -> Result<T, Silence> {
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or(Err(Silence::Stuck))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn one_report_answers_all_who_ask_and_a_pulse_takes_none() {
        let (inquirer, mut inquiries) = channel();
        let made = Cell::new(0);
        let serve = async {
            loop {
                inquiries.wait().await;
                inquiries.answer(|| {
                    made.set(made.get() + 1);
                    Report::Searching(made.get().to_string())
                });
            }
        };
        let ask = async {
            let pulse = inquirer.pulse().await;
            let before = made.get();
            let (one, other) = tokio::join!(inquirer.report(), inquirer.report());
            (pulse, before, one, other)
        };

        let (pulse, before, one, other) = tokio::select! {
            asked = ask => asked,
            () = serve => unreachable!("it serves for ever"),
        };

        assert_eq!((pulse, before, made.get()), (Ok(()), 0, 1));
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_turn_is_told_from_one_that_has_ended() {
        let (inquirer, inquiries) = channel();

        let stuck = inquirer.pulse().await;
        let more = inquirer.report().await.map(drop);
        drop(inquiries);
        let ended = inquirer.pulse().await;

        assert_eq!((stuck, more), (Err(Silence::Stuck), Err(Silence::Stuck)));
        assert_eq!(ended, Err(Silence::Ended));
        assert_eq!(
            stuck.unwrap_err().to_string(),
            "the event loop has not turned for 2 s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_gave_up_cost_no_report() {
        let (inquirer, mut inquiries) = channel();
        for _ in 0..100 {
            assert!(inquirer.report().await.is_err());
        }

        inquiries.answer(|| unreachable!("nobody waits"));

        assert!(inquiries.waiting.is_empty());
    }
}
