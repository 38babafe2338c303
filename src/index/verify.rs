//! Compares the two directions of a shard's index with each other, and the events of a shard with
//! what is derived from them.
//!
//! Invariant: what is found follows from the shard alone, and names no value.

use std::collections::{BTreeMap, HashMap};

use super::bins::Bins;
use super::codes::CodeIndex;
use super::column::NumberColumn;
use super::events::EventIndex;
use super::number::NumberIndex;
use super::posting::Posting;
use super::sets::SetIndex;
use super::shard::{PropertyIndex, Shard};
use crate::bits::Block;

/// What is wrong, and for how many users or values.
pub type Mismatches = BTreeMap<&'static str, u64>;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Values that were compared.
    pub values: u64,
    /// What is wrong.
    pub mismatches: Mismatches,
}

const NOT_LIVE: &str = "has a value without being a user";
const PRESENT: &str = "is counted as having a value and has none, or the other way round";
const NOT_IN_COLUMN: &str = "is in the posting of a value that the column does not give it";
const NOT_IN_POSTING: &str = "is missing in the posting of its value";
const UNSORTED: &str = "has a set that is not sorted or repeats a value";
const EMPTY: &str = "has a posting without users";
const TWICE: &str = "has two postings for one value";
const WRONG_BIN: &str = "is in a bin that its number does not belong to";
const NOT_IN_ONE_BIN: &str = "is in no bin, or in several, or in one without having a number";
const BIN_ORDER: &str = "is in a bin that is not in order";
const EVENTS_NOT_LIVE: &str = "has events without being a user";
const DAY_ORDER: &str = "is a day whose events are not in order, or none";
const WRONG_WINDOW: &str = "has a kept count of a window that a recount does not give";
const LARGE_AMOUNT: &str = "is an amount that is larger than the largest is said to be";

fn note(mismatches: &mut Mismatches, what: &'static str, count: u64) {
    if count > 0 {
        *mismatches.entry(what).or_default() += count;
    }
}

impl Shard {
    /// Compares the two directions of a property's index, and its users with the live ones.
    #[must_use]
    pub fn compare(&self, property: u32) -> Compared {
        let mut compared = Compared::default();
        match self.index(property) {
            None => {}
            Some(PropertyIndex::Codes(index)) => compare_codes(index, self, &mut compared),
            Some(PropertyIndex::Sets(index)) => compare_sets(index, self, &mut compared),
            Some(PropertyIndex::Numbers(index)) => compare_numbers(index, self, &mut compared),
        }
        compared
    }

    /// Compares the events of a name with the live users, with the order they have to be in, and
    /// with the counts that are kept of windows. `values` is how many events there are.
    #[must_use]
    pub fn compare_events(&self, event: u32) -> Compared {
        let mut compared = Compared::default();
        if let Some(index) = self.events(event) {
            compared.values = index.len();
            compare_events(index, self, &mut compared.mismatches);
        }
        compared
    }
}

fn compare_events(index: &EventIndex, shard: &Shard, mismatches: &mut Mismatches) {
    let live = shard.live().to_block();
    let mut gone = Block::new();
    index.for_each_user(|user| {
        if !live.contains(user) {
            gone.insert(user);
        }
    });
    note(mismatches, EVENTS_NOT_LIVE, u64::from(gone.count()));
    note(mismatches, DAY_ORDER, index.unsound_days());
    note(mismatches, WRONG_WINDOW, index.unsound_windows());
    note(mismatches, LARGE_AMOUNT, index.unsound_amounts());
}

/// Notes what users with values are wrong, whatever the values.
fn compare_presence(
    has_value: impl Fn(u16) -> bool,
    is_present: impl Fn(u16) -> bool,
    shard: &Shard,
    mismatches: &mut Mismatches,
) {
    let live = shard.live().to_block();
    for user in 0..=u16::MAX {
        let has_value = has_value(user);
        if has_value && !live.contains(user) {
            note(mismatches, NOT_LIVE, 1);
        }
        if has_value != is_present(user) {
            note(mismatches, PRESENT, 1);
        }
    }
}

/// Compares postings with what the column says: `counts` has how many users it gives each code.
fn compare_postings<'a>(
    postings: impl Iterator<Item = (u32, &'a Posting)>,
    mut counts: HashMap<u32, u64>,
    has_code: impl Fn(u16, u32) -> bool,
    mismatches: &mut Mismatches,
) {
    let mut before = None;
    for (code, posting) in postings {
        if before.replace(code) == Some(code) {
            note(mismatches, TWICE, 1);
        }
        if posting.is_empty() {
            note(mismatches, EMPTY, 1);
        }
        let mut right = 0;
        posting.for_each(|user| right += u64::from(has_code(user, code)));
        note(
            mismatches,
            NOT_IN_COLUMN,
            u64::from(posting.count()) - right,
        );
        let expected = counts.remove(&code).unwrap_or_default();
        note(mismatches, NOT_IN_POSTING, expected.saturating_sub(right));
    }
    note(mismatches, NOT_IN_POSTING, counts.values().sum());
}

