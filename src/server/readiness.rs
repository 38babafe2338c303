//! Whether the service is to be asked: while it starts not yet, while it ends not any more.
//!
//! Invariant: it only goes forward, from starting to serving to ending.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How far the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The store is being opened.
    Starting,
    /// Calls are served.
    Serving,
    /// No new call is taken.
    Ending,
}

/// How far the service is: a handle that is shared by those who tell it and those who ask.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Ending,
        }
    }

    /// Calls are served from now on.
    pub fn serving(&self) {
        self.0.fetch_max(1, Ordering::AcqRel);
    }

    /// No new call is taken from now on.
    pub fn ending(&self) {
        self.0.fetch_max(2, Ordering::AcqRel);
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
}
