//! One who watches.
//!
//! Invariant: every change of the segments that are watched is returned once, in order, and none
//! before the members that it changes: of a shard whose members have not been returned yet, changes
//! are in the members.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::PopulationWatch;
use super::ring::{Entry, Happened, Mark, ResyncCause};
use crate::model::{LimitExceeded, SegmentName, Timestamp, UserId, limit};
use crate::query::{Cause, MembersSlice, Place, members_from};

/// Changes that are returned at once: less than 200 KiB where all names and ids are as long as can be.
const CHANGES_AT_ONCE: usize = 256;

/// Members that are returned at once: 256 KiB where all ids are as long as can be.
const MEMBERS_AT_ONCE: usize = 1_024;

/// A place in the changes of one population, in one run of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The run.
    pub run: u64,
    /// The number of the next change.
    pub next: u64,
}

/// A user entered or left a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedChange {
    /// The segment.
    pub segment: Arc<SegmentName>,
    /// The user.
    pub user: Arc<UserId>,
    /// Whether the user entered.
    pub enters: bool,
    /// Why.
    pub cause: Cause,
    /// By which revision and at which instant.
    pub mark: Mark,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Changes, the earliest first.
    Changes(Vec<WatchedChange>),
    /// Members of a segment that were in it before anything else is told of them.
    Members {
        /// The segment.
        segment: Arc<SegmentName>,
        /// Some of them.
        users: Vec<UserId>,
        /// When they were.
        mark: Mark,
    },
    /// The members of segments have to be read anew: all that was told of them does not hold any
    /// more. Where members were asked for, they follow.
    Resync {
        /// The segments.
        segments: Vec<Arc<SegmentName>>,
        /// Why.
        cause: ResyncCause,
    },
}

/// What there is to read.
#[derive(Debug)]
pub enum Next {
    /// This.
    Part(Part),
    /// Members have to be looked up, by [`Watcher::look_up`].
    LookUp,
    /// Nothing: all is told up to this mark. `None` while it can't be said up to where.
    Wait(Option<Mark>),
}

/// Takes part in the number of all who watch.
pub(super) struct Seat(Arc<AtomicUsize>);

