//! Whom the clock moves, and when.
//!
//! Invariant: whether a user is in a segment changes by the clock only at an instant at which an edge
//! passes one of the user's events or values; each such instant is told, by whoever scans the index
//! ahead or by the write that brings the event or value.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::{Cause, MembershipChange, Place, Seen, User, WatchedSegments};
use crate::bits::Block;
use crate::index::{PropertyIndex, day_start};
use crate::model::{Edge, Event, EventName, Expression, PropertyName, Timestamp};
use crate::population::{Catalog, Population, ShardReader};
use crate::query::check::holds;
use crate::query::prepared::Prepared;

/// A user is to be looked at when an edge passes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    place: Place,
    /// The position of the source.
    source: u32,
}

/// Stands for all sources.
const ALL_SOURCES: u32 = u32::MAX;

impl Due {
    /// A user is to be looked at for whatever edge passes something then.
    #[must_use]
    pub fn of_all(at: Timestamp, place: Place) -> Self {
        Self {
            at,
            place,
            source: ALL_SOURCES,
        }
    }

    /// Whom.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

/// What the clock moves: edges, what they pass, and the predicates that have them.
#[derive(Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
    of_event: HashMap<EventName, Vec<u32>>,
    of_property: HashMap<PropertyName, Vec<u32>>,
}

#[derive(Debug)]
struct Source {
    passed: Passed,
    edge: Edge,
    predicates: Vec<u32>,
}

/// What an edge passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Passed {
    Events(EventName),
    Values(PropertyName),
}

/// There are more users to look at than can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock moves too many users at once")]
pub struct TooMany;

/// What a command brings that edges may pass soon.
#[derive(Debug)]
pub(super) struct Moved {
    /// What comes after the first instant, up to the second, is told.
    within: (Timestamp, Timestamp),
    /// For the position of a user, when a source has the user looked at.
    events: Vec<(u32, Timestamp, u32)>,
    /// The sources of properties that are changed.
    values: Vec<u32>,
}

