//! The segments of one population that are watched, and the instant as of which they are.
//!
//! Invariants: whoever holds the state is the only one who writes to the population or moves the
//! instant; what happens is told with the revision and the instant at which it does, and both only
//! grow, unless the clock is set back by a lot. Of users whom the clock moves at one instant, those who
//! are written to are moved first.

mod clock;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::{Arc, Weak};

use super::Bounds;
use super::ring::{Entry, Happened, Mark, ResyncCause, Ring};
use crate::model::{Action, EventName, Mentioned, Revision, SegmentName, Timestamp, UserId};
use crate::population::{Catalog, Judged, Population};
use crate::query::{DefinedBefore, Difference, Due, MembershipChange, Place, WatchedSegments};

/// Users whom the clock moves at one instant who are waited for where segments are defined anew.
const MOST_WAITED_FOR: usize = 65_536;
/// Segments whose users are compared when one that they are made of is defined anew: at most so many,
/// and at least so few, and in between as many as make so many shards.
const MOST_COMPARED: usize = 64;
const LEAST_COMPARED: usize = 4;
const SHARDS_COMPARED: usize = 1_024;
/// How long nobody may watch a segment before it is not watched any more, in microseconds: so long
/// a cursor is good for.
const IDLE: i64 = 600_000_000;

/// Who watches something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interest {
    /// The number of the first change that is told.
    since: u64,
    watchers: usize,
    /// When the last one went.
    idle_since: Option<Timestamp>,
}

/// The state of one population.
#[derive(Debug)]
pub(super) struct State {
    mark: Mark,
    bounds: Bounds,
    segments: WatchedSegments,
    names: Vec<Arc<SegmentName>>,
    positions: HashMap<SegmentName, u32>,
    /// Of whom it can't be told who is in it.
    unknown: BTreeSet<u32>,
    /// When that may be told of some of them, by the clock alone.
    known_from: Option<Timestamp>,
    watched: BTreeMap<SegmentName, Interest>,
    /// Who watches all segments.
    all: Option<Interest>,
    /// Whom the clock moves, and when.
    due: BinaryHeap<Reverse<Due>>,
    /// Those who are not moved yet at the instant of the mark.
    passing: BTreeMap<Place, Vec<Due>>,
    /// Up to when all of them are known who are moved by what was written before; and up to when
    /// writes tell whom they move.
    scanned: Timestamp,
    horizon: Timestamp,
    /// When more users will have been moved than could be held. Until then nothing is settled.
    lost: BTreeSet<Timestamp>,
    catalog: Weak<Catalog>,
    /// How often it changed what is watched.
    generation: u64,
    /// The first day of events that are kept, by name.
    kept_from: BTreeMap<EventName, Option<i32>>,
}

