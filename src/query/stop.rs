//! When to give up: asked between any two shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The time ran out, or nobody waits for the answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evaluation was stopped")]
pub struct Stopped;

/// A deadline and a flag.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    deadline: Option<Instant>,
    cancelled: Arc<AtomicBool>,
}

impl Stop {
    /// Never by itself.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// At a moment, if one is given.
    #[must_use]
    pub fn at(deadline: Option<Instant>) -> Self {
        Self {
            deadline,
            cancelled: Arc::default(),
        }
    }

    /// Now. All clones stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Says whether to go on.
    ///
    /// # Errors
    /// [`Stopped`] if it is time to stop.
    pub fn check(&self) -> Result<(), Stopped> {
        let late = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if late || self.cancelled.load(Ordering::Relaxed) {
            Err(Stopped)
        } else {
            Ok(())
        }
    }
}
