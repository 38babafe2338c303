//! The users of selections as they were found once, to be handed out for a while.
//!
//! Each shard is looked at once, for all selections, so that of every user all selections are of the
//! same moment, and everything that was applied before the evaluation began is in it; of what is
//! written while it goes on, shards that were looked at later have more.
//!
//! Invariant: what was found does not change. A place is never taken for another user's: those who
//! were erased since have no id here, whoever was given their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bind::{Bound, answer_all};
use super::evaluate::Evaluator;
use super::held::Held;
use super::plan::{PlanNode, plan};
use super::shards::over_shards;
use super::stop::{Stop, Stopped};
use crate::bits::Block;
use crate::index::PortableSet;
use crate::model::UserId;
use crate::population::{Erasures, Population, ShardReader};

/// The users of some selections. Those who are in any are numbered from 0, in the order of their
/// ordinals.
#[derive(Debug)]
pub struct Export {
    /// By number; those without users are left out.
    shards: Vec<ExportedShard>,
    counts: Vec<u64>,
    users: u64,
    bytes: u64,
    erasures: Arc<Erasures>,
}

/// Why selections can't be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// There is no room to keep them.
    #[error("there is no room to keep the users of the selections")]
    NoRoom,
    /// The evaluation was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

#[derive(Debug)]
struct ExportedShard {
    shard: u32,
    /// The number of its first user.
    first: u32,
    any: Held,
    /// The selections that have users here.
    selections: Vec<(usize, Selected)>,
}

/// The users of a selection in one shard.
#[derive(Debug)]
enum Selected {
    /// All who are in any.
    Any,
    Some(Held),
}

impl ExportedShard {
    fn bytes(&self) -> u64 {
        let selections = self.selections.iter();
        let held: usize = selections
            .map(|(_, selected)| match selected {
                Selected::Any => size_of::<(usize, Selected)>(),
                Selected::Some(held) => size_of::<usize>() + held.bytes(),
            })
            .sum();
        (size_of::<Self>() + self.any.bytes() + held) as u64
    }
}

/// Evaluates selections and keeps who is in them. `room` is asked before more bytes are kept.
///
/// # Errors
/// [`ExportError`] if `room` has none, or `stop` ended the work.
pub fn export(
    population: &Population,
    bounds: &[Arc<Bound>],
    room: &(dyn Fn(u64) -> bool + Sync),
    stop: &Stop,
) -> Result<Export, ExportError> {
    let erasures = population.note_erasures();
    answer_all(population, bounds, |bounds| {
        let plans: Vec<PlanNode<'_>> = bounds
            .iter()
            .map(|bound| plan(population, &bound.root))
            .collect();
        let is_full = AtomicBool::new(false);
        let task = over_shards(
            population,
            stop,
            || Task::new(plans.len()),
            |task, reader| {
                if !is_full.load(Ordering::Relaxed) && !task.visit(&plans, reader, &erasures, room)
                {
                    is_full.store(true, Ordering::Relaxed);
                }
            },
            Task::join,
        )?;
        if is_full.into_inner() {
            return Err(ExportError::NoRoom);
        }
        Ok(task.export(Arc::clone(&erasures)))
    })
}

/// What one thread works with, and has found.
struct Task {
    evaluator: Evaluator,
    selected: Vec<Block>,
    any: Block,
    counts: Vec<u64>,
    shards: Vec<ExportedShard>,
}

impl Task {
    fn new(selections: usize) -> Self {
        Self {
            evaluator: Evaluator::default(),
            selected: vec![Block::new(); selections],
            any: Block::new(),
            counts: vec![0; selections],
            shards: Vec::new(),
        }
    }

