//! Who enters and leaves some segments, worked out from what changes.
//!
//! Who is in a segment is not remembered. The users whom a command names are looked at before it is
//! carried out and after; those whom the clock moves are looked at just before an instant and at it.
//! Only predicates that mention what changes are worked out, and only segments in whose definitions
//! one of them is that turned out otherwise.
//!
//! Invariant: what is told is exactly the difference between asking the segments before and after,
//! as of the same instant. Whoever asks makes sure that nothing else is written in between.

mod clock;
mod difference;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use clock::{Due, Sources, TooMany};
pub use difference::{DefinedBefore, Difference, MembersSlice, members_from};

use super::bind::{Bound, Node};
use super::check::holds;
use super::definitions::{Definitions, Memo};
use super::prepared::Prepared;
use crate::index::SHARD_USERS;
use crate::model::{
    Action, EventName, Expression, PropertyName, SegmentName, Timestamp, UserId, UserUpdate, Window,
};
use crate::population::{Catalog, Population, ShardReader};
use clock::Moved;

/// Why a user enters or leaves a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A property was changed, or the user is new.
    Update,
    /// The user did something.
    Event,
    /// Time went by.
    Time,
    /// The user was erased.
    Erasure,
    /// The segment, or one that it is made of, was defined anew.
    Definition,
}

/// A user enters or leaves a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    /// The position of the segment among those that are watched.
    pub segment: u32,
    /// The user.
    pub user: Arc<UserId>,
    /// Where the user is.
    pub place: Place,
    /// Whether the user enters.
    pub enters: bool,
    /// Why.
    pub cause: Cause,
}

/// Where a user is, until the user is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u32);

impl Place {
    /// No user is before this.
    pub const FIRST: Self = Self(0);
    /// All users are before this.
    pub const LAST: Self = Self(u32::MAX);

    fn new(shard: u32, user: u16) -> Self {
        Self(shard * SHARD_USERS + u32::from(user))
    }

    /// Where those of some users are who exist.
    #[must_use]
    pub fn of_users(population: &Population, users: &[&UserId]) -> Vec<Self> {
        let mut places = Vec::new();
        population.with_users(users, |reader, found| {
            let of_shard = found
                .iter()
                .map(|(_, user)| Self::new(reader.number(), *user));
            places.extend(of_shard);
        });
        places
    }

    fn shard(self) -> u32 {
        self.0 / SHARD_USERS
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the rest of a division by 2^16"
    )]
    fn user(self) -> u16 {
        (self.0 % SHARD_USERS) as u16
    }
}

/// Segments that are watched.
#[derive(Debug)]
pub struct WatchedSegments {
    definitions: Definitions,
    /// The predicates that mention something, by their numbers.
    by_property: HashMap<PropertyName, Vec<u32>>,
    by_event: HashMap<EventName, Vec<u32>>,
    /// The predicates that the id of a user decides, for good.
    by_id: Vec<u32>,
    by_list: HashMap<SegmentName, u32>,
    /// For each predicate the segments that have it.
    dependents: Vec<Vec<u32>>,
    /// What is true of a user of whom nothing is known: predicates, and the segments with such users.
    blank: Vec<bool>,
    blank_members: Vec<u32>,
    sources: Arc<Sources>,
    /// What was bound for the instant that is looked at, and for the one just before.
    sight: Sight,
    earlier: Sight,
    memo: Memo,
    memo_before: Memo,
}

/// Predicates bound for one instant, while nothing is written.
#[derive(Debug, Default)]
struct Sight {
    as_of: Option<Timestamp>,
    round: u64,
    /// By the number of the predicate: in which round it was bound, and what it was bound to; `None`
    /// if it can't be told.
    bounds: Vec<(u64, Option<Arc<Bound>>)>,
}

impl Sight {
    /// Looks from another instant, or after something was written.
    fn look(&mut self, as_of: Timestamp) {
        self.as_of = Some(as_of);
        self.round += 1;
    }

    fn bound(
        &mut self,
        population: &Population,
        predicates: &[Prepared],
        number: u32,
    ) -> Option<&Arc<Bound>> {
        let number = number as usize;
        if self.bounds.len() <= number {
            self.bounds.resize(predicates.len(), (0, None));
        }
        let (round, bound) = &mut self.bounds[number];
        if *round != self.round {
            *round = self.round;
            let as_of = self.as_of.unwrap_or(Timestamp::MIN);
            *bound = predicates[number].bound_alone(population, as_of).ok();
        }
        bound.as_ref()
    }
}

