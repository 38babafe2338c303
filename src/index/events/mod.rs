//! The events of one name in one shard, by day.
//!
//! A question about a window touches the days of the window and, on each, the users who did
//! something: whole days by their counts alone, the two days that a window cuts through event by
//! event, so that it is exact to the microsecond. Days are those of UTC; the days, weeks and months
//! of a zone are told apart by the times of the events.
//!
//! Invariant: days are in order and none is empty; what is kept of a window is what a recount of its
//! days would give.

mod day;
mod encode;
mod find;
mod kept;
mod packed;
mod page;
mod tally;
#[cfg(test)]
mod tests;

pub use kept::{KeptWindow, WindowKind};
pub use page::StoredEvent;
pub use tally::{AmountTest, Counted, Extreme, Tally, UserTally};

pub(super) use encode::{decode_events, encode_events};

use day::{DAY, Day, Part};
use kept::KeptCounts;
use page::Entry;

/// How far from its time an event is looked for that has the same id, in microseconds.
const DUPLICATE_REACH: i64 = DAY;

/// The number of the day that an instant is in, in microseconds since 1970.
#[must_use]
pub const fn day_of(time: i64) -> i32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "2^63 microseconds are 107 million days"
    )]
    let day = time.div_euclid(DAY) as i32;
    day
}

/// The first instant of a day, in microseconds since 1970.
#[must_use]
pub const fn day_start(day: i32) -> i64 {
    (day as i64).saturating_mul(DAY)
}

/// The events of one name.
#[derive(Clone, Debug, Default)]
pub struct EventIndex {
    days: Vec<(i32, Day)>,
    kept: Vec<KeptCounts>,
    /// No amount is larger than this, either way.
    largest_amount: u64,
}