impl Moved {
    pub(super) fn within(as_of: Timestamp, horizon: Timestamp) -> Self {
        Self {
            within: (as_of, horizon),
            events: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Brings what was noted into the order of users.
    pub(super) fn sort(&mut self) {
        self.events.sort_unstable_by_key(|(user, _, _)| *user);
    }

    fn is_within(&self, at: Timestamp) -> bool {
        self.within.0 < at && at <= self.within.1
    }

    /// When the users are to be looked at who are found in one shard: their positions and places.
    pub(super) fn of_users(
        &self,
        sources: &Sources,
        catalog: &Catalog,
        reader: &ShardReader<'_>,
        found: &[(usize, u16)],
        due: &mut Vec<Due>,
    ) {
        for &(position, user) in found {
            let place = Place::new(reader.number(), user);
            // They are in the order of users.
            let first = self
                .events
                .partition_point(|(of, _, _)| (*of as usize) < position);
            let own = self.events.get(first..).unwrap_or_default().iter();
            let own = own.take_while(|(of, _, _)| *of as usize == position);
            due.extend(own.map(|&(_, at, source)| Due { at, place, source }));
        }
        for &position in &self.values {
            let source = &sources.all[position as usize];
            let Passed::Values(property) = &source.passed else {
                continue;
            };
            let number = catalog.get(property).map(|property| property.number());
            let index = number.and_then(|number| reader.shard().index(number));
            let Some(PropertyIndex::Numbers(index)) = index else {
                continue;
            };
            for &(_, user) in found {
                let value = index.get(user).map(Timestamp::from_micros);
                let at = value.and_then(|value| source.edge.passes(value.ok()?));
                let at = at.filter(|at| self.is_within(*at));
                due.extend(at.map(|at| Due {
                    at,
                    place: Place::new(reader.number(), user),
                    source: position,
                }));
            }
        }
    }
}

impl Sources {
    /// What the clock moves of some predicates.
    pub(super) fn of(predicates: &[Prepared]) -> Self {
        let mut sources = Self::default();
        let mut known: HashMap<(Passed, Edge), u32> = HashMap::new();
        for (number, predicate) in (0..).zip(predicates) {
            let (passed, edges) = match &**predicate.expression() {
                Expression::Event(predicate) => {
                    (Passed::Events(predicate.event.clone()), predicate.edges())
                }
                Expression::Predicate(predicate) => (
                    Passed::Values(predicate.property.clone()),
                    predicate.edges(),
                ),
                Expression::Everyone
                | Expression::Not(_)
                | Expression::And(_)
                | Expression::Or(_)
                | Expression::AtLeast { .. }
                | Expression::Segment(_)
                | Expression::Bucket(_) => continue,
            };
            for edge in edges {
                let key = (passed.clone(), edge);
                let next = u32::try_from(sources.all.len()).unwrap_or(u32::MAX);
                let position = *known.entry(key.clone()).or_insert(next);
                if position == next {
                    sources.add(key, position);
                }
                let predicates = &mut sources.all[position as usize].predicates;
                // One predicate can have the same edge twice.
                if predicates.last() != Some(&number) {
                    predicates.push(number);
                }
            }
        }
        sources
    }

    fn add(&mut self, (passed, edge): (Passed, Edge), position: u32) {
        let of_name = match &passed {
            Passed::Events(name) => self.of_event.entry(name.clone()).or_default(),
            Passed::Values(name) => self.of_property.entry(name.clone()).or_default(),
        };
        of_name.push(position);
        self.all.push(Source {
            passed,
            edge,
            predicates: Vec::new(),
        });
    }

    /// The predicates that users are to be looked at for.
    fn predicates_of(&self, due: &[Due]) -> SmallVec<[u32; 16]> {
        if due.iter().any(|due| due.source == ALL_SOURCES) {
            let sources = self.all.iter();
            return sources
                .flat_map(|source| source.predicates.iter().copied())
                .collect();
        }
        let sources = due
            .iter()
            .filter_map(|due| self.all.get(due.source as usize));
        sources
            .flat_map(|source| source.predicates.iter().copied())
            .collect()
    }

    /// Whether the clock moves nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn note_event(&self, position: u32, event: &Event, moved: &mut Moved) {
        for &source in self.of_event.get(&event.name).into_iter().flatten() {
            let at = self.all[source as usize].edge.passes(event.happened());
            let at = at.filter(|at| moved.is_within(*at));
            moved.events.extend(at.map(|at| (position, at, source)));
        }
    }

    pub(super) fn note_change(&self, property: &PropertyName, moved: &mut Moved) {
        for source in self.of_property.get(property).into_iter().flatten() {
            if !moved.values.contains(source) {
                moved.values.push(*source);
            }
        }
    }

    /// Whom the clock moves after one instant, up to another one, as far as is known by now.
    ///
    /// # Errors
    /// [`TooMany`] if they are more than `limit`.
    pub fn scan(
        &self,
        population: &Population,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, TooMany> {
        let mut due = Vec::new();
        let catalog = population.catalog();
        let mut selected = Block::new();
        for shard in 0..population.shard_count() {
            let begin = due.len();
            population.with_shard(shard, |reader| {
                for (position, source) in (0..).zip(&self.all) {
                    let edges = (source.edge.at(from), source.edge.at(to));
                    source.scan(&catalog, reader, edges, &mut selected, |user, passed| {
                        let at = source.edge.passes(passed);
                        let place = Place::new(shard, user);
                        due.extend(at.map(|at| Due {
                            at,
                            place,
                            source: position,
                        }));
                    });
                }
            });
            // Where a day ends, all of a user's events of a day can be passed at once.
            due[begin..].sort_unstable();
            due.dedup();
            if due.len() > limit {
                return Err(TooMany);
            }
        }
        Ok(due)
    }
}

impl Source {
    /// What an edge passes of a shard as it moves from one instant to another.
    fn scan(
        &self,
        catalog: &Catalog,
        reader: &ShardReader<'_>,
        (from, to): (Timestamp, Timestamp),
        selected: &mut Block,
        mut visit: impl FnMut(u16, Timestamp),
    ) {
        if from >= to {
            return;
        }
        let mut visit = |user, micros| {
            if let Ok(instant) = Timestamp::from_micros(micros) {
                visit(user, instant);
            }
        };
        match &self.passed {
            Passed::Events(name) => {
                let event = catalog.event(name).map(|event| event.number());
                if let Some(index) = event.and_then(|number| reader.shard().events(number)) {
                    index.times_between(from.micros(), to.micros(), visit);
                }
            }
            Passed::Values(name) => {
                let number = catalog.get(name).map(|property| property.number());
                let index = number.and_then(|number| reader.shard().index(number));
                if let Some(PropertyIndex::Numbers(index)) = index {
                    index.fill_between(from.micros(), to.micros() - 1, selected);
                    for user in selected.ones() {
                        if let Some(value) = index.get(user) {
                            visit(user, value);
                        }
                    }
                }
            }
        }
    }
}

/// When a window that reaches back to events that are not kept any more may not do so any longer.
pub(super) fn known_from(
    population: &Population,
    predicate: &Prepared,
    as_of: Timestamp,
) -> Option<Timestamp> {
    let Expression::Event(predicate) = &**predicate.expression() else {
        return None;
    };
    let number = population.catalog().event(&predicate.event)?.number();
    let kept_from = population.kept(|kept| kept.of_events(number)).kept_from?;
    let first = day_start(kept_from);
    let instants = [first - 1, first].map(Timestamp::from_micros);
    let edges = predicate.edges();
    let passes = edges.iter().flat_map(|edge| {
        instants
            .iter()
            .flatten()
            .map(|instant| edge.passes(*instant))
    });
    passes.flatten().filter(|at| *at > as_of).min()
}

impl WatchedSegments {
    /// Looks at users just before an instant and at it: those whom it was told would be moved then,
    /// in their order.
    ///
    /// # Errors
    /// [`TooMany`] if they make more than about `most` changes.
    pub fn pass(
        &mut self,
        population: &Population,
        at: Timestamp,
        due: &[Due],
        most: usize,
    ) -> Result<Vec<MembershipChange>, TooMany> {
        let mut changes = Vec::new();
        let Ok(before) = Timestamp::from_micros(at.micros() - 1) else {
            return Ok(changes);
        };
        self.sight.look(at);
        self.earlier.look(before);
        for of_shard in due.chunk_by(|a, b| a.place.shard() == b.place.shard()) {
            population.with_shard(of_shard[0].place.shard(), |reader| {
                for of_user in of_shard.chunk_by(|a, b| a.place == b.place) {
                    if changes.len() > most {
                        break;
                    }
                    let user = of_user[0].place.user();
                    // The user can have been erased meanwhile.
                    if reader.shard().live().contains(user) {
                        self.pass_user(population, reader, user, of_user, &mut changes);
                    }
                }
            });
        }
        if changes.len() > most {
            return Err(TooMany);
        }
        Ok(changes)
    }

    fn pass_user(
        &mut self,
        population: &Population,
        reader: &ShardReader<'_>,
        place: u16,
        due: &[Due],
        changes: &mut Vec<MembershipChange>,
    ) {
        let mut touched = self.sources.predicates_of(due);
        touched.sort_unstable();
        touched.dedup();
        let words = touched.len().div_ceil(64);
        let (mut then, mut now): (SmallVec<[u64; 4]>, SmallVec<[u64; 4]>) =
            (smallvec::smallvec![0; words], smallvec::smallvec![0; words]);
        let mut bounds = Vec::with_capacity(touched.len());
        let mut candidates = Vec::new();
        for (bit, number) in touched.iter().enumerate() {
            let predicates = &self.definitions.predicates;
            let earlier = self.earlier.bound(population, predicates, *number);
            let was = earlier.is_some_and(|bound| holds(&bound.root, reader, place));
            let bound = self.sight.bound(population, predicates, *number);
            let is = bound.is_some_and(|bound| holds(&bound.root, reader, place));
            bounds.push(bound.cloned());
            then[bit / 64] |= u64::from(was) << (bit % 64);
            now[bit / 64] |= u64::from(is) << (bit % 64);
            if was != is {
                let segments = self.dependents[*number as usize].iter();
                candidates.extend(segments.map(|segment| (*segment, Cause::Time)));
            }
        }
        let user = User {
            reader,
            place,
            existed: true,
        };
        let seen = Seen {
            touched: &touched,
            bounds: &bounds,
            then: &then,
            now: &now,
        };
        self.compare(population, &user, &seen, &mut candidates, changes);
    }
}
