//! Watching who enters and leaves segments.
//!
//! Nothing is remembered of who is in a segment: commands are looked at before and after they are
//! carried out, by the thread that carries them out, and the clock is followed by a thread of its own.
//! What they find is kept for a while, in the order in which it happened, for all who watch.
//!
//! Invariant: who reads the members of a segment and then all that is told of it has exactly the
//! members that a query as of the same revision and instant has.

mod ring;
mod state;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod watcher;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

pub use ring::{Mark, ResyncCause};
pub use watcher::{Cursor, Next, Part, WatchedChange, Watcher};

use super::registry::Registry;
use crate::clock::Clock;
use crate::model::{Command, LimitExceeded, PopulationName, Revision, SegmentName, Timestamp};
use crate::population::{Judged, Population};
use ring::Ring;
use state::State;

/// How soon what the clock moves is told.
const EVERY: Duration = Duration::from_millis(10);
/// After so many looks at the clock it is looked for what nobody watches any more.
const LOOKS_FOR_IDLE: u32 = 100;

/// The present, as questions see it.
#[derive(Debug, Default)]
pub(super) struct Received(AtomicI64);

impl Received {
    pub(super) fn new() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }

    /// Notes that something was received at an instant.
    pub(super) fn note(&self, at: Timestamp) {
        self.0.fetch_max(at.micros(), Ordering::Relaxed);
    }

    /// An instant that is not before `now`, and after everything that was received.
    pub(super) fn after(&self, now: Timestamp) -> Timestamp {
        let after = Timestamp::from_micros(self.0.load(Ordering::Relaxed).saturating_add(1));
        now.max(after.unwrap_or(Timestamp::MIN))
    }
}

/// How many changes there can be.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// That are kept of one population.
    kept: usize,
    /// That are told of one command that defines segments anew.
    redefined: usize,
    /// Users whom the clock moves that are known at once.
    due: usize,
    /// Users whom the clock moves before others have their turn.
    moved: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            kept: 1 << 18,
            redefined: 100_000,
            due: 4_000_000,
            moved: 2_048,
        }
    }
}

/// All that is watched.
pub(super) struct Watches {
    populations: RwLock<HashMap<PopulationName, Arc<PopulationWatch>>>,
    /// The revision of the last command that was carried out.
    last: AtomicU64,
    watchers: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
    received: Arc<Received>,
    /// Chosen at random at the start, so that cursors of another run are known.
    run: u64,
    bounds: Bounds,
}

/// What is watched of one population.
pub(super) struct PopulationWatch {
    population: Arc<Population>,
    state: Mutex<State>,
    ring: Ring,
    /// Tells that there is more to read: the number of the change that will come next.
    more: watch::Sender<u64>,
    run: u64,
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").finish_non_exhaustive()
    }
}

impl PopulationWatch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mark at which everybody is where it says, and the number of the next change.
    fn settled_mark(&self) -> Option<(Mark, u64)> {
        let state = self.state();
        let mark = state.is_settled().then_some(state.mark());
        Some((mark?, self.ring.end()))
    }

    /// Wakes who waits for more, if there is more.
    fn wake(&self) {
        let end = self.ring.end();
        self.more.send_if_modified(|known| {
            let is_more = *known != end;
            *known = end;
            is_more
        });
    }
}