impl Seat {
    pub(super) fn take(taken: &Arc<AtomicUsize>) -> Result<Self, LimitExceeded> {
        let seat = Self(Arc::clone(taken));
        let before = taken.fetch_add(1, Ordering::Relaxed);
        limit::WATCHERS.check(before as u64 + 1)?;
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// From when on changes of a segment are told.
enum Told {
    /// Not before its members are looked up.
    Never,
    /// Of users before each place, and behind the one before it, from a change of this number on.
    Slices(Vec<(Place, u64)>),
}

impl Told {
    fn tells(&self, place: Place, number: u64) -> bool {
        match self {
            Self::Never => false,
            Self::Slices(slices) => {
                let slice = slices.partition_point(|(end, _)| *end <= place);
                let start = slices.get(slice).map(|(_, start)| *start);
                start.is_some_and(|start| number >= start)
            }
        }
    }
}

/// What is returned first of all.
enum First {
    /// Nothing but what comes.
    Nothing,
    /// A mark, once there is one.
    AMark,
    /// This mark.
    This(Mark),
}

/// Watches segments of one population.
pub struct Watcher {
    watch: Arc<PopulationWatch>,
    /// `None` for all.
    names: Option<Vec<SegmentName>>,
    sorted: BTreeSet<SegmentName>,
    members: bool,
    /// The number of the next change to read.
    next: u64,
    /// The segments of which not everything is told.
    told: HashMap<SegmentName, Told>,
    /// Whose members are to be looked up; those of the first have been begun.
    pending: VecDeque<Arc<SegmentName>>,
    /// Parts that are ready, and the number of the change after each.
    ready: VecDeque<(Part, u64)>,
    /// The number of the change after those that were returned.
    reached: u64,
    first: First,
    more: watch::Receiver<u64>,
    _seat: Seat,
}

impl Watcher {
    pub(super) fn begin(
        seat: Seat,
        watch: Arc<PopulationWatch>,
        now: Timestamp,
        names: Option<Vec<SegmentName>>,
        members: bool,
        cursor: Option<Cursor>,
    ) -> Self {
        let mut state = watch.state();
        let since = state.watch(&watch.population, &watch.ring, now, names.as_deref());
        let next = watch.ring.end();
        let mark = state.is_settled().then_some(state.mark());
        drop(state);
        let mut watcher = Self {
            more: watch.more.subscribe(),
            sorted: names.iter().flatten().cloned().collect(),
            names,
            members,
            next,
            told: HashMap::new(),
            pending: VecDeque::new(),
            ready: VecDeque::new(),
            reached: next,
            first: First::Nothing,
            _seat: seat,
            watch,
        };
        match cursor {
            None => {
                watcher.tell_unknown();
                if members {
                    watcher.begin_members();
                } else {
                    watcher.first = mark.map_or(First::AMark, First::This);
                }
            }
            Some(cursor) => {
                let is_good = cursor.run == watcher.watch.run
                    && cursor.next >= since
                    && watcher.watch.ring.reaches(cursor.next);
                if is_good {
                    watcher.next = cursor.next;
                    watcher.reached = cursor.next;
                } else {
                    watcher.resync_all(ResyncCause::CursorExpired);
                }
            }
        }
        watcher
    }

    fn segments(&self) -> Vec<Arc<SegmentName>> {
        let state = self.watch.state();
        let names = state.names().iter();
        names
            .filter(|name| self.is_watched(name))
            .cloned()
            .collect()
    }

    fn is_watched(&self, name: &SegmentName) -> bool {
        self.names.is_none() || self.sorted.contains(name)
    }

    fn begin_members(&mut self) {
        self.told.clear();
        self.pending = self.segments().into();
        for name in &self.pending {
            self.told.insert((**name).clone(), Told::Never);
        }
    }

    /// Tells of which segments it can't be told who is in them.
    fn tell_unknown(&mut self) {
        let state = self.watch.state();
        let names = state.names().iter();
        let unknown = names.filter(|name| self.is_watched(name) && !state.is_known(name));
        let segments: Vec<_> = unknown.cloned().collect();
        drop(state);
        if !segments.is_empty() {
            let cause = ResyncCause::Unknown;
            self.be_ready(Part::Resync { segments, cause }, self.next);
        }
    }

    fn resync_all(&mut self, cause: ResyncCause) {
        self.told.clear();
        self.pending.clear();
        self.next = self.watch.ring.end();
        self.ready.clear();
        let segments = self.segments();
        self.be_ready(Part::Resync { segments, cause }, self.next);
        self.tell_deleted();
        self.tell_unknown();
        if self.members {
            self.begin_members();
        }
    }

    /// Tells which of the segments that were asked for do not exist.
    fn tell_deleted(&mut self) {
        let existing: BTreeSet<_> = self.segments().into_iter().collect();
        let names = self.names.iter().flatten().cloned().map(Arc::new);
        let segments: Vec<_> = names.filter(|name| !existing.contains(name)).collect();
        if !segments.is_empty() {
            let cause = ResyncCause::Deleted;
            self.be_ready(Part::Resync { segments, cause }, self.next);
        }
    }

    fn be_ready(&mut self, part: Part, next: u64) {
        self.ready.push_back((part, next));
    }

    fn resync(&mut self, segment: &Arc<SegmentName>, cause: ResyncCause, next: u64) {
        let segments = vec![Arc::clone(segment)];
        self.be_ready(Part::Resync { segments, cause }, next);
        // Of a segment that is gone nothing more comes, or all of it should it come back; of one of
        // which it can't be told who is in it, this comes again once it can.
        self.pending.retain(|pending| pending != segment);
        self.told.remove(&**segment);
        if self.members && cause.can_be_read() {
            self.told.insert((**segment).clone(), Told::Never);
            self.pending.push_back(Arc::clone(segment));
        }
    }

    /// What comes next.
    pub fn read(&mut self) -> Next {
        loop {
            match self.first {
                First::Nothing => {}
                First::This(mark) => {
                    self.first = First::Nothing;
                    return Next::Wait(Some(mark));
                }
                First::AMark => {
                    let Some(mark) = self.watch.settled_mark() else {
                        return Next::Wait(None);
                    };
                    (self.next, self.reached) = (mark.1, mark.1);
                    self.first = First::This(mark.0);
                    continue;
                }
            }
            if let Some((part, next)) = self.ready.pop_front() {
                self.reached = next;
                return Next::Part(part);
            }
            let Some(read) = self.watch.ring.read(self.next, CHANGES_AT_ONCE) else {
                self.resync_all(ResyncCause::TooSlow);
                continue;
            };
            let is_end = read.entries.is_empty();
            let first = std::mem::replace(&mut self.next, read.next);
            let mut changes = Vec::new();
            for (number, entry) in (first..).zip(read.entries) {
                self.take(number, entry, &mut changes);
            }
            self.flush(&mut changes, self.next);
            if !self.ready.is_empty() || !is_end {
                continue;
            }
            self.reached = self.next;
            if !self.pending.is_empty() {
                // Members are those as of a mark.
                return if self.watch.state().is_passing() {
                    Next::Wait(None)
                } else {
                    Next::LookUp
                };
            }
            self.forget_told();
            return Next::Wait(read.mark.filter(|_| self.told.is_empty()));
        }
    }

    fn take(&mut self, number: u64, entry: Entry, changes: &mut Vec<WatchedChange>) {
        match entry.happened {
            Happened::Began => {}
            Happened::Moved {
                segment,
                user,
                place,
                enters,
                cause,
            } => {
                let told = self.told.get(&*segment);
                if self.is_watched(&segment) && told.is_none_or(|told| told.tells(place, number)) {
                    changes.push(WatchedChange {
                        segment,
                        user,
                        enters,
                        cause,
                        mark: entry.mark,
                    });
                }
            }
            Happened::Lost(segment, cause) => {
                let is_told = match self.told.get(&*segment) {
                    None => true,
                    // Its members are looked up later, if they can be.
                    Some(Told::Never) => !cause.can_be_read(),
                    Some(told) => told.tells(Place::FIRST, number),
                };
                if self.is_watched(&segment) && is_told {
                    self.flush(changes, number);
                    self.resync(&segment, cause, number + 1);
                }
            }
        }
    }

    fn flush(&mut self, changes: &mut Vec<WatchedChange>, next: u64) {
        if !changes.is_empty() {
            self.be_ready(Part::Changes(std::mem::take(changes)), next);
        }
    }

    /// Forgets from when on changes are told once all before are read.
    fn forget_told(&mut self) {
        let next = self.next;
        self.told.retain(|_, told| match told {
            Told::Never => true,
            Told::Slices(slices) => slices.iter().any(|(_, start)| next < *start),
        });
    }

    /// Looks up some members of a segment. May take milliseconds.
    pub fn look_up(&mut self) {
        let Some(segment) = self.pending.front().map(Arc::clone) else {
            return;
        };
        let watch = Arc::clone(&self.watch);
        let state = watch.state();
        if state.is_passing() {
            return;
        }
        let mark = state.mark();
        let start = watch.ring.end();
        let told = self.told.entry((*segment).clone()).or_insert(Told::Never);
        let from = match told {
            Told::Never => Place::FIRST,
            Told::Slices(slices) => slices.last().map_or(Place::FIRST, |(end, _)| *end),
        };
        let is_known = state.is_known(&segment);
        let found = if is_known {
            let (population, most) = (&watch.population, MEMBERS_AT_ONCE);
            members_from(population, &segment, from, most, mark.time)
        } else {
            None
        };
        drop(state);
        let Some(MembersSlice {
            users,
            next,
            is_last,
        }) = found
        else {
            self.told.remove(&*segment);
            self.pending.pop_front();
            if is_known {
                let cause = ResyncCause::Unknown;
                self.resync(&segment, cause, self.next);
            }
            // Otherwise that has been told, or will be.
            return;
        };
        let end = if is_last { Place::LAST } else { next };
        match told {
            Told::Never => *told = Told::Slices(vec![(end, start)]),
            Told::Slices(slices) => slices.push((end, start)),
        }
        if is_last {
            self.pending.pop_front();
        }
        if !users.is_empty() {
            let members = Part::Members {
                segment,
                users,
                mark,
            };
            self.be_ready(members, self.next);
        }
    }

    /// Where to go on after what was returned last, if all members were.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let is_complete = self.told.is_empty() && self.pending.is_empty();
        is_complete.then_some(Cursor {
            run: self.watch.run,
            next: self.reached,
        })
    }

    /// Waits until there may be more to read.
    pub async fn more(&mut self) {
        // The sender lives as long as this.
        let _ = self.more.changed().await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        let now = state.mark().time;
        state.unwatch(self.names.as_deref(), now);
    }
}