fn compare_codes(index: &CodeIndex, shard: &Shard, compared: &mut Compared) {
    let present = index.present().to_block();
    compare_presence(
        |user| index.get(user).is_some(),
        |user| present.contains(user),
        shard,
        &mut compared.mismatches,
    );
    let mut counts = HashMap::new();
    for code in (0..=u16::MAX).filter_map(|user| index.get(user)) {
        *counts.entry(code).or_default() += 1;
        compared.values += 1;
    }
    let postings = index.sorted_postings();
    compare_postings(
        postings.iter().map(|(code, posting)| (*code, &**posting)),
        counts,
        |user, code| index.get(user) == Some(code),
        &mut compared.mismatches,
    );
}

fn compare_sets(index: &SetIndex, shard: &Shard, compared: &mut Compared) {
    let present = index.present().to_block();
    compare_presence(
        |user| index.is_set(user),
        |user| present.contains(user),
        shard,
        &mut compared.mismatches,
    );
    let mut counts = HashMap::new();
    for user in 0..=u16::MAX {
        let set = index.get(user);
        if !set.is_sorted_by(|a, b| a < b) {
            note(&mut compared.mismatches, UNSORTED, 1);
        }
        compared.values += u64::from(!set.is_empty());
        for code in &set {
            *counts.entry(*code).or_default() += 1;
        }
    }
    let postings = index.sorted_postings();
    compare_postings(
        postings.iter().map(|(code, posting)| (*code, &**posting)),
        counts,
        |user, code| index.has_any(user, &[code]),
        &mut compared.mismatches,
    );
}

fn compare_numbers(index: &NumberIndex, shard: &Shard, compared: &mut Compared) {
    let present = index.present();
    compare_presence(
        |user| index.get(user).is_some(),
        |user| present.contains(user),
        shard,
        &mut compared.mismatches,
    );
    compared.values += u64::from(index.count());
    let (column, bins) = index.parts();
    compare_bins(bins, column, &mut compared.mismatches);
}