impl State {
    pub(super) fn new(population: &Population, mark: Mark, bounds: Bounds) -> Self {
        let catalog = population.catalog();
        let nothing = std::iter::empty();
        Self {
            mark,
            bounds,
            segments: WatchedSegments::new(population, &catalog, nothing, mark.time),
            names: Vec::new(),
            positions: HashMap::new(),
            unknown: BTreeSet::new(),
            known_from: None,
            watched: BTreeMap::new(),
            all: None,
            due: BinaryHeap::new(),
            passing: BTreeMap::new(),
            scanned: mark.time,
            horizon: mark.time,
            lost: BTreeSet::new(),
            catalog: Arc::downgrade(&catalog),
            generation: 0,
            kept_from: BTreeMap::new(),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Whether everybody is where the mark says.
    pub(super) fn is_settled(&self) -> bool {
        self.passing.is_empty() && self.lost.is_empty()
    }

    /// Whether the clock moves users at the moment, so that some are behind the mark.
    pub(super) fn is_passing(&self) -> bool {
        !self.passing.is_empty()
    }

    /// Whether anything is watched.
    pub(super) fn is_watching(&self) -> bool {
        self.all.is_some() || !self.watched.is_empty()
    }

    /// Begins to watch some segments, or all; tells since which change all of them are.
    pub(super) fn watch(
        &mut self,
        population: &Population,
        ring: &Ring,
        now: Timestamp,
        names: Option<&[SegmentName]>,
    ) -> u64 {
        if !self.is_watching() {
            // Nothing was told while nobody watched.
            self.mark.time = self.mark.time.max(now);
            ring.add(None, self.mark, self.is_settled());
        }
        let is_new = match names {
            None => self.all.is_none(),
            Some(names) => names.iter().any(|name| !self.watched.contains_key(name)),
        };
        if is_new {
            let began = Entry {
                mark: self.mark,
                happened: Happened::Began,
            };
            ring.add([began], self.mark, self.is_settled());
        }
        let interest = Interest {
            since: ring.end(),
            watchers: 0,
            idle_since: None,
        };
        let mut is_known = true;
        let mut since = 0;
        let mut join = |known: &mut Interest| {
            known.watchers += 1;
            known.idle_since = None;
            since = since.max(known.since);
        };
        match names {
            None => {
                is_known = self.all.is_some();
                join(self.all.get_or_insert(interest));
            }
            Some(names) => {
                for name in names {
                    is_known &= self.watched.contains_key(name) || self.all.is_some();
                    let own = Interest {
                        since: self.all.map_or(interest.since, |all| all.since),
                        ..interest
                    };
                    join(self.watched.entry(name.clone()).or_insert(own));
                }
            }
        }
        if !is_known {
            self.rebuild(population, ring);
        }
        since
    }

    /// A watcher goes.
    pub(super) fn unwatch(&mut self, names: Option<&[SegmentName]>, now: Timestamp) {
        let leave = |interest: &mut Interest| {
            interest.watchers = interest.watchers.saturating_sub(1);
            if interest.watchers == 0 {
                interest.idle_since = Some(now);
            }
        };
        match names {
            None => self.all.iter_mut().for_each(leave),
            Some(names) => {
                for name in names {
                    self.watched.get_mut(name).into_iter().for_each(leave);
                }
            }
        }
    }

    /// Forgets what nobody has watched for long.
    pub(super) fn forget_idle(&mut self, population: &Population, ring: &Ring, now: Timestamp) {
        if !self.passing.is_empty() {
            return;
        }
        let is_idle = |interest: &Interest| {
            let idle_since = interest.idle_since;
            idle_since.is_some_and(|since| now.micros() - since.micros() > IDLE)
        };
        let before = (self.all.is_some(), self.watched.len());
        self.all = self.all.filter(|all| !is_idle(all));
        self.watched.retain(|_, interest| !is_idle(interest));
        if before != (self.all.is_some(), self.watched.len()) {
            self.rebuild(population, ring);
            if !self.is_watching() {
                // No cursor is good any more; ids of users who were erased are among them.
                ring.clear();
            }
        }
    }

    /// Makes anew what is known of the segments that are watched.
    fn rebuild(&mut self, population: &Population, ring: &Ring) {
        let catalog = population.catalog();
        let as_of = self.mark.time;
        let known_before = self.names_by(|unknown| !unknown);
        let unknown_before = self.names_by(|unknown| unknown);
        self.segments = match self.all {
            Some(_) => {
                let names = catalog.segments().map(|segment| segment.name());
                WatchedSegments::new(population, &catalog, names, as_of)
            }
            None => WatchedSegments::new(population, &catalog, self.watched.keys(), as_of),
        };
        self.names = self.segments.names().cloned().map(Arc::new).collect();
        let names = self.names.iter().map(|name| (**name).clone());
        self.positions = names.zip(0..).collect();
        self.catalog = Arc::downgrade(&catalog);
        self.generation += 1;
        self.due.clear();
        // What moves users at this instant has other numbers now: all of it is looked at.
        for (place, due) in &mut self.passing {
            *due = due
                .first()
                .map(|due| Due::of_all(due.at, *place))
                .into_iter()
                .collect();
        }
        if !self.lost.is_empty() {
            // Some of those who were lost have been moved already.
            self.lost.clear();
            self.lose_all(ResyncCause::TooManyChanges, ring);
        }
        self.scanned = as_of;
        self.horizon = as_of;
        self.look_for_unknown(population);
        let (unknown, known): (Vec<u32>, Vec<u32>) = (0..)
            .take(self.names.len())
            .partition(|segment| self.unknown.contains(segment));
        let were = |segments: Vec<u32>, before: &BTreeSet<Arc<SegmentName>>| {
            let segments = segments.into_iter();
            let were = segments.filter(|segment| before.contains(&self.names[*segment as usize]));
            were.collect::<Vec<_>>()
        };
        let unknown = were(unknown, &known_before);
        self.lose(&unknown, ResyncCause::Unknown, ring);
        let known = were(known, &unknown_before);
        self.lose(&known, ResyncCause::EventsDropped, ring);
        self.kept_from = self.events_kept_from(population);
        // The first stretch at once, so that the instant can be moved on.
        if let Some(scan) = self.scan(as_of) {
            let due = scan.run(population);
            self.scanned(&scan, due, ring);
        }
    }

    /// The segments that are known, or unknown.
    fn names_by(&self, is: impl Fn(bool) -> bool) -> BTreeSet<Arc<SegmentName>> {
        let names = (0..).zip(&self.names);
        let names = names.filter(|(segment, _)| is(self.unknown.contains(segment)));
        names.map(|(_, name)| Arc::clone(name)).collect()
    }

    /// Finds out of which segments it can't be told who is in them; returns those of before.
    fn look_for_unknown(&mut self, population: &Population) -> BTreeSet<u32> {
        let (unknown, known_from) = self.segments.unknown(population, self.mark.time);
        self.known_from = known_from;
        let before = std::mem::replace(&mut self.unknown, unknown.into_iter().collect());
        if before != self.unknown {
            // What is true of a user of whom nothing is known may be told now, or not any more.
            self.segments.look_at_blank(population, self.mark.time);
        }
        before
    }

    fn events_kept_from(&self, population: &Population) -> BTreeMap<EventName, Option<i32>> {
        let catalog = population.catalog();
        let of_event = |name: &EventName| {
            let number = catalog.event(name)?.number();
            population.kept(|kept| kept.of_events(number)).kept_from
        };
        let events = self.segments.events();
        events.map(|name| (name.clone(), of_event(name))).collect()
    }

    fn tell(&self, changes: Vec<MembershipChange>, ring: &Ring) {
        let known = |change: &MembershipChange| !self.unknown.contains(&change.segment);
        let entries = changes.into_iter().filter(known).map(|change| Entry {
            mark: self.mark,
            happened: Happened::Moved {
                segment: Arc::clone(&self.names[change.segment as usize]),
                user: change.user,
                place: change.place,
                enters: change.enters,
                cause: change.cause,
            },
        });
        ring.add(entries, self.mark, self.is_settled());
    }

    fn lose_all(&self, cause: ResyncCause, ring: &Ring) {
        let all: Vec<u32> = (0..).take(self.names.len()).collect();
        self.lose(&all, cause, ring);
    }

    fn lose(&self, segments: &[u32], cause: ResyncCause, ring: &Ring) {
        let entries = segments.iter().map(|segment| Entry {
            mark: self.mark,
            happened: Happened::Lost(Arc::clone(&self.names[*segment as usize]), cause),
        });
        ring.add(entries, self.mark, self.is_settled());
    }

    /// Carries a command out by `apply`, and tells whom that moves.
    pub(super) fn carry_out(
        &mut self,
        population: &Population,
        ring: &Ring,
        (revision, action): (Revision, &Action),
        apply: impl FnOnce() -> Judged,
    ) -> Judged {
        if !self.is_watching() {
            self.mark.revision = revision;
            return apply();
        }
        match action {
            Action::CreateSegment(..)
            | Action::UpdateSegment(..)
            | Action::DeleteSegment(..)
            | Action::CreateList(..) => {
                return self.redefine(population, ring, (revision, action), apply);
            }
            Action::Write(updates) => {
                if !self.passing.is_empty() {
                    let users: Vec<&UserId> = updates.iter().map(|update| &update.user).collect();
                    self.pass_users(population, ring, &users);
                }
            }
            Action::Erase(user) => self.pass_users(population, ring, &[user]),
            Action::AddMembers(_, users) | Action::RemoveMembers(_, users) => {
                let users: Vec<&UserId> = users.iter().collect();
                self.pass_users(population, ring, &users);
            }
            Action::CreateProperty(_)
            | Action::DeleteProperty(_)
            | Action::CreateEvent(_)
            | Action::UpdateEvent(_)
            | Action::DeleteEvent(_) => {}
        }
        let (as_of, horizon) = (self.mark.time, self.horizon);
        let before = self.segments.before(population, action, as_of, horizon);
        let judged = apply();
        self.mark.revision = revision;
        let most = self.bounds.kept;
        let passages = before.map(|before| self.segments.after(population, &before, most));
        let passages = passages.unwrap_or_default();
        if self.due.len() + passages.due.len() <= self.bounds.due {
            self.due.extend(passages.due.into_iter().map(Reverse));
        } else {
            self.lost.insert(self.horizon);
        }
        self.tell(passages.changes, ring);
        if passages.are_too_many {
            self.lose_all(ResyncCause::TooManyChanges, ring);
        }
        if may_drop_events(action) {
            self.look_for_dropped(population, ring);
        }
        if !self.unknown.is_empty() && !population.has_catalog(&self.catalog) {
            // What a segment names may exist now that did not.
            self.rebuild(population, ring);
        }
        judged
    }

    /// Where old events were dropped, more may have changed than can be told.
    fn look_for_dropped(&mut self, population: &Population, ring: &Ring) {
        let kept_from = self.events_kept_from(population);
        if kept_from == self.kept_from {
            return;
        }
        let before = std::mem::replace(&mut self.kept_from, kept_from);
        let mut lost = BTreeSet::new();
        for (name, kept_from) in &self.kept_from {
            if before.get(name) != Some(kept_from) {
                lost.extend(self.segments.asking_for_all(name));
            }
        }
        let unknown_before = self.look_for_unknown(population);
        let unknown: Vec<u32> = self.unknown.difference(&unknown_before).copied().collect();
        self.lose(&unknown, ResyncCause::Unknown, ring);
        lost.extend(&unknown_before);
        let lost: Vec<u32> = lost.difference(&self.unknown).copied().collect();
        self.lose(&lost, ResyncCause::EventsDropped, ring);
    }

    /// Carries out a command that changes definitions.
    fn redefine(
        &mut self,
        population: &Population,
        ring: &Ring,
        (revision, action): (Revision, &Action),
        apply: impl FnOnce() -> Judged,
    ) -> Judged {
        let affected = self.affected(&population.catalog(), action);
        // Those who are not moved yet can't be compared: a few are, for many it is begun anew.
        let can_compare = self.passing.len() <= MOST_WAITED_FOR;
        if can_compare && !affected.is_empty() {
            self.finish_passing(population, ring);
        }
        let as_of = self.mark.time;
        let shards = usize::try_from(population.shard_count()).unwrap_or(usize::MAX);
        let most = (SHARDS_COMPARED / shards.max(1)).clamp(LEAST_COMPARED, MOST_COMPARED);
        let compared = affected.iter().take(if can_compare { most } else { 0 });
        let before: Vec<Option<DefinedBefore>> = compared
            .map(|name| DefinedBefore::of(population, name, as_of))
            .collect();
        let judged = apply();
        self.mark.revision = revision;
        if judged.outcome.is_err() || affected.is_empty() {
            ring.add(None, self.mark, self.is_settled());
            return judged;
        }
        self.rebuild(population, ring);
        let mut left = self.bounds.redefined;
        let mut before = before.into_iter();
        for name in affected {
            let position = self.positions.get(&name).copied();
            let before = before.next().flatten();
            let difference = before.map_or(Difference::Unknown, |before| {
                before.compare(population, as_of, position, left)
            });
            let cause = match difference {
                Difference::Changes(changes) => {
                    left = left.saturating_sub(changes.len());
                    self.tell(changes, ring);
                    continue;
                }
                Difference::Missing => continue,
                Difference::Deleted => ResyncCause::Deleted,
                Difference::Unknown => match position {
                    None => ResyncCause::Deleted,
                    Some(position) if self.unknown.contains(&position) => ResyncCause::Unknown,
                    Some(_) => ResyncCause::TooManyChanges,
                },
            };
            let entry = Entry {
                mark: self.mark,
                happened: Happened::Lost(Arc::new(name), cause),
            };
            ring.add([entry], self.mark, self.is_settled());
        }
        ring.add(None, self.mark, self.is_settled());
        judged
    }

    /// The watched segments that a command may define anew: the one that it names, and those that are
    /// made of it.
    fn affected(&self, catalog: &Catalog, action: &Action) -> Vec<SegmentName> {
        let name = match action {
            Action::CreateSegment(declaration, _) => &declaration.name,
            Action::CreateList(declaration, _) => &declaration.name,
            Action::UpdateSegment(change, _) if change.definition.is_some() => &change.name,
            Action::DeleteSegment(name, _) => name,
            Action::UpdateSegment(..)
            | Action::AddMembers(..)
            | Action::RemoveMembers(..)
            | Action::Write(_)
            | Action::Erase(_)
            | Action::CreateProperty(_)
            | Action::DeleteProperty(_)
            | Action::CreateEvent(_)
            | Action::UpdateEvent(_)
            | Action::DeleteEvent(_) => return Vec::new(),
        };
        let mut affected = BTreeSet::from([name.clone()]);
        // Segments are few levels deep: each round finds those of the next one.
        loop {
            let before = affected.len();
            for segment in catalog.segments() {
                let mut is_made_of = false;
                let Some(definition) = segment.definition().filter() else {
                    continue;
                };
                definition.mentioned(&mut |mentioned| {
                    if let Mentioned::Segment(name) = mentioned {
                        is_made_of |= affected.contains(name);
                    }
                });
                if is_made_of {
                    affected.insert(segment.name().clone());
                }
            }
            if affected.len() == before {
                break;
            }
        }
        let is_watched = |name: &SegmentName| self.all.is_some() || self.watched.contains_key(name);
        affected.into_iter().filter(is_watched).collect()
    }

    /// Everything up to a revision is there.
    pub(super) fn reach(&mut self, revision: Revision, ring: &Ring) {
        self.mark.revision = self.mark.revision.max(revision);
        ring.add(None, self.mark, self.is_settled());
    }

    /// Whether it can be told who is in a segment.
    pub(super) fn is_known(&self, name: &SegmentName) -> bool {
        let position = self.positions.get(name);
        position.is_some_and(|position| !self.unknown.contains(position))
    }

    /// The names of the segments that are watched and exist.
    pub(super) fn names(&self) -> &[Arc<SegmentName>] {
        &self.names
    }
}

/// Whether a command can lead to old events being dropped.
fn may_drop_events(action: &Action) -> bool {
    match action {
        Action::Write(updates) => updates.iter().any(|update| !update.events.is_empty()),
        Action::CreateEvent(_) | Action::UpdateEvent(_) | Action::DeleteEvent(_) => true,
        Action::Erase(_)
        | Action::CreateProperty(_)
        | Action::DeleteProperty(_)
        | Action::CreateSegment(..)
        | Action::UpdateSegment(..)
        | Action::DeleteSegment(..)
        | Action::CreateList(..)
        | Action::AddMembers(..)
        | Action::RemoveMembers(..) => false,
    }
}
