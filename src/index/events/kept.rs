//! Counts of whole days that are asked for again and again, kept up to date by every event.
//!
//! Invariant: what is kept is what a recount of the days would give, up to the largest number that
//! it can hold. It is derived from the days: no snapshot has it.

use super::day::{DAY, Day, WHOLE};
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

    pub(super) fn instants(self) -> (i64, i64) {
        (day_start(self.from_day), day_start(self.to_day))
    }
}

/// A count for each user of a shard. 255 stands for that many or more.
#[derive(Clone, Debug)]
pub(super) struct Counts(Box<[u8; USERS]>);

impl Default for Counts {
    fn default() -> Self {
        Self(Box::new([0; USERS]))
    }
}

impl Counts {
    pub(super) fn numbers(&self) -> &[u8; USERS] {
        &self.0
    }

    pub(super) fn reset(&mut self) {
        self.0.fill(0);
    }

    pub(super) fn copy_from(&mut self, other: &Self) {
        self.0.copy_from_slice(&*other.0);
    }

    /// Adds to the count of a user, up to the largest that can be held.
    #[inline]
    pub(super) fn add(&mut self, user: u16, count: u32) {
        let counted = &mut self.0[usize::from(user)];
        *counted = counted.saturating_add(u8::try_from(count).unwrap_or(u8::MAX));
    }
}

/// The counts of a window, for each user of the shard.
#[derive(Clone, Debug)]
pub(super) struct KeptCounts {
    window: KeptWindow,
    counts: Counts,
}

impl KeptCounts {
    pub(super) fn of<'a>(window: KeptWindow, days: impl Iterator<Item = &'a Day>) -> Self {
        let mut counts = Counts::default();
        for day in days {
            match window.kind {
                WindowKind::Events => {
                    day.counts(WHOLE, |user, count| counts.add(user, count));
                }
                WindowKind::Days => day.users(WHOLE, |user| counts.add(user, 1)),
            }
        }
        Self { window, counts }
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

    /// Counts an event of a user that is about to be added to a day.
    pub(super) fn add(&mut self, user: u16, number: i32, day: &Day) {
        let KeptWindow {
            kind,
            from_day,
            to_day,
        } = self.window;
        if number < from_day || number >= to_day {
            return;
        }
        if kind == WindowKind::Events || day.count_of(user, WHOLE) == 0 {
            self.counts.add(user, 1);
        }
    }

    pub(super) fn clear(&mut self, user: u16) {
        self.counts.0[usize::from(user)] = 0;
    }

    /// For how many users two counts of one window differ.
    pub(super) fn differences(&self, other: &Self) -> u64 {
        let both = self.counts.0.iter().zip(&*other.counts.0);
        both.filter(|(a, b)| a != b).count() as u64
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(self.counts.numbers())
    }
}
