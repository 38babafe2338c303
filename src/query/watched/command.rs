//! The users whom a command names, before it and after.
//!
//! Invariant: what is told is the difference between the two, for each user who is named once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::clock::Moved;
use super::{Cause, Due, MembershipChange, Place, Seen, User, WatchedSegments, held};
use crate::model::{Action, Expression, Timestamp, UserId, UserUpdate};
use crate::population::{Population, ShardReader};
use crate::query::bind::Bound;
use crate::query::check::holds;

/// The users whom a command names, as they were before it.
#[derive(Debug)]
pub struct Before<'a> {
    as_of: Timestamp,
    users: Vec<&'a UserId>,
    existed: Vec<bool>,
    /// The predicates that mention what the command changes, in their order.
    pub(super) touched: Vec<u32>,
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
