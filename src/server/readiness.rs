//! Whether the service is to be asked: while it starts not yet, while it ends not any more.
//!
//! Invariant: it only goes forward, from starting to serving to ending.

use std::sync::Arc;

use tokio::sync::watch;

/// How far the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The store is being opened.
    Starting,
    /// Calls are served.
    Serving,
    /// No new call is taken.
    Ending,
}

/// How far the service is: a handle that is shared by those who tell it and those who ask.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Phase>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Starting)))
    }
}

impl Readiness {
    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Calls are served from now on.
    pub fn serving(&self) {
        self.reach(Phase::Serving);
    }

    /// No new call is taken from now on.
    pub fn ending(&self) {
        self.reach(Phase::Ending);
    }

    /// Waits until it is no longer starting, and says how far it is then.
    pub async fn started(&self) -> Phase {
        let mut phases = self.0.subscribe();
        let started = phases.wait_for(|phase| *phase > Phase::Starting).await;
        // The sender lives as long as this handle.
        started.map_or(Phase::Ending, |phase| *phase)
    }

    fn reach(&self, next: Phase) {
        self.0.send_if_modified(|phase| {
            let is_further = next > *phase;
            if is_further {
                *phase = next;
            }
            is_further
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_goes_forward() {
        let readiness = Readiness::default();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.serving();
        assert_eq!(readiness.clone().phase(), Phase::Serving);
        readiness.ending();
        readiness.serving();
        assert_eq!(readiness.phase(), Phase::Ending);
    }

    #[tokio::test]
    async fn who_waits_for_the_start_is_told() {
        let readiness = Readiness::default();
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.started().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        readiness.serving();
        assert_eq!(waiting.await.unwrap(), Phase::Serving);
        assert_eq!(readiness.started().await, Phase::Serving);
    }
}
