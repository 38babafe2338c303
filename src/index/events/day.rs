//! The events of one name, day and shard.
//!
//! Invariant: pages are never empty, and their events are in the order of users and times from the
//! first page to the last.

use super::page::{Entry, PAGE_EVENTS, Page};

/// Microseconds of a day in UTC.
pub(super) const DAY: i64 = 86_400_000_000;

/// A part of a day, in microseconds since it began: from the first on, before the second.
pub(super) type Part = (i64, i64);

/// All of a day.
pub(super) const WHOLE: Part = (0, DAY);

/// The events of one day.
#[derive(Clone, Debug, Default)]
pub(super) struct Day {
    pages: Vec<Page>,
    /// No event is earlier or later than these: since the day began, both ends included. `None`
    /// where there are none.
    bounds: Option<(i64, i64)>,
}

impl Day {
    /// The day with events that are in order.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let times = || entries.iter().map(|entry| entry.time);
        Self {
            pages: entries.chunks(PAGE_EVENTS).map(Page::of).collect(),
            bounds: times().min().zip(times().max()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.pages.iter().map(Page::len).sum()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.pages.iter().flat_map(Page::entries)
    }

    /// The part of the day that the events between two times have to be looked for in: `None` if
    /// there are none, all of it if all are between.
    pub(super) fn part(&self, from: i64, to: i64) -> Option<Part> {
        let (first, last) = self.bounds?;
        if to <= first || last < from {
            None
        } else if from <= first && last < to {
            Some(WHOLE)
        } else {
            Some((from, to))
        }
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let (first, last) = self.bounds.unwrap_or((entry.time, entry.time));
        self.bounds = Some((first.min(entry.time), last.max(entry.time)));
        let key = Some((entry.user, entry.time));
        let behind = self.pages.partition_point(|page| page.first_key() <= key);
        let place = behind.saturating_sub(1);
        // Between two pages, the one that has room: those that come backwards would else get a page
        // each.
        if let Some([before, after]) = self.pages.get_mut(place..place + 2)
            && before.is_full()
            && !after.is_full()
            && before.last_key() <= key
        {
            after.insert(entry);
            return;
        }
        let Some(page) = self.pages.get_mut(place) else {
            self.pages.push(Page::of(&[entry]));
            return;
        };
        if !page.is_full() {
            page.insert(entry);
            return;
        }
        let mut second = page.split(&entry);
        if second.first_key().is_none_or(|first| Some(first) <= key) {
            second.insert(entry);
        } else {
            page.insert(entry);
        }
        self.pages.insert(place + 1, second);
    }

    /// Takes the events of a user away; returns how many there were.
    pub(super) fn remove_user(&mut self, user: u16) -> usize {
        let mut removed = 0;
        for page in &mut self.pages {
            let is_there = page.first_user() <= Some(user) && Some(user) <= page.last_user();
            removed += if is_there { page.remove_user(user) } else { 0 };
        }
        self.pages.retain(|page| page.len() > 0);
        if self.is_empty() {
            self.bounds = None;
        }
        removed
    }

    /// The pages that can have events of a user.
    fn pages_of(&self, user: u16) -> impl Iterator<Item = &Page> {
        let first = self
            .pages
            .partition_point(|page| page.last_user() < Some(user));
        let pages = self.pages.get(first..).unwrap_or_default().iter();
        pages.take_while(move |page| page.first_user() <= Some(user))
    }

    /// Each user with how many events of a part of the day; a user can come more than once, and can
    /// have none.
    #[inline]
    pub(super) fn counts(&self, part: Part, mut visit: impl FnMut(u16, u32)) {
        self.pages.iter().for_each(Page::touch);
        for page in &self.pages {
            if part == WHOLE {
                page.counts(&mut visit);
            } else {
                page.counts_between(part.0, part.1, &mut visit);
            }
        }
    }

    /// Each user who has events of a part of the day, once.
    pub(super) fn users(&self, part: Part, mut visit: impl FnMut(u16)) {
        let mut before = None;
        self.counts(part, |user, count| {
            if count > 0 && before.replace(user) != Some(user) {
                visit(user);
            }
        });
    }

    /// Each event of a part of the day, by user and amount.
    #[inline]
    pub(super) fn amounts(&self, part: Part, mut visit: impl FnMut(u16, Option<i64>)) {
        for page in &self.pages {
            if part == WHOLE {
                page.amounts(&mut visit);
            } else {
                page.amounts_between(part.0, part.1, &mut visit);
            }
        }
    }

    /// Each event of a part of the day, by user and time since the day began.
    pub(super) fn times(&self, part: Part, mut visit: impl FnMut(u16, i64)) {
        for page in &self.pages {
            page.events_between(part.0, part.1, |user, time, _| visit(user, time));
        }
    }

    /// Each event of a user in a part of the day, by its time since the day began and its amount,
    /// the earliest first.
    pub(super) fn events_of(&self, user: u16, part: Part, mut visit: impl FnMut(i64, Option<i64>)) {
        for page in self.pages_of(user) {
            page.user_events_between(user, part.0, part.1, &mut |_, time, amount| {
                visit(time, amount);
            });
        }
    }

    /// How many events of a part of the day a user has.
    pub(super) fn count_of(&self, user: u16, part: Part) -> u32 {
        if part == WHOLE {
            return self.pages_of(user).map(|page| page.count_of(user)).sum();
        }
        let mut count = 0;
        self.events_of(user, part, |_, _| count += 1);
        count
    }

    /// Whether a user has an event with an id, from `from` on and not after `last`.
    pub(super) fn has_id(&self, user: u16, id: u64, from: i64, last: i64) -> bool {
        self.pages_of(user)
            .any(|page| page.has_id(user, id, from, last))
    }

    /// Whether the events are in order, within the bounds and of this day, which they always are.
    pub(super) fn is_sound(&self) -> bool {
        let keys = self.entries().map(|entry| (entry.user, entry.time));
        let within = |time: i64| {
            self.bounds
                .is_some_and(|(first, last)| first <= time && time <= last)
                && (0..DAY).contains(&time)
        };
        keys.is_sorted()
            && self.pages.iter().all(|page| page.len() > 0)
            && self.entries().all(|entry| within(entry.time))
    }

    /// Bytes of memory on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let pages = self.pages.iter().map(Page::heap_bytes);
        self.pages.capacity() * size_of::<Page>() + pages.sum::<usize>()
    }
}
