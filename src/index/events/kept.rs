//! Counts of whole days that are asked for again and again, kept up to date by every event.
//!
//! Invariant: what is kept is what a recount of the days would give, up to the largest number that
//! it can hold. It is derived from the days: no snapshot has it.

use super::day::{DAY, Day, WHOLE};
use super::packed::{Packed, make_room};
use super::{day_of, day_start};
use crate::index::SHARD_USERS;

const USERS: usize = SHARD_USERS as usize;

/// What is counted of the days of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowKind {
    /// How many events a user has.
    Events,
    /// On how many of the days a user has any.
    Days,
}

/// Whole days of which counts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeptWindow {
    /// What is counted.
    pub kind: WindowKind,
    /// The first day.
    pub from_day: i32,
    /// The first day after.
    pub to_day: i32,
}

/// So few days are counted as fast as what is kept of them is read.
const FEWEST_DAYS: i32 = 3;

impl KeptWindow {
    /// The whole days that lie between two instants, in microseconds since 1970; `None` if they are
    /// too few to be kept.
    #[must_use]
    pub fn within(kind: WindowKind, from: i64, to: i64) -> Option<Self> {
        let from_day = day_of(from.saturating_add(DAY - 1));
        let to_day = day_of(to);
        (to_day.saturating_sub(from_day) >= FEWEST_DAYS).then_some(Self {
            kind,
            from_day,
            to_day,
        })
    }

    /// The days that windows with these whole days cut through, if it matters which events of
    /// theirs are within: the one before and the one after.
    fn cut_days(self) -> [Option<i32>; 2] {
        match self.kind {
            WindowKind::Events => [self.from_day.checked_sub(1), Some(self.to_day)],
            WindowKind::Days => [None, None],
        }
    }

    pub(super) fn instants(self) -> (i64, i64) {
        (day_start(self.from_day), day_start(self.to_day))
    }
}

/// A count for each user of a shard. 255 stands for that many or more.
#[derive(Clone, Debug)]
pub(super) struct Counts(Box<[u8; USERS]>);

impl Default for Counts {
    fn default() -> Self {
        let zeros = vec![0; USERS].into_boxed_slice();
        Self(zeros.try_into().expect("a count for each user"))
    }
}

impl Counts {
    pub(super) fn numbers(&self) -> &[u8; USERS] {
        &self.0
    }

    pub(super) fn numbers_mut(&mut self) -> &mut [u8; USERS] {
        &mut self.0
    }
}

/// Adds to the count of a user, up to the largest that can be held.
#[inline]
pub(super) fn add(counts: &mut [u8; USERS], user: u16, count: u32) {
    let counted = &mut counts[usize::from(user)];
    *counted = counted.saturating_add(u8::try_from(count).unwrap_or(u8::MAX));
}

/// The events of a day that windows cut through, by time: so what lies within is found without
/// looking at what does not.
#[derive(Clone, Debug, Default)]
struct CutDay {
    /// Microseconds since the day began, ascending; the users of one time ascend.
    times: Packed,
    users: Vec<u16>,
}

impl CutDay {
    fn of(day: &Day) -> Self {
        let mut events: Vec<(i64, u16)> = day.entries().map(|e| (e.time, e.user)).collect();
        events.sort_unstable();
        let times: Vec<Option<i64>> = events.iter().map(|(time, _)| Some(*time)).collect();
        Self {
            times: Packed::of(&times),
            users: events.iter().map(|(_, user)| *user).collect(),
        }
    }

    fn insert(&mut self, time: i64, user: u16) {
        let begin = self.place(time);
        let same = &self.users[begin..self.place(time + 1)];
        let place = begin + same.partition_point(|other| *other <= user);
        self.times.insert(place, Some(time));
        make_room(&mut self.users);
        self.users.insert(place, user);
    }

    fn remove_user(&mut self, user: u16) {
        if !self.users.contains(&user) {
            return;
        }
        let events = self.users.iter().zip(self.times.iter());
        let others = events.filter(|(other, _)| **other != user);
        let (users, times): (Vec<u16>, Vec<Option<i64>>) =
            others.map(|(other, time)| (*other, time)).unzip();
        *self = Self {
            times: Packed::of(&times),
            users,
        };
    }

