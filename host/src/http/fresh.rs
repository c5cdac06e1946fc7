//! Answers that are used again for a moment.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The newest answer to a question that is asked at most once at a time, and not again while the answer is fresh: however
/// many ask, what it costs is bounded.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    lasts: Duration,
    newest: Mutex<Option<(Instant, T)>>,
}

impl<T: Clone> Fresh<T> {
    /// Makes one without an answer; each is fresh for so long.
    pub(super) const fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            newest: Mutex::const_new(None),
        }
    }

    /// Returns an answer that is fresh.
    ///
    /// # Errors
    ///
    /// What `ask` says; it is not kept.
    pub(super) async fn get<E>(&self, ask: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut newest = self.newest.lock().await;
        if let Some((at, answer)) = &*newest
            && at.elapsed() < self.lasts
        {
            return Ok(answer.clone());
        }
        let answer = ask.await?;
        *newest = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_asked_for_again_when_it_is_stale_and_never_twice_at_once() {
        let fresh = Fresh::new(Duration::from_millis(100));
        let asked = Cell::new(0);
        let get = || {
            fresh.get(async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                asked.set(asked.get() + 1);
                Ok::<_, ()>(asked.get())
            })
        };

        let together = tokio::join!(get(), get(), get());
        tokio::time::sleep(Duration::from_millis(50)).await;
        let soon = get().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let later = get().await;

        assert_eq!(together, (Ok(1), Ok(1), Ok(1)));
        assert_eq!((soon, later), (Ok(1), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_not_kept() {
        let fresh = Fresh::new(Duration::from_secs(1));

        let failed = fresh.get(async { Err("silent") }).await;
        let answered = fresh.get(async { Ok::<_, &str>(1) }).await;

        assert_eq!((failed, answered), (Err("silent"), Ok(1)));
    }
}