impl Watches {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        received: Arc<Received>,
        last: Revision,
        run: u64,
    ) -> Self {
        Self {
            populations: RwLock::default(),
            last: AtomicU64::new(last.number()),
            watchers: Arc::default(),
            clock,
            received,
            run,
            bounds: Bounds::default(),
        }
    }

    /// Begins to watch segments of a population: those of some names, or all that there are and come.
    /// Members come first with `members`; with a cursor, what happened since.
    ///
    /// # Errors
    /// [`LimitExceeded`] if too many watch already.
    pub(super) fn watch(
        &self,
        (name, population): (&PopulationName, &Arc<Population>),
        names: Option<Vec<SegmentName>>,
        members: bool,
        cursor: Option<Cursor>,
    ) -> Result<Watcher, LimitExceeded> {
        let place = watcher::Seat::take(&self.watchers)?;
        let watch = self.of(name).unwrap_or_else(|| {
            // No command is carried out meanwhile.
            let mut all = self
                .populations
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let new = all.entry(name.clone()).or_insert_with(|| {
                let mark = Mark {
                    revision: Revision::new(self.last.load(Ordering::Acquire)),
                    time: self.now(),
                };
                Arc::new(PopulationWatch {
                    population: Arc::clone(population),
                    state: Mutex::new(State::new(population, mark, self.bounds)),
                    ring: Ring::new(mark, self.bounds.kept),
                    more: watch::Sender::new(0),
                    run: self.run,
                })
            });
            Arc::clone(new)
        });
        Ok(Watcher::begin(
            place,
            watch,
            self.now(),
            names,
            members,
            cursor,
        ))
    }

    /// How many watch.
    pub(super) fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    fn now(&self) -> Timestamp {
        self.received.after(self.clock.now())
    }

    fn of(&self, name: &PopulationName) -> Option<Arc<PopulationWatch>> {
        let all = self
            .populations
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        all.get(name).map(Arc::clone)
    }

    /// Has a command carried out, and tells what it does to segments that are watched.
    pub(super) fn carry_out(
        &self,
        registry: &Registry,
        revision: Revision,
        command: &Command,
    ) -> Judged {
        // Until it is carried out nobody begins to watch a population.
        let all = self
            .populations
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        self.last.store(revision.number(), Ordering::Release);
        let apply = || registry.apply(revision, command);
        let Command::Population { name, action, .. } = command else {
            return apply();
        };
        let Some(watch) = all.get(name) else {
            return apply();
        };
        let mut state = watch.state();
        if state.is_watching() {
            state.advance_before_a_command(&watch.population, &watch.ring, self.now());
        }
        state.carry_out(&watch.population, &watch.ring, (revision, action), apply)
    }

    /// Tells that everything up to a revision is there, and wakes who waits for more.
    pub(super) fn applied(&self, revision: Revision) {
        for watch in self.all() {
            watch.state().reach(revision, &watch.ring);
            watch.wake();
        }
    }

    fn all(&self) -> Vec<Arc<PopulationWatch>> {
        let all = self
            .populations
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        all.values().map(Arc::clone).collect()
    }

    /// Follows the clock until it is told to stop, or the sender is gone.
    pub(super) fn follow_clock(&self, stop: &Receiver<()>) {
        let mut looks: u32 = 0;
        let mut is_stopped = false;
        while !is_stopped && stop.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            looks = looks.wrapping_add(1);
            for watch in self.all() {
                self.move_on(&watch, looks.is_multiple_of(LOOKS_FOR_IDLE), || {
                    is_stopped = stop.try_recv() != Err(TryRecvError::Empty);
                    is_stopped
                });
            }
        }
    }

    /// Moves the instant of a population on to the present, unless it is to stop before.
    fn move_on(
        &self,
        watch: &PopulationWatch,
        look_for_idle: bool,
        mut is_to_stop: impl FnMut() -> bool,
    ) {
        let (population, ring) = (&*watch.population, &watch.ring);
        let now = self.now();
        loop {
            let mut state = watch.state();
            if look_for_idle {
                state.forget_idle(population, ring, now);
            }
            if !state.is_watching() {
                return;
            }
            state.follow_back(population, ring, now);
            let has_more = state.advance(population, ring, now);
            let scan = state.scan(now);
            drop(state);
            watch.wake();
            if is_to_stop() {
                return;
            }
            let Some(scan) = scan else {
                if has_more {
                    continue;
                }
                return;
            };
            // Others may write meanwhile: what they bring they tell themselves.
            let found = scan.run(population);
            watch.state().scanned(&scan, found, ring);
        }
    }
}