/// The users whom a command names, as they were before it.
#[derive(Debug)]
pub struct Before<'a> {
    as_of: Timestamp,
    users: Vec<&'a UserId>,
    existed: Vec<bool>,
    /// The predicates that mention what the command changes, in their order.
    touched: Vec<u32>,
    /// For each user, which of them held: as many words as there are 64 of them.
    held: Vec<u64>,
    /// The segments of a user who is to be erased, and where the user is.
    left: Option<(Place, Vec<u32>)>,
    /// Why users enter who did not exist.
    cause: Cause,
    moved: Moved,
}

/// What a command does to the segments that are watched.
#[derive(Debug, Default)]
pub struct Passages {
    /// Who enters and leaves.
    pub changes: Vec<MembershipChange>,
    /// What the clock will move soon.
    pub due: Vec<Due>,
    /// Whether there are more changes than are told.
    pub are_too_many: bool,
}

impl WatchedSegments {
    /// Watches the segments of some names, as far as they exist.
    #[must_use]
    pub fn new<'a>(
        population: &Population,
        catalog: &'a Catalog,
        names: impl Iterator<Item = &'a SegmentName>,
        as_of: Timestamp,
    ) -> Self {
        let definitions = Definitions::of(catalog, names);
        let mut by_property: HashMap<_, Vec<u32>> = HashMap::new();
        let mut by_event: HashMap<_, Vec<u32>> = HashMap::new();
        let mut by_id = Vec::new();
        let mut by_list = HashMap::new();
        for (number, predicate) in (0..).zip(&definitions.predicates) {
            match &**predicate.expression() {
                Expression::Predicate(predicate) => {
                    let of_property = by_property.entry(predicate.property.clone());
                    of_property.or_default().push(number);
                }
                Expression::Event(predicate) => {
                    let of_event = by_event.entry(predicate.event.clone());
                    of_event.or_default().push(number);
                }
                Expression::Bucket(_) => by_id.push(number),
                Expression::Segment(list) => {
                    by_list.insert(list.clone(), number);
                }
                Expression::Everyone
                | Expression::Not(_)
                | Expression::And(_)
                | Expression::Or(_)
                | Expression::AtLeast { .. } => {}
            }
        }
        let mut segments = Self {
            dependents: definitions.segments_by_predicate(),
            sources: Arc::new(Sources::of(&definitions.predicates)),
            memo: Memo::new(definitions.parts.len()),
            memo_before: Memo::new(definitions.parts.len()),
            by_property,
            by_event,
            by_id,
            by_list,
            blank: Vec::new(),
            blank_members: Vec::new(),
            sight: Sight::default(),
            earlier: Sight::default(),
            definitions,
        };
        segments.look_at_blank(population, as_of);
        segments
    }

    /// Finds out what is true of a user of whom nothing is known.
    pub fn look_at_blank(&mut self, population: &Population, as_of: Timestamp) {
        self.blank.clear();
        self.blank_members.clear();
        self.sight.look(as_of);
        for number in (0..).take(self.definitions.predicates.len()) {
            let predicates = &self.definitions.predicates;
            let bound = self.sight.bound(population, predicates, number);
            let is_true = bound.is_some_and(|bound| holds_for_blank(&bound.root));
            self.blank.push(is_true);
        }
        self.memo.next_user();
        let blank = &self.blank;
        for (position, (_, root)) in (0..).zip(&self.definitions.segments) {
            let mut truth = |number: u32| Ok::<_, ()>(blank[number as usize]);
            if self.definitions.holds(*root, &mut self.memo, &mut truth) == Ok(true) {
                self.blank_members.push(position);
            }
        }
    }

    /// The names of the segments, in their order.
    #[must_use]
    pub fn names(&self) -> impl ExactSizeIterator<Item = &SegmentName> {
        self.definitions.segments.iter().map(|(name, _)| name)
    }

    /// What the clock moves.
    #[must_use]
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// The positions of the segments of which it can't be told who is in them, since a window reaches
    /// back to events that are not kept any more; and when that may be otherwise by the clock alone.
    pub fn unknown(
        &mut self,
        population: &Population,
        as_of: Timestamp,
    ) -> (Vec<u32>, Option<Timestamp>) {
        self.sight.look(as_of);
        let mut unknown = Vec::new();
        let mut otherwise: Option<Timestamp> = None;
        for number in (0..).take(self.definitions.predicates.len()) {
            let predicates = &self.definitions.predicates;
            if self.sight.bound(population, predicates, number).is_none() {
                unknown.extend_from_slice(&self.dependents[number as usize]);
                let known = clock::known_from(population, &predicates[number as usize], as_of);
                otherwise = otherwise.into_iter().chain(known).min();
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        (unknown, otherwise)
    }

    /// The positions of the segments that ask for all events of a name that are kept, from which
    /// some can go.
    #[must_use]
    pub fn asking_for_all(&self, event: &EventName) -> Vec<u32> {
        let asks_for_all = |number: &&u32| {
            let predicate = &self.definitions.predicates[**number as usize];
            match &**predicate.expression() {
                Expression::Event(predicate) => predicate.window == Window::Ever,
                Expression::Everyone
                | Expression::Not(_)
                | Expression::And(_)
                | Expression::Or(_)
                | Expression::AtLeast { .. }
                | Expression::Predicate(_)
                | Expression::Bucket(_)
                | Expression::Segment(_) => false,
            }
        };
        let predicates = self.by_event.get(event).into_iter().flatten();
        let segments = predicates.filter(asks_for_all);
        let segments = segments.flat_map(|number| &self.dependents[*number as usize]);
        let mut segments: Vec<u32> = segments.copied().collect();
        segments.sort_unstable();
        segments.dedup();
        segments
    }

    /// The events that are asked for.
    pub fn events(&self) -> impl Iterator<Item = &EventName> {
        self.by_event.keys()
    }

    /// Looks at the users whom a command names, before it is carried out; `None` if it names none.
    /// What the clock moves up to `horizon` because of the command is to be told after it.
    pub fn before<'a>(
        &mut self,
        population: &Population,
        action: &'a Action,
        as_of: Timestamp,
        horizon: Timestamp,
    ) -> Option<Before<'a>> {
        let updates: &[UserUpdate] = match action {
            Action::Write(updates) => updates,
            Action::Erase(user) => return Some(self.before_erasure(population, user, as_of)),
            Action::AddMembers(list, users) | Action::RemoveMembers(list, users) => {
                let touched = vec![*self.by_list.get(list)?];
                return Some(self.before_listing(population, touched, users, as_of));
            }
            Action::CreateProperty(_)
            | Action::DeleteProperty(_)
            | Action::CreateEvent(_)
            | Action::UpdateEvent(_)
            | Action::DeleteEvent(_)
            | Action::CreateSegment(..)
            | Action::UpdateSegment(..)
            | Action::DeleteSegment(..)
            | Action::CreateList(..) => return None,
        };
        let mut positions: HashMap<&UserId, u32> = HashMap::new();
        let mut users = Vec::new();
        let mut touched = Vec::new();
        let mut moved = Moved::within(as_of, horizon);
        let mut cause = Cause::Event;
        for update in updates {
            let next = u32::try_from(users.len()).unwrap_or(u32::MAX);
            let position = match updates.len() {
                1 => next,
                _ => *positions.entry(&update.user).or_insert(next),
            };
            if position == next {
                users.push(&update.user);
            }
            if !update.changes.is_empty() || update.events.is_empty() {
                cause = Cause::Update;
            }
            for change in &update.changes {
                touched.extend(self.by_property.get(&change.property).into_iter().flatten());
                self.sources.note_change(&change.property, &mut moved);
            }
            for event in &update.events {
                touched.extend(self.by_event.get(&event.name).into_iter().flatten());
                self.sources.note_event(position, event, &mut moved);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        moved.sort();
        let before = Before {
            as_of,
            existed: vec![false; users.len()],
            held: vec![0; users.len() * touched.len().div_ceil(64)],
            users,
            touched,
            left: None,
            cause,
            moved,
        };
        Some(self.looked_at(population, before))
    }

    /// Looks at users who are to enter or leave a static list, by the predicate that stands for it.
    fn before_listing<'a>(
        &mut self,
        population: &Population,
        touched: Vec<u32>,
        users: &'a [UserId],
        as_of: Timestamp,
    ) -> Before<'a> {
        let mut known = HashSet::new();
        let users: Vec<&UserId> = users.iter().filter(|user| known.insert(*user)).collect();
        let before = Before {
            as_of,
            existed: vec![false; users.len()],
            held: vec![0; users.len()],
            users,
            touched,
            left: None,
            cause: Cause::Update,
            moved: Moved::within(as_of, as_of),
        };
        self.looked_at(population, before)
    }

    /// Notes which of the users exist, and which predicates hold for them.
    fn looked_at<'a>(&mut self, population: &Population, mut before: Before<'a>) -> Before<'a> {
        let bounds = self.bound_touched(population, &before);
        let words = before.touched.len().div_ceil(64);
        population.with_users(&before.users, |reader, found| {
            for &(position, user) in found {
                before.existed[position] = true;
                let held = &mut before.held[position * words..][..words];
                fill_held(&bounds, reader, user, held);
            }
        });
        before
    }

    fn before_erasure<'a>(
        &mut self,
        population: &Population,
        user: &'a UserId,
        as_of: Timestamp,
    ) -> Before<'a> {
        self.sight.look(as_of);
        self.memo.next_user();
        let mut left = None;
        let Self {
            definitions,
            sight,
            memo,
            ..
        } = self;
        population.with_users(&[user], |reader, found| {
            let Some(&(_, place)) = found.first() else {
                return;
            };
            let mut truth = |number| held(sight, population, definitions, number, reader, place);
            let segments = (0..).zip(&definitions.segments);
            let members = segments
                .filter(|(_, (_, root))| definitions.holds(*root, memo, &mut truth) == Ok(true));
            let members = members.map(|(position, _)| position).collect();
            left = Some((Place::new(reader.number(), place), members));
        });
        Before {
            as_of,
            users: vec![user],
            existed: vec![left.is_some()],
            touched: Vec::new(),
            held: Vec::new(),
            left,
            cause: Cause::Erasure,
            moved: Moved::within(as_of, as_of),
        }
    }

    fn bound_touched(
        &mut self,
        population: &Population,
        before: &Before<'_>,
    ) -> Vec<Option<Arc<Bound>>> {
        self.sight.look(before.as_of);
        let touched = before.touched.iter();
        let bounds = touched.map(|number| {
            let predicates = &self.definitions.predicates;
            self.sight.bound(population, predicates, *number).cloned()
        });
        bounds.collect()
    }

    /// Looks at the same users after the command was carried out: tells about `most` changes.
    pub fn after(&mut self, population: &Population, before: &Before<'_>, most: usize) -> Passages {
        let mut passages = Passages::default();
        if let Some((place, segments)) = &before.left {
            let mut exists = false;
            population.with_users(&before.users, |_, _| exists = true);
            if !exists {
                let user = Arc::new(before.users[0].clone());
                let leave = |segment: &u32| MembershipChange {
                    segment: *segment,
                    user: Arc::clone(&user),
                    place: *place,
                    enters: false,
                    cause: before.cause,
                };
                passages.changes = segments.iter().map(leave).collect();
            }
            return passages;
        }
        let bounds = self.bound_touched(population, before);
        let words = before.touched.len().div_ceil(64);
        let mut now = vec![0; words];
        let mut candidates = Vec::new();
        let catalog = population.catalog();
        population.with_users(&before.users, |reader, found| {
            for &(position, place) in found {
                if passages.changes.len() > most {
                    break;
                }
                fill_held(&bounds, reader, place, &mut now);
                let then = &before.held[position * words..][..words];
                candidates.clear();
                let existed = before.existed[position];
                self.note_candidates(before, existed, then, &now, &mut candidates);
                let user = User {
                    reader,
                    place,
                    existed,
                };
                let seen = Seen {
                    touched: &before.touched,
                    bounds: &bounds,
                    then,
                    now: &now,
                };
                self.compare(
                    population,
                    &user,
                    &seen,
                    &mut candidates,
                    &mut passages.changes,
                );
            }
            let moved = &before.moved;
            moved.of_users(&self.sources, &catalog, reader, found, &mut passages.due);
        });
        if passages.changes.len() > most {
            passages.changes = Vec::new();
            passages.are_too_many = true;
        }
        passages
    }

    /// The segments that a user may have entered or left, and why.
    fn note_candidates(
        &self,
        before: &Before<'_>,
        existed: bool,
        then: &[u64],
        now: &[u64],
        candidates: &mut Vec<(u32, Cause)>,
    ) {
        if !existed {
            let blank = self.blank_members.iter();
            candidates.extend(blank.map(|segment| (*segment, before.cause)));
            let by_id = self
                .by_id
                .iter()
                .flat_map(|number| &self.dependents[*number as usize]);
            candidates.extend(by_id.map(|segment| (*segment, before.cause)));
        }
        for (bit, number) in before.touched.iter().enumerate() {
            let held = |words: &[u64]| words[bit / 64] >> (bit % 64) & 1 == 1;
            let held_before = if existed {
                held(then)
            } else {
                self.blank[*number as usize]
            };
            if held(now) == held_before {
                continue;
            }
            let cause = match &**self.definitions.predicates[*number as usize].expression() {
                _ if !existed => before.cause,
                Expression::Event(_) => Cause::Event,
                Expression::Everyone
                | Expression::Not(_)
                | Expression::And(_)
                | Expression::Or(_)
                | Expression::AtLeast { .. }
                | Expression::Predicate(_)
                | Expression::Segment(_)
                | Expression::Bucket(_) => Cause::Update,
            };
            let segments = self.dependents[*number as usize].iter();
            candidates.extend(segments.map(|segment| (*segment, cause)));
        }
    }

    /// Tells which of some segments a user entered or left.
    fn compare(
        &mut self,
        population: &Population,
        user: &User<'_>,
        seen: &Seen<'_>,
        candidates: &mut Vec<(u32, Cause)>,
        changes: &mut Vec<MembershipChange>,
    ) {
        // A change of a property comes before one of events.
        candidates.sort_unstable();
        candidates.dedup_by_key(|(segment, _)| *segment);
        if candidates.is_empty() {
            return;
        }
        let Self {
            definitions,
            sight,
            memo,
            memo_before,
            blank,
            by_id,
            ..
        } = self;
        memo.next_user();
        memo_before.next_user();
        let mut id = None;
        for &(segment, cause) in &*candidates {
            let (_, root) = definitions.segments[segment as usize];
            let mut other = |number: u32| {
                if user.existed || by_id.binary_search(&number).is_ok() {
                    held(
                        sight,
                        population,
                        definitions,
                        number,
                        user.reader,
                        user.place,
                    )
                } else {
                    Ok(blank[number as usize])
                }
            };
            let mut now = |number: u32| seen.now(number).unwrap_or_else(|| other(number));
            let Ok(enters) = definitions.holds(root, memo, &mut now) else {
                continue;
            };
            let was_in = user.existed && {
                let mut then = |number: u32| seen.then(number).unwrap_or_else(|| other(number));
                let Ok(was_in) = definitions.holds(root, memo_before, &mut then) else {
                    continue;
                };
                was_in
            };
            if enters == was_in {
                continue;
            }
            let id = id.get_or_insert_with(|| {
                let id = user.reader.user_ids(&[user.place]).next();
                id.map(Arc::new)
            });
            changes.extend(id.as_ref().map(|id| MembershipChange {
                segment,
                user: Arc::clone(id),
                place: Place::new(user.reader.number(), user.place),
                enters,
                cause,
            }));
        }
    }
}