    /// Where the events from a time on begin.
    fn place(&self, time: i64) -> usize {
        let (mut from, mut to) = (0, self.users.len());
        while from < to {
            let middle = from.midpoint(to);
            if self.times.get(middle) < Some(time) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    fn events(&self) -> impl Iterator<Item = (Option<i64>, u16)> {
        self.times.iter().zip(self.users.iter().copied())
    }

    fn heap_bytes(&self) -> usize {
        self.users.capacity() * 2 + self.times.heap_bytes()
    }
}

/// The counts of a window, for each user of the shard.
#[derive(Clone, Debug)]
pub(super) struct KeptCounts {
    window: KeptWindow,
    counts: Counts,
    /// The day before, and the one after. Empty unless events are counted.
    cut: [CutDay; 2],
}

impl KeptCounts {
    pub(super) fn of(window: KeptWindow, days: &[(i32, Day)]) -> Self {
        let mut counts = Counts::default();
        let numbers = counts.numbers_mut();
        let within = window.from_day..window.to_day;
        for (_, day) in days.iter().filter(|(number, _)| within.contains(number)) {
            match window.kind {
                WindowKind::Events => {
                    day.counts(WHOLE, |user, count| add(numbers, user, count));
                }
                WindowKind::Days => day.users(WHOLE, |user| add(numbers, user, 1)),
            }
        }
        let cut = window.cut_days().map(|cut| {
            let day = days.iter().find(|(number, _)| Some(*number) == cut);
            day.map(|(_, day)| CutDay::of(day)).unwrap_or_default()
        });
        Self {
            window,
            counts,
            cut,
        }
    }

    pub(super) fn window(&self) -> KeptWindow {
        self.window
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The count of a user, if it is not too large to be known.
    pub(super) fn exact(&self, user: u16) -> Option<u8> {
        let count = self.counts.0[usize::from(user)];
        (count < u8::MAX).then_some(count)
    }

    /// The user of each event from `from` on and before `to` that no whole day has; `None` unless
    /// events are counted.
    pub(super) fn users_beside(
        &self,
        from: i64,
        to: i64,
    ) -> Option<impl Iterator<Item = u16> + use<'_>> {
        if self.window.kind != WindowKind::Events {
            return None;
        }
        let [before, after] = &self.cut;
        let first = before.place(from - day_start(self.window.from_day.saturating_sub(1)));
        let end = after.place(to - day_start(self.window.to_day));
        let users = before.users[first..].iter().chain(&after.users[..end]);
        Some(users.copied())
    }

    /// Counts an event of a user, at a time of a day, that is about to be added to the day.
    pub(super) fn add(&mut self, user: u16, time: i64, number: i32, day: &Day) {
        for (cut_day, cut) in self.window.cut_days().iter().zip(&mut self.cut) {
            if *cut_day == Some(number) {
                cut.insert(time, user);
            }
        }
        let KeptWindow {
            kind,
            from_day,
            to_day,
        } = self.window;
        if number < from_day || number >= to_day {
            return;
        }
        if kind == WindowKind::Events || day.count_of(user, WHOLE) == 0 {
            add(self.counts.numbers_mut(), user, 1);
        }
    }

    pub(super) fn clear(&mut self, user: u16) {
        self.counts.0[usize::from(user)] = 0;
        self.cut.iter_mut().for_each(|cut| cut.remove_user(user));
    }

    /// For how many users two counts of one window differ.
    pub(super) fn differences(&self, other: &Self) -> u64 {
        let both = self.counts.0.iter().zip(&*other.counts.0);
        let cut = self.cut.iter().zip(&other.cut);
        let cut = cut.filter(|(a, b)| !a.events().eq(b.events()));
        (both.filter(|(a, b)| a != b).count() + cut.count()) as u64
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let cut = self.cut.iter().map(CutDay::heap_bytes);
        size_of_val(self.counts.numbers()) + cut.sum::<usize>()
    }
}