impl EventIndex {
    /// Whether there are no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.days.iter().map(|(_, day)| day.len() as u64).sum()
    }

    /// The first day with events.
    #[must_use]
    pub fn oldest_day(&self) -> Option<i32> {
        self.days.first().map(|(number, _)| *number)
    }

    /// Adds an event of a live user, unless the user has one with the same id not more than a day
    /// from it. Returns whether it was added.
    pub fn insert(&mut self, user: u16, event: StoredEvent) -> bool {
        if event.id != 0 && self.has_near(user, &event) {
            return false;
        }
        let number = day_of(event.time);
        let place = self.days.binary_search_by_key(&number, |(day, _)| *day);
        let place = place.unwrap_or_else(|place| {
            self.days.insert(place, (number, Day::default()));
            place
        });
        let day = &mut self.days[place].1;
        self.kept
            .iter_mut()
            .for_each(|kept| kept.add(user, event.time - day_start(number), number, day));
        let amount = event.amount.map_or(0, i64::unsigned_abs);
        self.largest_amount = self.largest_amount.max(amount);
        day.insert(Entry {
            user,
            time: event.time - day_start(number),
            amount: event.amount,
            id: event.id,
        });
        true
    }

    fn has_near(&self, user: u16, event: &StoredEvent) -> bool {
        let from = event.time.saturating_sub(DUPLICATE_REACH);
        let last = event.time.saturating_add(DUPLICATE_REACH);
        self.days_between(from, last.saturating_add(1))
            .iter()
            .any(|(number, day)| {
                let start = day_start(*number);
                day.has_id(user, event.id, from - start, last - start)
            })
    }

    /// Takes all events of a user away; returns how many there were.
    pub fn remove_user(&mut self, user: u16) -> u64 {
        let mut removed = 0;
        for (_, day) in &mut self.days {
            removed += day.remove_user(user) as u64;
        }
        if removed > 0 {
            self.days.retain(|(_, day)| !day.is_empty());
            self.kept.iter_mut().for_each(|kept| kept.clear(user));
        }
        removed
    }

    /// Takes all events before a day away; returns how many there were.
    pub fn drop_before(&mut self, day: i32) -> u64 {
        let old = self.days.partition_point(|(number, _)| *number < day);
        let dropped = self.days.drain(..old);
        let dropped = dropped.map(|(_, day)| day.len() as u64).sum();
        if dropped > 0 {
            let kept = std::mem::take(&mut self.kept).into_iter();
            let anew = kept.map(|kept| {
                let window = kept.window();
                // The day before it is kept as well.
                if window.from_day <= day {
                    KeptCounts::of(window, &self.days)
                } else {
                    kept
                }
            });
            self.kept = anew.collect();
        }
        dropped
    }

    /// The days that have instants from `from` on and before `to`.
    fn days_between(&self, from: i64, to: i64) -> &[(i32, Day)] {
        let first = self
            .days
            .partition_point(|(number, _)| *number < day_of(from));
        let end = self
            .days
            .partition_point(|(number, _)| *number <= day_of(to.saturating_sub(1)));
        self.days.get(first..end).unwrap_or_default()
    }

    /// How many days with events there are from that of an instant on: so many are looked at, at most,
    /// to find an event of a user.
    #[must_use]
    pub fn days_from(&self, from: i64) -> usize {
        self.days_between(from, i64::MAX).len()
    }

    /// The parts of days that lie between two instants and have events.
    fn parts(&self, from: i64, to: i64) -> impl Iterator<Item = (&Day, i32, Part)> {
        let days = self.days_between(from, to).iter();
        days.filter_map(move |(number, day)| {
            let start = day_start(*number);
            let part = day.part(from.saturating_sub(start), to.saturating_sub(start))?;
            Some((day, *number, part))
        })
    }

    /// Each event of a user from `from` on and before `to`, the earliest first: its time in
    /// microseconds since 1970, and its amount in millionths.
    pub fn events_of(
        &self,
        user: u16,
        from: i64,
        to: i64,
        mut visit: impl FnMut(i64, Option<i64>),
    ) {
        for (day, number, part) in self.parts(from, to) {
            let start = day_start(number);
            day.events_of(user, part, |time, amount| visit(start + time, amount));
        }
    }

    /// Each event from `from` on and before `to`: its user, and its time in microseconds since 1970.
    /// In no order.
    pub fn times_between(&self, from: i64, to: i64, mut visit: impl FnMut(u16, i64)) {
        for (day, number, part) in self.parts(from, to) {
            let start = day_start(number);
            day.times(part, |user, time| visit(user, start + time));
        }
    }

    /// How many events a user has from `from` on and before `to`.
    #[must_use]
    pub fn count_of(&self, user: u16, from: i64, to: i64) -> u64 {
        if let Some(kept) = self.kept_within(WindowKind::Events, from, to)
            && let Some(within) = kept.exact(user)
        {
            let window = kept.window();
            let count = |from, to| self.recount_of(user, from, to);
            return u64::from(within)
                + count(from, day_start(window.from_day))
                + count(day_start(window.to_day), to);
        }
        self.recount_of(user, from, to)
    }

    fn recount_of(&self, user: u16, from: i64, to: i64) -> u64 {
        let counts = self
            .parts(from, to)
            .map(|(day, _, part)| u64::from(day.count_of(user, part)));
        counts.sum()
    }

    /// Everybody who has events.
    pub fn for_each_user(&self, mut visit: impl FnMut(u16)) {
        for (_, day) in &self.days {
            day.counts(day::WHOLE, |user, _| visit(user));
        }
    }

    /// How many days hold events that are not in order, or are empty: none, ever.
    #[must_use]
    pub fn unsound_days(&self) -> u64 {
        let sound = |(_, day): &&(i32, Day)| !day.is_empty() && day.is_sound();
        let unsound = self.days.iter().filter(|day| !sound(day)).count();
        let in_order = self.days.iter().is_sorted_by(|(a, _), (b, _)| a < b);
        unsound as u64 + u64::from(!in_order)
    }

    /// How many events have an amount beyond what is said to be the largest: none, ever.
    #[must_use]
    pub fn unsound_amounts(&self) -> u64 {
        let mut larger = 0;
        for (_, day) in &self.days {
            day.amounts(day::WHOLE, |_, amount| {
                let amount = amount.map_or(0, i64::unsigned_abs);
                larger += u64::from(amount > self.largest_amount);
            });
        }
        larger
    }

    /// For how many users something that is kept of a window is not what a recount gives: none, ever.
    #[must_use]
    pub fn unsound_windows(&self) -> u64 {
        let wrong = self.kept.iter().map(|kept| {
            let window = kept.window();
            kept.differences(&KeptCounts::of(window, &self.days))
        });
        wrong.sum()
    }

    /// Keeps the counts of a window from now on, and only those of `windows` beside them.
    pub fn keep(&mut self, window: KeptWindow, windows: &[KeptWindow]) {
        self.keep_only(windows);
        if self.kept.iter().all(|kept| kept.window() != window) {
            let counts = KeptCounts::of(window, &self.days);
            self.kept.push(counts);
        }
    }

    /// Whether the counts of these windows are kept, and of no others.
    #[must_use]
    pub fn keeps_only(&self, windows: &[KeptWindow]) -> bool {
        let all = |window: &KeptWindow| self.kept.iter().any(|kept| kept.window() == *window);
        self.kept.len() == windows.len() && windows.iter().all(all)
    }

    /// Keeps of the counts of windows only those of these.
    pub fn keep_only(&mut self, windows: &[KeptWindow]) {
        self.kept.retain(|kept| windows.contains(&kept.window()));
    }

    /// What is kept of the whole days between two instants.
    fn kept_within(&self, kind: WindowKind, from: i64, to: i64) -> Option<&KeptCounts> {
        if self.kept.is_empty() {
            return None;
        }
        let window = KeptWindow::within(kind, from, to)?;
        self.kept.iter().find(|kept| kept.window() == window)
    }

    /// Bytes of memory on the heap: of the events, and of what is kept of windows.
    #[must_use]
    pub fn heap_bytes(&self) -> (usize, usize) {
        let days = self.days.iter().map(|(_, day)| day.heap_bytes());
        let events = self.days.capacity() * size_of::<(i32, Day)>() + days.sum::<usize>();
        (events, self.kept.iter().map(KeptCounts::heap_bytes).sum())
    }
}

/// How a test breaks what is always so.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) enum Broken {
    OrderOfDays,
    OrderOfEvents,
    EmptyDay,
    TimeBeyondDay,
    KeptCount,
    LargestAmount,
}

#[cfg(test)]
impl EventIndex {
    /// Breaks what is always so behind the back of everything else. Needs two days of events, the
    /// first with two, and a kept window.
    pub(super) fn break_what_is_so(&mut self, how: Broken) {
        let mut entries: Vec<Entry> = self.days[0].1.entries().collect();
        match how {
            Broken::OrderOfDays => self.days.swap(0, 1),
            Broken::OrderOfEvents => {
                entries.swap(0, 1);
                self.days[0].1 = Day::of(&entries);
            }
            Broken::EmptyDay => self.days.push((i32::MAX, Day::default())),
            Broken::TimeBeyondDay => {
                let last = entries.last_mut().expect("events");
                last.time = DAY;
                self.days[0].1 = Day::of(&entries);
            }
            Broken::KeptCount => self.kept[0].clear(7),
            Broken::LargestAmount => self.largest_amount = 0,
        }
    }
}