    /// Returns whether there is room for what was found.
    fn visit(
        &mut self,
        plans: &[PlanNode<'_>],
        reader: &ShardReader<'_>,
        erasures: &Erasures,
        room: &(dyn Fn(u64) -> bool + Sync),
    ) -> bool {
        // Who was erased before is not in the shard any more; whoever has the place since is.
        erasures.forget(reader);
        self.any.clear();
        for (plan, selected) in plans.iter().zip(&mut self.selected) {
            self.evaluator.fill(plan, reader, selected);
            self.any.or(selected);
        }
        let all = self.any.count();
        if all == 0 {
            return true;
        }
        let mut selections = Vec::new();
        let counted = self.selected.iter().zip(&mut self.counts);
        for (position, (selected, sum)) in counted.enumerate() {
            let count = selected.count();
            *sum += u64::from(count);
            if count == all {
                selections.push((position, Selected::Any));
            } else if count > 0 {
                selections.push((position, Selected::Some(Held::of(selected))));
            }
        }
        let exported = ExportedShard {
            shard: reader.number(),
            first: 0,
            any: Held::of(&self.any),
            selections,
        };
        let has_room = room(exported.bytes());
        if has_room {
            self.shards.push(exported);
        }
        has_room
    }

    fn join(mut self, mut other: Self) -> Self {
        self.shards.append(&mut other.shards);
        for (count, others) in self.counts.iter_mut().zip(other.counts) {
            *count += others;
        }
        self
    }

    fn export(self, erasures: Arc<Erasures>) -> Export {
        let mut shards = self.shards;
        shards.sort_unstable_by_key(|exported| exported.shard);
        let mut users = 0;
        for exported in &mut shards {
            exported.first = users;
            users += exported.any.count();
        }
        Export {
            users: users.into(),
            bytes: shards.iter().map(ExportedShard::bytes).sum(),
            counts: self.counts,
            shards,
            erasures,
        }
    }
}

impl Export {
    /// How many users are in any of the selections: those that are numbered.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.users
    }

    /// How many users each selection has.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Bytes of memory, without the places of those who are erased: at most a bit for each user.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The ids of at most `limit` users from a number on; `None` for one who was erased since.
    #[must_use]
    pub fn ids(&self, population: &Population, from: u64, limit: usize) -> Vec<Option<UserId>> {
        let mut ids = Vec::new();
        let after = self
            .shards
            .partition_point(|exported| u64::from(exported.first) <= from);
        for exported in self.shards.iter().skip(after.saturating_sub(1)) {
            let room = limit - ids.len();
            if room == 0 {
                break;
            }
            let skipped = from.saturating_sub(exported.first.into());
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
            let places: Vec<u16> = exported.any.users().skip(skipped).take(room).collect();
            let read = population.with_shard(exported.shard, |reader| {
                let erased = self.erasures.among(reader, &places);
                let still = || places.iter().zip(&erased).filter(|(_, erased)| !**erased);
                let left: Vec<u16> = still().map(|(place, _)| *place).collect();
                let mut found = reader.user_ids(&left);
                let id = |erased: &bool| if *erased { None } else { found.next() };
                erased.iter().map(id).collect::<Vec<_>>()
            });
            ids.extend(read.into_iter().flatten());
        }
        ids
    }

