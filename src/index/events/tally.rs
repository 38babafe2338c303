//! What all users of a shard did in a window, counted or added up for everybody at once.
//!
//! Invariant: no more memory is touched than a few bytes for each user of the shard and what the
//! window holds. Sums are exact: they are added up in 64 bits where those are sure to be enough, in
//! 128 where they are not.

use super::kept::{Counts, KeptCounts, WindowKind, add};
use super::{EventIndex, day_start};
use crate::bits::Block;
use crate::index::SHARD_USERS;
use crate::model::Comparison;

const USERS: usize = SHARD_USERS as usize;

/// How a number is compared with another one, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AmountTest {
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub operand: i64,
}

impl AmountTest {
    /// Whether a number passes.
    #[must_use]
    pub fn passes(self, number: i128) -> bool {
        self.comparison.holds(number.cmp(&i128::from(self.operand)))
    }

    /// Whether the mean of so many numbers with this sum passes: of none, none does.
    #[must_use]
    pub fn mean_passes(self, sum: i128, count: u64) -> bool {
        // Without dividing, which would round. Neither is above 2^60 times 2^32.
        count > 0
            && self
                .comparison
                .holds(sum.cmp(&(i128::from(self.operand) * i128::from(count))))
    }
}

/// Which of the amounts of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extreme {
    /// The least.
    Least,
    /// The greatest.
    Greatest,
}

impl Extreme {
    /// What stands for none: no amount is as large, and no instant as far away.
    const fn none(self) -> u64 {
        match self {
            Self::Least => u64::MAX,
            Self::Greatest => u64::MIN,
        }
    }

    /// All others, from the first to the last.
    const fn there(self) -> (u64, u64) {
        match self {
            Self::Least => (0, u64::MAX - 1),
            Self::Greatest => (1, u64::MAX),
        }
    }
}

/// Numbers for all users of a shard, from one question to the next.
#[derive(Debug, Default)]
pub struct Tally {
    narrow: Counts,
    wide: Vec<u32>,
    /// Numbers as [`ordered`] gives them.
    sums: Vec<u64>,
    large_sums: Vec<i128>,
    seen: Block,
}

/// Makes a list hold a number for each user.
fn reset<T: Clone>(list: &mut Vec<T>, number: T) -> &mut [T; USERS] {
    list.clear();
    list.resize(USERS, number);
    list.first_chunk_mut().expect("a number for each user")
}

/// The number that was made such.
const fn plain(ordered: u64) -> i64 {
    (ordered ^ (1 << 63)).cast_signed()
}

