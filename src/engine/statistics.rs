//! Numbers about the store, for those who look after it.
//!
//! Invariants: what is counted as commands are carried out takes no lock; what has to be looked for
//! is looked for on the thread of whoever asks, a shard at a time, and no more often than it is worth.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::checkpoint::SnapshotInfo;
use super::state::State;
use super::{Engine, Shared};
use crate::meter::{Counted, DURATIONS, Histogram, SIZES};
use crate::model::{EventFault, PopulationName, Revision};
use crate::population::{EventInfo, Judged, PropertyInfo};

/// How long what memory is used for holds good, at least.
const MEASURED_FOR: Duration = Duration::from_secs(30);
/// Measuring takes no more than this part of the time.
const MEASURING_PART: u32 = 100;

/// What is counted while the engine runs.
#[derive(Debug)]
pub(super) struct Meters {
    started: Instant,
    syncs: Histogram,
    groups: Histogram,
    log_bytes: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    replayed: AtomicU64,
    duplicates: AtomicU64,
    too_old: AtomicU64,
    too_far_ahead: AtomicU64,
    /// When the first command was made durable that no snapshot holds, in microseconds since the
    /// start. Means nothing while the snapshot holds all of the log.
    unsaved_since: AtomicU64,
    snapshots: AtomicU64,
    failed_snapshots: AtomicU64,
    newest: Mutex<Option<SnapshotStatistics>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Meters {
    /// Those of a store that has just been read, with its newest snapshot.
    pub(super) fn new(newest: Option<SnapshotInfo>) -> Self {
        Self {
            started: Instant::now(),
            syncs: Histogram::new(&DURATIONS),
            groups: Histogram::new(&SIZES),
            log_bytes: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            too_old: AtomicU64::new(0),
            too_far_ahead: AtomicU64::new(0),
            unsaved_since: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            failed_snapshots: AtomicU64::new(0),
            newest: Mutex::new(newest.map(|info| SnapshotStatistics { info, took: None })),
        }
    }

    fn since_start(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// Commands were made durable together.
    pub(super) fn logged(&self, commands: usize, bytes: u64, synced_in: Duration) {
        self.syncs.time(synced_in);
        self.groups.count(commands as u64);
        self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What is made durable from now on is in no snapshot.
    pub(super) fn unsaved_from_now(&self) {
        let now = self.since_start(Instant::now());
        self.unsaved_since.store(now, Ordering::Relaxed);
    }

    /// A command was carried out, or refused.
    pub(super) fn judged(&self, judged: &Judged) {
        let count = match (&judged.outcome, judged.replayed) {
            (_, true) => &self.replayed,
            (Ok(_), false) => &self.accepted,
            (Err(_), false) => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let (Ok(changes), false) = (&judged.outcome, judged.replayed) {
            for refused in &changes.refused_events {
                let count = match refused.fault {
                    EventFault::Duplicate => &self.duplicates,
                    EventFault::TooOld => &self.too_old,
                    EventFault::TooFarAhead => &self.too_far_ahead,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A snapshot was written that was begun at some instant: it holds everything before.
    pub(super) fn snapshot(&self, info: SnapshotInfo, began: Instant) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        let since = self.since_start(began);
        self.unsaved_since.store(since, Ordering::Relaxed);
        *self.newest() = Some(SnapshotStatistics {
            info,
            took: Some(began.elapsed()),
        });
    }

    /// A snapshot could not be written.
    pub(super) fn snapshot_failed(&self) {
        self.failed_snapshots.fetch_add(1, Ordering::Relaxed);
    }

    fn newest(&self) -> MutexGuard<'_, Option<SnapshotStatistics>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsaved_for(&self) -> Duration {
        let since = self.unsaved_since.load(Ordering::Relaxed);
        let elapsed = self.started.elapsed();
        elapsed.saturating_sub(Duration::from_micros(since))
    }
}

/// Numbers about the store, all of them since the start where they only grow.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// What the store can do at the moment.
    pub state: State,
    /// The revision up to which everything is in every answer.
    pub revision: Revision,
    /// How long the store has been open.
    pub uptime: Duration,
    /// How many commands were accepted.
    pub accepted: u64,
    /// How many commands were refused when they were carried out.
    pub refused: u64,
    /// How many commands had been sent before.
    pub replayed: u64,
    /// How many events did not count since the user has one of the same name and id.
    pub duplicates: u64,
    /// How many events did not count since they were older than events of their name are kept.
    pub too_old: u64,
    /// How many events did not count since they lay too far ahead of when they were received.
    pub too_far_ahead: u64,
    /// How many commands wait in the queue.
    pub waiting_commands: u64,
    /// How many may wait there.
    pub waiting_commands_limit: u64,
    /// How many bytes the commands take that wait, those about to enter the queue included.
    pub waiting_bytes: u64,
    /// How long each sync of the log took, in nanoseconds.
    pub syncs: Counted,
    /// How many commands were made durable by each sync.
    pub groups: Counted,
    /// How many bytes were written to the log.
    pub logged_bytes: u64,
    /// How many bytes of log the newest snapshot does not hold.
    pub unsaved_bytes: u64,
    /// For how long the oldest command that the newest snapshot does not hold has been durable;
    /// since the start, if it is older. `None` if the snapshot holds everything.
    pub unsaved_for: Option<Duration>,
    /// The newest snapshot; `None` if there is none.
    pub snapshot: Option<SnapshotStatistics>,
    /// How many snapshots were written.
    pub snapshots: u64,
    /// How many could not be written.
    pub failed_snapshots: u64,
    /// How many threads run queries.
    pub query_threads: u64,
    /// How many queries wait for a thread.
    pub waiting_queries: u64,
    /// How many queries run.
    pub running_queries: u64,
    /// How many watch segments.
    pub watchers: u64,
}

/// Numbers about a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotStatistics {
    /// What it is.
    pub info: SnapshotInfo,
    /// How long it took; `None` if it was written before the start.
    pub took: Option<Duration>,
}

/// Numbers about a population.
#[derive(Clone, Debug)]
pub struct PopulationStatistics {
    /// Its name.
    pub name: PopulationName,
    /// How many users it has.
    pub users: u64,
    /// How many shards.
    pub shards: u64,
    /// How many segments.
    pub segments: u64,
    /// Its properties, in the order of their names.
    pub properties: Vec<PropertyInfo>,
    /// Its events, in the order of their names.
    pub events: Vec<EventInfo>,
}

/// What a population uses memory for, in bytes by part, without what the allocator adds.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The population.
    pub population: PopulationName,
    /// The bytes of each part.
    pub parts: Vec<(&'static str, u64)>,
}

/// What memory was used for when it was measured last.
#[derive(Debug, Default)]
pub(super) struct Measured {
    last: Mutex<Option<Measurement>>,
    /// Held by who measures.
    measuring: Mutex<()>,
}

impl Measured {
    /// What was measured last, or what is measured now, if that does not hold good any more. Who
    /// asks while another measures does not wait: there may be as many as there are threads.
    fn get(&self, measure: impl FnOnce() -> Vec<Memory>) -> Arc<Vec<Memory>> {
        let began = Instant::now();
        let last = self.last().clone();
        if let Some(last) = last.as_ref().filter(|last| began < last.good_until) {
            return Arc::clone(&last.memory);
        }
        let _measuring = match self.measuring.try_lock() {
            Ok(measuring) => measuring,
            // Nothing is half done behind a panic.
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return last.map(|last| last.memory).unwrap_or_default();
            }
        };
        let memory = Arc::new(measure());
        let now = Instant::now();
        let pause = now.duration_since(began).saturating_mul(MEASURING_PART);
        *self.last() = Some(Measurement {
            memory: Arc::clone(&memory),
            good_until: now + pause.max(MEASURED_FOR),
        });
        memory
    }

    fn last(&self) -> MutexGuard<'_, Option<Measurement>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug)]
struct Measurement {
    memory: Arc<Vec<Memory>>,
    good_until: Instant,
}

impl Engine {
    /// Numbers about the store. Takes microseconds.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let Shared {
            counters,
            commits,
            pool,
            watches,
            ..
        } = &*self.0;
        let meters = &counters.meters;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (waiting_queries, running_queries) = pool.load();
        let unsaved_bytes = read(&counters.log_bytes);
        Statistics {
            state: self.state(),
            revision: self.applied(),
            uptime: meters.started.elapsed(),
            accepted: read(&meters.accepted),
            refused: read(&meters.refused),
            replayed: read(&meters.replayed),
            duplicates: read(&meters.duplicates),
            too_old: read(&meters.too_old),
            too_far_ahead: read(&meters.too_far_ahead),
            waiting_commands: (commits.max_capacity() - commits.capacity()) as u64,
            waiting_commands_limit: commits.max_capacity() as u64,
            waiting_bytes: counters.waiting_bytes.load(Ordering::Relaxed) as u64,
            syncs: meters.syncs.counted(),
            groups: meters.groups.counted(),
            logged_bytes: read(&meters.log_bytes),
            unsaved_bytes,
            unsaved_for: (unsaved_bytes > 0).then(|| meters.unsaved_for()),
            snapshot: *meters.newest(),
            snapshots: read(&meters.snapshots),
            failed_snapshots: read(&meters.failed_snapshots),
            query_threads: pool.threads() as u64,
            waiting_queries: waiting_queries as u64,
            running_queries: running_queries as u64,
            watchers: watches.watchers() as u64,
        }
    }

    /// Numbers about each population, in the order of their names. Takes time by the number of
    /// properties and events, not of users.
    #[must_use]
    pub fn population_statistics(&self) -> Vec<PopulationStatistics> {
        let populations = self.populations().into_iter();
        let numbers = populations.map(|(name, population)| PopulationStatistics {
            name,
            users: population.user_count(),
            shards: population.shard_count().into(),
            segments: population.catalog().segments().len() as u64,
            properties: population.properties(),
            events: population.events(),
        });
        numbers.collect()
    }

    /// What memory is used for. Looks at all shards, one after the other, which may take long and
    /// is not done more often than every 30 seconds, or for more than a hundredth of the time: in
    /// between, and while it is done, what was found last is told again; at first that is nothing.
    #[must_use]
    pub fn memory(&self) -> Arc<Vec<Memory>> {
        self.0.memory.get(|| {
            let populations = self.populations().into_iter();
            let memory = populations.map(|(name, population)| Memory {
                population: name,
                parts: population
                    .memory()
                    .into_iter()
                    .map(|(part, bytes)| (part, bytes as u64))
                    .collect(),
            });
            memory.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: u64) -> Vec<Memory> {
        let memory = Memory {
            population: PopulationName::default(),
            parts: vec![("all", bytes)],
        };
        vec![memory]
    }

    #[test]
    fn nobody_waits_for_who_measures() {
        let measured = Measured::default();
        let bytes = |memory: &[Memory]| memory.first().map(|memory| memory.parts[0].1);
        let outer = measured.get(|| {
            assert_eq!(bytes(&measured.get(|| found(2))), None, "nothing is known");
            found(1)
        });
        assert_eq!(bytes(&outer), Some(1));
        assert_eq!(bytes(&measured.get(|| found(3))), Some(1), "it holds good");
        if let Some(last) = measured.last().as_mut() {
            last.good_until = Instant::now();
        }
        let outer = measured.get(|| {
            assert_eq!(bytes(&measured.get(|| found(4))), Some(1), "the last one");
            found(5)
        });
        assert_eq!(bytes(&outer), Some(5));
    }
}