fn compare_bins(bins: &Bins, column: &NumberColumn, mismatches: &mut Mismatches) {
    let mut times_in_bins = vec![0_u32; super::SHARD_USERS as usize];
    for bin in bins.views(column) {
        for &user in bin.users {
            times_in_bins[usize::from(user)] += 1;
            let belongs = column
                .get(user)
                .is_some_and(|number| bin.least <= number && bin.below.is_none_or(|b| number < b));
            if !belongs {
                note(mismatches, WRONG_BIN, 1);
            }
        }
        if !bin.is_in_order {
            note(mismatches, BIN_ORDER, bin.users.len() as u64);
        }
    }
    for (user, times) in (0..=u16::MAX).zip(times_in_bins) {
        if times != u32::from(column.get(user).is_some()) {
            note(mismatches, NOT_IN_ONE_BIN, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::events::Broken;
    use crate::index::{IndexKind, KeptWindow, Stored, StoredEvent, WindowKind};

    /// A shard of 2,000 users with a property of each kind: codes (0), sets (1), numbers (2).
    fn shard() -> Shard {
        let mut shard = Shard::default();
        for user in 0..2_000_u16 {
            shard.insert_user(user);
            let number = u32::from(user);
            let code = if user < 1_000 { number % 7 } else { number };
            shard.set(0, IndexKind::Codes, user, Some(Stored::Code(code)));
            let set = vec![number % 3, 3 + number % 5].into();
            shard.set(1, IndexKind::Sets, user, Some(Stored::Codes(set)));
            let number = i64::from(user % 600);
            shard.set(2, IndexKind::Numbers, user, Some(Stored::Number(number)));
        }
        shard
    }

    fn index(shard: &mut Shard, property: u32) -> &mut PropertyIndex {
        let slot = shard
            .slots
            .iter_mut()
            .find(|(number, _)| *number == property);
        &mut slot.unwrap().1.index
    }

    /// What is wrong with a property once something was changed behind the index's back.
    #[track_caller]
    fn found(property: u32, corrupt: impl FnOnce(&mut Shard)) -> Vec<(&'static str, u64)> {
        let mut shard = shard();
        for sound in 0..3 {
            let compared = shard.compare(sound);
            assert_eq!(compared.mismatches, Mismatches::new());
            assert_eq!(compared.values, 2_000);
        }
        corrupt(&mut shard);
        for other in (0..3).filter(|other| *other != property) {
            assert_eq!(shard.compare(other).mismatches, Mismatches::new());
        }
        shard.compare(property).mismatches.into_iter().collect()
    }

    #[test]
    fn a_column_or_a_posting_that_was_changed_alone_is_found() {
        let codes = |change: fn(&mut CodeIndex)| {
            found(0, |shard| match index(shard, 0) {
                PropertyIndex::Codes(codes) => change(codes),
                PropertyIndex::Sets(_) | PropertyIndex::Numbers(_) => panic!(),
            })
        };
        assert_eq!(
            codes(|codes| codes.column_mut().set(3, Some(4))),
            [(NOT_IN_COLUMN, 1), (NOT_IN_POSTING, 1)]
        );
        assert_eq!(
            codes(|codes| assert!(codes.posting_mut(2).insert(10))),
            [(NOT_IN_COLUMN, 1)]
        );
        assert_eq!(
            codes(|codes| assert!(codes.posting_mut(2).remove(9))),
            [(NOT_IN_POSTING, 1)]
        );
        assert_eq!(
            codes(|codes| *codes.posting_mut(2) = Posting::default()),
            [(EMPTY, 1), (NOT_IN_POSTING, 143)]
        );
        let columns = codes(|codes| codes.column_mut().set(5_000, Some(4)));
        assert_eq!(
            columns,
            [(NOT_LIVE, 1), (PRESENT, 1), (NOT_IN_POSTING, 1)]
                .into_iter()
                .collect::<Mismatches>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_set_that_was_changed_alone_is_found() {
        let sets = found(1, |shard| match index(shard, 1) {
            PropertyIndex::Sets(sets) => sets.column_mut().set(7, &[2, 4]),
            PropertyIndex::Codes(_) | PropertyIndex::Numbers(_) => panic!(),
        });
        // It had 1 and 5.
        assert_eq!(sets, [(NOT_IN_COLUMN, 2), (NOT_IN_POSTING, 2)]);
    }

    #[test]
    fn a_number_that_was_changed_alone_is_found() {
        let numbers = |change: fn(&mut NumberColumn)| {
            found(2, |shard| match index(shard, 2) {
                PropertyIndex::Numbers(numbers) => change(numbers.column_mut()),
                PropertyIndex::Codes(_) | PropertyIndex::Sets(_) => panic!(),
            })
        };
        let moved = numbers(|column| column.set(7, Some(599)));
        assert!(moved.contains(&(WRONG_BIN, 1)), "{moved:?}");
        let lost = numbers(|column| column.set(7, None));
        assert!(lost.contains(&(NOT_IN_ONE_BIN, 1)), "{lost:?}");
        let added = numbers(|column| column.set(2_001, Some(3)));
        assert_eq!(
            added,
            [(NOT_LIVE, 1), (NOT_IN_ONE_BIN, 1)]
                .into_iter()
                .collect::<Mismatches>()
                .into_iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_user_who_is_gone_but_has_values_is_found() {
        let mut shard = shard();
        shard.live.remove(4);
        for property in 0..3 {
            let mismatches = shard.compare(property).mismatches;
            assert_eq!(mismatches, Mismatches::from([(NOT_LIVE, 1)]));
        }
    }
    /// A shard of 100 users with three days of events of one name (0) and a kept window, and one
    /// event of another name (1).
    fn with_events() -> Shard {
        let mut shard = Shard::default();
        for user in 0..100_u16 {
            shard.insert_user(user);
            for day in 0..3_u64 {
                let stored = StoredEvent {
                    time: day.cast_signed() * 86_400_000_000 + i64::from(user % 7),
                    amount: (user % 2 == 0).then_some(i64::from(user)),
                    id: u64::from(user % 3) * (1 + day),
                };
                assert!(shard.insert_event(0, user, stored));
            }
        }
        let other = StoredEvent {
            time: 5,
            amount: None,
            id: 0,
        };
        assert!(shard.insert_event(1, 9, other));
        let window = KeptWindow::within(WindowKind::Events, 0, 3 * 86_400_000_000).unwrap();
        shard.keep_window(0, window, &[window]);
        shard
    }

    /// What is wrong with the events of a name once something was changed behind the index's back.
    #[track_caller]
    fn found_of_events(corrupt: impl FnOnce(&mut Shard)) -> Vec<(&'static str, u64)> {
        let mut shard = with_events();
        for (event, events) in [(0, 300), (1, 1), (2, 0)] {
            let compared = shard.compare_events(event);
            assert_eq!(compared.mismatches, Mismatches::new());
            assert_eq!(compared.values, events);
        }
        corrupt(&mut shard);
        assert_eq!(shard.compare_events(1).mismatches, Mismatches::new());
        shard.compare_events(0).mismatches.into_iter().collect()
    }

    #[test]
    fn events_of_a_user_who_is_gone_are_found() {
        let gone = found_of_events(|shard| {
            shard.live.remove(4);
            shard.live.remove(99);
        });
        assert_eq!(gone, [(EVENTS_NOT_LIVE, 2)]);
    }

    #[test]
    fn events_that_were_changed_behind_the_back_of_the_index_are_found() {
        let broken = |how| found_of_events(|shard| shard.events[0].1.break_what_is_so(how));
        assert_eq!(broken(Broken::OrderOfDays), [(DAY_ORDER, 1)]);
        assert_eq!(broken(Broken::OrderOfEvents), [(DAY_ORDER, 1)]);
        assert_eq!(broken(Broken::EmptyDay), [(DAY_ORDER, 1)]);
        assert_eq!(broken(Broken::TimeBeyondDay), [(DAY_ORDER, 1)]);
        assert_eq!(broken(Broken::KeptCount), [(WRONG_WINDOW, 1)]);
        // All amounts but those of 0: 49 users with an event on each of 3 days.
        assert_eq!(broken(Broken::LargestAmount), [(LARGE_AMOUNT, 147)]);
    }
}
