//! Keeps counts of the windows that saved segments ask for, as the days go by.
//!
//! Invariant: what is kept is derived from events and lost with the process; whether and when this
//! runs never shows in an answer, only in how fast it comes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::registry::Registry;
use crate::clock::Clock;
use crate::query::keep_windows;

/// How soon a segment that was saved, or a new day, is noticed.
const EVERY: Duration = Duration::from_secs(2);

/// Looks after the windows of all populations.
pub(super) struct Keeper {
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Arc<dyn Clock>,
    /// Ends with the sender, or by a message.
    pub(super) stop: Receiver<()>,
}

impl Keeper {
    pub(super) fn run(self) {
        while self.stop.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            let now = self.clock.now();
            for (_, population) in self.registry.all() {
                keep_windows(&population, now);
            }
        }
    }
}