/// A number without a sign that is above another one if the number is: so many are compared at once.
/// What is added to the one may be added to the other, without looking at overflow.
const fn ordered(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

impl Tally {
    /// Makes a block hold the users who have `least..=most` events (or, where they are counted by
    /// `units`, who have events in so many of these) from `from` on and before `to`. `least` is at
    /// least 1.
    pub fn fill_counts(
        &mut self,
        index: &EventIndex,
        counted: Counted<'_>,
        window: (i64, i64),
        (least, most): (u64, u64),
        target: &mut Block,
    ) {
        let kept = counted.kind();
        let kept = kept.and_then(|kind| index.kept_within(kind, window.0, window.1));
        if kept.is_none() && (least, most) == (1, u64::MAX) {
            // Any at all: nobody has to be counted.
            target.clear();
            let words = target.words_mut();
            count(index, counted, window, &mut self.seen, |user, n| {
                words[usize::from(user >> 6)] |= u64::from(n > 0) << (user & 63);
            });
            return;
        }
        let narrow = |number: u64| u8::try_from(number).ok();
        // 255 stands for that many or more.
        let most_narrow = narrow(most).filter(|most| *most < u8::MAX);
        match (narrow(least), most_narrow, most) {
            (Some(least), Some(_), _) | (Some(least), None, u64::MAX) => {
                let most = most_narrow.unwrap_or(u8::MAX);
                self.count_narrow(index, counted, window, kept);
                target.fill_between(self.narrow.numbers(), least, most);
            }
            _ => {
                self.count_wide(index, counted, window.0, window.1);
                let wide = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
                target.fill_between(&self.wide, wide(least), wide(most));
            }
        }
    }

    fn count_narrow(
        &mut self,
        index: &EventIndex,
        counted: Counted<'_>,
        (from, to): (i64, i64),
        kept: Option<&KeptCounts>,
    ) {
        // By a reference of its own: one that is read from here would be read for every event.
        let narrow = self.narrow.numbers_mut();
        let Some(kept) = kept else {
            narrow.fill(0);
            count(index, counted, (from, to), &mut self.seen, |user, n| {
                add(narrow, user, n);
            });
            return;
        };
        narrow.copy_from_slice(kept.counts().numbers());
        if let Some(users) = kept.users_beside(from, to) {
            users.for_each(|user| add(narrow, user, 1));
            return;
        }
        let (kept_from, kept_to) = kept.window().instants();
        for edge in [(from, kept_from), (kept_to, to)] {
            count(index, counted, edge, &mut self.seen, |user, n| {
                add(narrow, user, n);
            });
        }
    }

    fn count_wide(&mut self, index: &EventIndex, counted: Counted<'_>, from: i64, to: i64) {
        let wide = reset(&mut self.wide, 0);
        count(index, counted, (from, to), &mut self.seen, |user, n| {
            let counted = &mut wide[usize::from(user)];
            *counted = counted.saturating_add(n);
        });
    }

    /// Makes a block hold the users whose amounts from `from` on and before `to` have a sum that
    /// passes. Those without any have the sum 0.
    pub fn fill_sums(
        &mut self,
        index: &EventIndex,
        window: (i64, i64),
        test: AmountTest,
        target: &mut Block,
    ) {
        if index.sums_fit(0) {
            self.sum_small(index, window);
            self.fill_passing(test, ALL, target);
        } else {
            self.sum_large(index, window);
            fill(target, |user| test.passes(self.large_sums[user]));
        }
    }

    /// Makes a block hold the users whose amounts from `from` on and before `to` have a mean that
    /// passes. Those without any have none.
    pub fn fill_means(
        &mut self,
        index: &EventIndex,
        window: (i64, i64),
        test: AmountTest,
        target: &mut Block,
    ) {
        if index.sums_fit(test.operand.unsigned_abs()) {
            // The mean lies above a number if the amounts lie above it in sum.
            let above = AmountTest { operand: 0, ..test };
            let sums = reset(&mut self.sums, ordered(0));
            each_amount(index, window, |user, amount| {
                let sum = &mut sums[usize::from(user)];
                *sum = sum.wrapping_add_signed(amount - test.operand);
            });
            self.fill_passing(above, ALL, target);
            if above.passes(0) {
                each_amount(index, window, |user, _| {
                    self.seen.insert(user);
                });
                target.and(&self.seen);
                self.seen.clear();
            }
        } else {
            self.sum_large(index, window);
            self.count_amounts(index, window);
            fill(target, |user| {
                test.mean_passes(self.large_sums[user], self.wide[user].into())
            });
        }
    }

    fn count_amounts(&mut self, index: &EventIndex, window: (i64, i64)) {
        let counts = reset(&mut self.wide, 0);
        each_amount(index, window, |user, _| counts[usize::from(user)] += 1);
    }

    fn find_extremes(&mut self, index: &EventIndex, window: (i64, i64), which: Extreme) {
        let extremes = reset(&mut self.sums, which.none());
        match which {
            Extreme::Least => each_amount(index, window, |user, amount| {
                let extreme = &mut extremes[usize::from(user)];
                *extreme = ordered(amount).min(*extreme);
            }),
            Extreme::Greatest => each_amount(index, window, |user, amount| {
                let extreme = &mut extremes[usize::from(user)];
                *extreme = ordered(amount).max(*extreme);
            }),
        }
    }

    fn sum_small(&mut self, index: &EventIndex, window: (i64, i64)) {
        let sums = reset(&mut self.sums, ordered(0));
        each_amount(index, window, |user, amount| {
            let sum = &mut sums[usize::from(user)];
            *sum = sum.wrapping_add_signed(amount);
        });
    }

    fn sum_large(&mut self, index: &EventIndex, window: (i64, i64)) {
        let sums = reset(&mut self.large_sums, 0);
        each_amount(index, window, |user, amount| {
            sums[usize::from(user)] += i128::from(amount);
        });
    }

    /// Makes a block hold the users of whose amounts from `from` on and before `to` the least or
    /// the greatest passes. Those without any have none.
    pub fn fill_extremes(
        &mut self,
        index: &EventIndex,
        window: (i64, i64),
        (which, test): (Extreme, AmountTest),
        target: &mut Block,
    ) {
        self.find_extremes(index, window, which);
        self.fill_passing(test, which.there(), target);
    }

    /// Makes a block hold the users whose number passes, of those whose number there is.
    fn fill_passing(
        &mut self,
        test: AmountTest,
        (lowest, highest): (u64, u64),
        target: &mut Block,
    ) {
        let operand = ordered(test.operand);
        let (least, greatest) = match test.comparison {
            Comparison::Equal | Comparison::NotEqual => (operand, operand),
            Comparison::Less => (lowest, operand - 1),
            Comparison::LessOrEqual => (lowest, operand),
            Comparison::Greater => (operand + 1, highest),
            Comparison::GreaterOrEqual => (operand, highest),
        };
        target.fill_between(&self.sums, least, greatest);
        if test.comparison == Comparison::NotEqual {
            self.seen.fill_between(&self.sums, lowest, highest);
            target.complement_in(&self.seen);
            self.seen.clear();
        }
    }
}

/// Numbers of the users of a block, one for each who has it: from `from` on and before `to`.
impl Tally {
    /// How many events, or units with events, each user has who has any.
    pub fn each_count(
        &mut self,
        index: &EventIndex,
        counted: Counted<'_>,
        (from, to): (i64, i64),
        users: &Block,
        mut visit: impl FnMut(u32),
    ) {
        self.count_wide(index, counted, from, to);
        let counts = users.ones().map(|user| self.wide[usize::from(user)]);
        counts.filter(|count| *count > 0).for_each(&mut visit);
    }

    /// The sum of the amounts of each user who has events.
    pub fn each_sum(
        &mut self,
        index: &EventIndex,
        (from, to): (i64, i64),
        users: &Block,
        mut visit: impl FnMut(i128),
    ) {
        self.count_wide(index, Counted::Events, from, to);
        self.each_with_sum(index, (from, to), users, |sum, _| visit(sum));
    }

    /// The sum of the amounts of each user who has any, and how many these are.
    pub fn each_mean(
        &mut self,
        index: &EventIndex,
        (from, to): (i64, i64),
        users: &Block,
        visit: impl FnMut(i128, u32),
    ) {
        self.count_amounts(index, (from, to));
        self.each_with_sum(index, (from, to), users, visit);
    }

    /// The sums of the users who were counted, each with the count.
    fn each_with_sum(
        &mut self,
        index: &EventIndex,
        (from, to): (i64, i64),
        users: &Block,
        mut visit: impl FnMut(i128, u32),
    ) {
        let fit = index.sums_fit(0);
        if fit {
            self.sum_small(index, (from, to));
        } else {
            self.sum_large(index, (from, to));
        }
        for user in users.ones().map(usize::from) {
            let sum = if fit {
                plain(self.sums[user]).into()
            } else {
                self.large_sums[user]
            };
            if self.wide[user] > 0 {
                visit(sum, self.wide[user]);
            }
        }
    }

    /// The least or the greatest amount of each user who has any.
    pub fn each_extreme(
        &mut self,
        index: &EventIndex,
        (from, to): (i64, i64),
        which: Extreme,
        users: &Block,
        visit: impl FnMut(i64),
    ) {
        self.find_extremes(index, (from, to), which);
        self.each_found(which, users, visit);
    }

    /// The time of the first or the last event of each user who has any, in microseconds since
    /// 1970.
    pub fn each_time(
        &mut self,
        index: &EventIndex,
        (from, to): (i64, i64),
        which: Extreme,
        users: &Block,
        visit: impl FnMut(i64),
    ) {
        let extremes = reset(&mut self.sums, which.none());
        for (day, number, part) in index.parts(from, to) {
            let start = day_start(number);
            day.times(part, |user, time| {
                let extreme = &mut extremes[usize::from(user)];
                let time = ordered(start + time);
                *extreme = match which {
                    Extreme::Least => time.min(*extreme),
                    Extreme::Greatest => time.max(*extreme),
                };
            });
        }
        self.each_found(which, users, visit);
    }

    fn each_found(&self, which: Extreme, users: &Block, visit: impl FnMut(i64)) {
        let found = users.ones().map(|user| self.sums[usize::from(user)]);
        found
            .filter(|number| *number != which.none())
            .map(plain)
            .for_each(visit);
    }
}

/// All numbers of a list count.
const ALL: (u64, u64) = (0, u64::MAX);

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Counted<'a> {
    /// Events.
    Events,
    /// Days in UTC with events.
    Days,
    /// Stretches of time with events, that begin at these instants and at the window's beginning,
    /// in microseconds since 1970.
    Units(&'a [i64]),
}

impl Counted<'_> {
    /// What is kept of windows to count such, if anything is.
    #[must_use]
    pub fn kind(self) -> Option<WindowKind> {
        match self {
            Self::Events => Some(WindowKind::Events),
            Self::Days => Some(WindowKind::Days),
            Self::Units(_) => None,
        }
    }
}

