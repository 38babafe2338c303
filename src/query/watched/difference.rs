//! Who enters and leaves segments that are defined anew, and who is in one.

use std::sync::Arc;

use super::{Cause, MembershipChange, Place};
use crate::bits::Block;
use crate::model::{Expression, SegmentName, Timestamp, UserId};
use crate::population::Population;
use crate::query::bind::{Bound, bind};
use crate::query::evaluate::Evaluator;
use crate::query::plan::plan;

/// Shards that are looked at at once: less than a millisecond.
const SHARDS_AT_ONCE: usize = 8;

/// A segment as it was before a command.
#[derive(Debug)]
pub struct DefinedBefore {
    /// The segment.
    pub name: SegmentName,
    /// What it meant; `None` if it did not exist.
    bound: Option<Bound>,
}

/// What became of a segment that was defined anew.
#[derive(Debug)]
pub enum Difference {
    /// These users enter and leave.
    Changes(Vec<MembershipChange>),
    /// More users than are told, or it can't be told of one of the two definitions.
    Unknown,
    /// The segment does not exist any more.
    Deleted,
    /// It does not exist, as before.
    Missing,
}

impl DefinedBefore {
    /// What a segment means at the moment; `None` if it can't be told who is in it.
    #[must_use]
    pub fn of(population: &Population, name: &SegmentName, as_of: Timestamp) -> Option<Self> {
        let exists = population.catalog().segment(name).is_some();
        let bound = if exists {
            Some(bound(population, name, as_of)?)
        } else {
            None
        };
        Some(Self {
            name: name.clone(),
            bound,
        })
    }

    /// Compares with what the segment means now, as of the same instant: at most `limit` users.
    /// `segment` is its position now.
    #[must_use]
    pub fn compare(
        &self,
        population: &Population,
        as_of: Timestamp,
        segment: Option<u32>,
        limit: usize,
    ) -> Difference {
        let now = match (segment, &self.bound) {
            (None, Some(_)) => return Difference::Deleted,
            (None, None) => return Difference::Missing,
            (Some(segment), _) => bound(population, &self.name, as_of).map(|now| (segment, now)),
        };
        let Some((segment, now)) = now else {
            return Difference::Unknown;
        };
        let then_plan = self
            .bound
            .as_ref()
            .map(|bound| plan(population, &bound.root));
        let now_plan = plan(population, &now.root);
        let mut evaluator = Evaluator::default();
        let (mut then, mut entering) = (Block::new(), Block::new());
        let mut changes = Vec::new();
        for shard in 0..population.shard_count() {
            population.with_shard(shard, |reader| {
                match &then_plan {
                    Some(plan) => evaluator.fill(plan, reader, &mut then),
                    None => then.clear(),
                }
                evaluator.fill(&now_plan, reader, &mut entering);
                let mut leaving = then.clone();
                leaving.and_not(&entering);
                entering.and_not(&then);
                for (users, enters) in [(&leaving, false), (&entering, true)] {
                    let room = (limit + 1).saturating_sub(changes.len());
                    let users: Vec<u16> = users.ones().take(room).collect();
                    let ids = users.iter().zip(reader.user_ids(&users));
                    changes.extend(ids.map(|(user, id)| MembershipChange {
                        segment,
                        user: Arc::new(id),
                        place: Place::new(shard, *user),
                        enters,
                        cause: Cause::Definition,
                    }));
                }
            });
            if changes.len() > limit {
                return Difference::Unknown;
            }
        }
        Difference::Changes(changes)
    }
}

fn bound(population: &Population, name: &SegmentName, as_of: Timestamp) -> Option<Bound> {
    bind(population, &Expression::Segment(name.clone()), as_of).ok()
}

/// Some of the users who are in a segment.
#[derive(Debug)]
pub struct MembersSlice {
    /// The users.
    pub users: Vec<UserId>,
    /// Where to go on: all before are among them, or were before.
    pub next: Place,
    /// Whether there are no users behind.
    pub is_last: bool,
}

/// Users who are in a segment, from a place on, while nothing is written: at most `limit`, of a few
/// shards. `None` if it can't be told.
#[must_use]
pub fn members_from(
    population: &Population,
    name: &SegmentName,
    from: Place,
    limit: usize,
    as_of: Timestamp,
) -> Option<MembersSlice> {
    let bound = bound(population, name, as_of)?;
    let plan = plan(population, &bound.root);
    let mut evaluator = Evaluator::default();
    let mut members = Block::new();
    let mut slice = MembersSlice {
        users: Vec::new(),
        next: from,
        is_last: false,
    };
    for _ in 0..SHARDS_AT_ONCE {
        let (shard, first) = (slice.next.shard(), slice.next.user());
        if shard >= population.shard_count() {
            slice.is_last = true;
            break;
        }
        let room = limit - slice.users.len();
        slice.next = Place::new(shard + 1, 0);
        population.with_shard(shard, |reader| {
            evaluator.fill(&plan, reader, &mut members);
            let mut behind = members.ones().skip_while(|user| *user < first);
            let users: Vec<u16> = behind.by_ref().take(room).collect();
            slice.users.extend(reader.user_ids(&users));
            if let Some(user) = behind.next() {
                slice.next = Place::new(shard, user);
            }
        });
        if slice.users.len() >= limit {
            break;
        }
    }
    Some(slice)
}
