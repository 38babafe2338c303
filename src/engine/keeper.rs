//! Keeps counts of the windows that saved segments ask for, as the days go by.
//!
//! Invariant: what is kept is derived from events and lost with the process; whether and when this
//! runs never shows in an answer, only in how fast it comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::registry::Registry;
use crate::clock::Clock;
use crate::model::PopulationName;
use crate::query::KeptFor;

/// How soon a segment that was saved, or a new day, is noticed.
const EVERY: Duration = Duration::from_secs(2);

/// After so many looks everything is looked at anew: shards come with their first users, and events
/// of a name with the first one of a shard.
const LOOKS_ANEW: u32 = 30;

/// Looks after the windows of all populations.
pub(super) struct Keeper {
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Arc<dyn Clock>,
    /// Ends with the sender, or by a message.
    pub(super) stop: Receiver<()>,
}

impl Keeper {
    pub(super) fn run(self) {
        let mut known: BTreeMap<PopulationName, KeptFor> = BTreeMap::new();
        let mut looks: u32 = 0;
        while self.stop.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS_ANEW) {
                known.clear();
            }
            let now = self.clock.now();
            for (name, population) in self.registry.all() {
                known.entry(name).or_default().look(&population, now);
            }
        }
    }
}