/// Visits users with what is to be added to their counts; that can be nothing.
fn count(
    index: &EventIndex,
    counted: Counted<'_>,
    (from, to): (i64, i64),
    seen: &mut Block,
    mut visit: impl FnMut(u16, u32),
) {
    match counted {
        Counted::Events => {
            for (day, _, part) in index.parts(from, to) {
                day.counts(part, &mut visit);
            }
        }
        Counted::Days => {
            for (day, _, part) in index.parts(from, to) {
                day.users(part, |user| visit(user, 1));
            }
        }
        Counted::Units(starts) => {
            for (from, to) in units(starts, from, to) {
                let mut any = false;
                for (day, _, part) in index.parts(from, to) {
                    any = true;
                    day.users(part, |user| {
                        seen.insert(user);
                    });
                }
                if any {
                    seen.ones().for_each(|user| visit(user, 1));
                    seen.clear();
                }
            }
        }
    }
}

/// The stretches that begin at `from` and at each start between it and `to`.
fn units(starts: &[i64], from: i64, to: i64) -> impl Iterator<Item = (i64, i64)> {
    let inside = starts
        .iter()
        .copied()
        .filter(move |start| from < *start && *start < to);
    let ends = inside.clone().chain([to]);
    [from].into_iter().chain(inside).zip(ends)
}