    /// The numbers of the users of a selection, in the portable Roaring format: the same bytes
    /// whenever they are asked for.
    ///
    /// # Errors
    /// [`Stopped`] if `stop` said so before all were found.
    pub fn bitmap(&self, selection: usize, stop: &Stop) -> Result<Vec<u8>, Stopped> {
        let mut set = PortableSet::default();
        let mut wanted = Block::new();
        let mut numbers = Vec::new();
        for exported in &self.shards {
            stop.check()?;
            let found = exported
                .selections
                .iter()
                .find(|(position, _)| *position == selection);
            match found {
                None => {}
                Some((_, Selected::Any)) => {
                    set.add_all(exported.first, exported.first + exported.any.count());
                }
                Some((_, Selected::Some(held))) => {
                    held.copy_into(&mut wanted);
                    let numbered = (exported.first..).zip(exported.any.users());
                    let numbered = numbered.filter(|(_, user)| wanted.contains(*user));
                    numbers.clear();
                    numbers.extend(numbered.map(|(number, _)| number));
                    set.add(&numbers);
                }
            }
        }
        Ok(set.into_portable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter;
    use crate::index::SHARD_USERS;
    use crate::model::{
        Action, Change, NonEmpty, Operation, PropertyName, Revision, StoreLimits, Timestamp,
        UserUpdate, Value,
    };
    use crate::query::bind;

    fn id(number: u32) -> UserId {
        UserId::new(format!("u{number}")).unwrap()
    }

    fn write(population: &Population, numbers: std::ops::Range<u32>) {
        let update = |number: u32| UserUpdate {
            user: id(number),
            value_time: None,
            changes: vec![Change {
                property: PropertyName::new("n").unwrap(),
                operation: Operation::Set(Value::Int64(number.into())),
            }],
            events: Vec::new(),
        };
        let write = NonEmpty::new(numbers.map(update).collect()).unwrap();
        population
            .apply(Revision::new(1), &Action::Write(write))
            .unwrap();
    }

    fn erase(population: &Population, number: u32) {
        let erase = Action::Erase(id(number));
        population.apply(Revision::new(2), &erase).unwrap();
    }

    fn exported(
        population: &Population,
        filters: &[&str],
        most: u64,
    ) -> Result<Export, ExportError> {
        let as_of = Timestamp::from_micros(0).unwrap();
        let bounds = filters.iter().map(|text| {
            let expression = filter::parse(text).unwrap();
            Arc::new(bind(population, &expression, as_of).unwrap())
        });
        let bounds: Vec<Arc<Bound>> = bounds.collect();
        let taken = std::sync::atomic::AtomicU64::new(0);
        let room = |bytes| taken.fetch_add(bytes, Ordering::Relaxed) + bytes <= most;
        export(population, &bounds, &room, &Stop::never())
    }

    fn all_ids(export: &Export, population: &Population, part: usize) -> Vec<Option<UserId>> {
        let mut ids = Vec::new();
        while (ids.len() as u64) < export.users() {
            let more = export.ids(population, ids.len() as u64, part);
            assert!(!more.is_empty() && more.len() <= part);
            ids.extend(more);
        }
        assert!(export.ids(population, export.users(), part).is_empty());
        ids
    }

    #[test]
    fn users_are_numbered_across_shards_and_bitmaps_are_of_these_numbers() {
        let population = Population::new(StoreLimits::default());
        let users = SHARD_USERS + 10;
        write(&population, 0..users);
        let filters = ["n >= 65530", "n < 3 OR n >= 65540", "n < 3", "FALSE"];
        let export = exported(&population, &filters, u64::MAX).unwrap();
        assert_eq!(export.counts(), [16, 9, 3, 0]);
        let numbers: Vec<u32> = (0..3).chain(65_530..users).collect();
        let expected: Vec<Option<UserId>> = numbers.iter().map(|n| Some(id(*n))).collect();
        for part in [1, 4, 100] {
            assert_eq!(all_ids(&export, &population, part), expected);
        }
        let bitmaps = (0..4).map(|place| export.bitmap(place, &Stop::never()).unwrap());
        let sets: Vec<Vec<u16>> = bitmaps
            .map(|bytes| {
                let set = crate::index::Posting::from_portable(&bytes).unwrap();
                set.to_block().ones().collect()
            })
            .collect();
        let expected: [Vec<u16>; 4] = [
            (3..19).collect(),
            (0..3).chain(13..19).collect(),
            (0..3).collect(),
            Vec::new(),
        ];
        assert_eq!(sets, expected);
    }

    #[test]
    fn who_was_erased_has_no_id_and_no_other_user_takes_the_number() {
        let population = Population::new(StoreLimits::default());
        write(&population, 0..5);
        erase(&population, 1);
        // The place of 1 is given away before the selection is evaluated.
        write(&population, 10..11);
        let export = exported(&population, &["TRUE", "n = 3"], u64::MAX).unwrap();
        let before = export.bitmap(1, &Stop::never()).unwrap();
        let ids = |numbers: [Option<u32>; 5]| numbers.map(|n| n.map(id)).to_vec();
        let all = ids([Some(0), Some(10), Some(2), Some(3), Some(4)]);
        assert_eq!(all_ids(&export, &population, 2), all);
        erase(&population, 3);
        write(&population, 20..22);
        let all = ids([Some(0), Some(10), Some(2), None, Some(4)]);
        assert_eq!(all_ids(&export, &population, 2), all);
        assert_eq!(export.bitmap(1, &Stop::never()).unwrap(), before);
        // Everybody goes and comes back.
        for number in [0, 10, 2, 4] {
            erase(&population, number);
        }
        write(&population, 0..5);
        assert_eq!(all_ids(&export, &population, 2), ids([None; 5]));
    }

    #[test]
    fn what_there_is_no_room_for_is_refused() {
        let population = Population::new(StoreLimits::default());
        write(&population, 0..10_000);
        let filters = ["TRUE", "n > 5000"];
        let kept = exported(&population, &filters, u64::MAX).unwrap();
        assert!(
            kept.bytes() > 16_384 && kept.bytes() < 17_000,
            "{}",
            kept.bytes()
        );
        assert!(exported(&population, &filters, kept.bytes()).is_ok());
        let refused = exported(&population, &filters, kept.bytes() - 1);
        assert_eq!(refused.unwrap_err(), ExportError::NoRoom);
    }
}