/// A user who is looked at.
struct User<'a> {
    reader: &'a ShardReader<'a>,
    place: u16,
    existed: bool,
}

/// Which of the predicates that may have changed held, and hold.
struct Seen<'a> {
    touched: &'a [u32],
    bounds: &'a [Option<Arc<Bound>>],
    then: &'a [u64],
    now: &'a [u64],
}

impl Seen<'_> {
    fn of(&self, number: u32, words: &[u64]) -> Option<Result<bool, ()>> {
        let bit = self.touched.binary_search(&number).ok()?;
        if self.bounds[bit].is_none() {
            return Some(Err(()));
        }
        Some(Ok(words[bit / 64] >> (bit % 64) & 1 == 1))
    }

    fn now(&self, number: u32) -> Option<Result<bool, ()>> {
        self.of(number, self.now)
    }

    fn then(&self, number: u32) -> Option<Result<bool, ()>> {
        self.of(number, self.then)
    }
}

/// Whether a predicate holds for a user.
///
/// # Errors
/// It can't be told.
fn held(
    sight: &mut Sight,
    population: &Population,
    definitions: &Definitions,
    number: u32,
    reader: &ShardReader<'_>,
    user: u16,
) -> Result<bool, ()> {
    let bound = sight.bound(population, &definitions.predicates, number);
    bound
        .map(|bound| holds(&bound.root, reader, user))
        .ok_or(())
}

/// Whether a predicate holds for a user of whom nothing is known, not even the id.
fn holds_for_blank(node: &Node) -> bool {
    match node {
        Node::Everyone => true,
        Node::Not(operand) => !holds_for_blank(operand),
        Node::And(operands) => operands.iter().all(holds_for_blank),
        Node::Or(operands) => operands.iter().any(holds_for_blank),
        Node::AtLeast(count, operands) => {
            let holding = operands.iter().filter(|operand| holds_for_blank(operand));
            holding.count() >= *count
        }
        Node::Leaf(_) | Node::Event(_) | Node::Bucket(_) => false,
    }
}

/// Which of some predicates hold for a user.
fn fill_held(
    bounds: &[Option<Arc<Bound>>],
    reader: &ShardReader<'_>,
    user: u16,
    words: &mut [u64],
) {
    words.fill(0);
    for (bit, bound) in bounds.iter().enumerate() {
        if bound
            .as_ref()
            .is_some_and(|bound| holds(&bound.root, reader, user))
        {
            words[bit / 64] |= 1 << (bit % 64);
        }
    }
}