/// Visits each amount in a window by its user.
fn each_amount(index: &EventIndex, (from, to): (i64, i64), mut visit: impl FnMut(u16, i64)) {
    for (day, _, part) in index.parts(from, to) {
        day.amounts(part, |user, amount| {
            if let Some(amount) = amount {
                visit(user, amount);
            }
        });
    }
}

/// Makes a block hold the users who pass.
fn fill(target: &mut Block, passes: impl Fn(usize) -> bool) {
    for (place, word) in target.words_mut().iter_mut().enumerate() {
        *word = (0..64).fold(0, |bits, bit| {
            bits | u64::from(passes(place * 64 + bit)) << bit
        });
    }
}

/// What one user did in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserTally {
    /// How many events.
    pub events: u64,
    /// How many of them have an amount.
    pub amounts: u64,
    /// The sum of the amounts in millionths.
    pub sum: i128,
    /// The least amount in millionths.
    pub least: Option<i64>,
    /// The greatest amount in millionths.
    pub greatest: Option<i64>,
}

impl EventIndex {
    /// Whether no sum of amounts, each of which a number was taken from, needs more than 64 bits.
    fn sums_fit(&self, taken: u64) -> bool {
        let largest = u128::from(self.largest_amount) + u128::from(taken);
        let largest = largest * u128::from(self.len());
        i64::try_from(largest).is_ok()
    }

    /// What a user did from `from` on and before `to`.
    #[must_use]
    pub fn tally_of(&self, user: u16, from: i64, to: i64) -> UserTally {
        let mut tally = UserTally::default();
        self.events_of(user, from, to, |_, amount| {
            tally.events += 1;
            if let Some(amount) = amount {
                tally.amounts += 1;
                tally.sum += i128::from(amount);
                tally.least = Some(tally.least.map_or(amount, |least| least.min(amount)));
                tally.greatest = tally.greatest.max(Some(amount));
            }
        });
        tally
    }

    /// How many of the stretches that begin at `from` and at each of `starts` have events of a user
    /// before `to`.
    #[must_use]
    pub fn units_of(&self, user: u16, counted: Counted<'_>, from: i64, to: i64) -> u64 {
        match counted {
            Counted::Events => self.count_of(user, from, to),
            Counted::Days => {
                let days = self.parts(from, to);
                let active = days.filter(|(day, _, part)| day.count_of(user, *part) > 0);
                active.count() as u64
            }
            Counted::Units(starts) => {
                let mut count = 0;
                let mut next = from;
                self.events_of(user, from, to, |time, _| {
                    if time >= next {
                        count += 1;
                        let later = starts.partition_point(|start| *start <= time);
                        next = starts.get(later).copied().unwrap_or(i64::MAX);
                    }
                });
                count
            }
        }
    }
}
