//! Some events of one name, day and shard, in the order of their users and, for each user, of their
//! times.
//!
//! Invariant: every user that is listed has at least one event; times are those since the day
//! began. A page is so small that an event is put between others by moving some kilobytes.

use std::ops::Not;

use super::packed::{Codes, Packed, each_width, make_room};

/// Events of a full page. Few in tests, so that these cross from page to page.
pub(super) const PAGE_EVENTS: usize = if cfg!(test) { 16 } else { 1_024 };

/// One event as the index holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// When, in microseconds since 1970.
    pub time: i64,
    /// How much, in millionths.
    pub amount: Option<i64>,
    /// Stands for the id; 0 if it has none.
    pub id: u64,
}

/// An event by user, microseconds since the beginning of the day, amount and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) user: u16,
    pub(super) time: i64,
    pub(super) amount: Option<i64>,
    pub(super) id: u64,
}

impl Entry {
    fn key(&self) -> (u16, i64) {
        (self.user, self.time)
    }
}

/// The codes of a list that lie between two: from the first to the last, both included.
fn narrowed<T>(_: &[T], (first, last): (u64, u64)) -> Option<(T, T)>
where
    T: Copy + Default + Not<Output = T> + TryFrom<u64>,
{
    let greatest = !T::default();
    let first = T::try_from(first).ok()?;
    Some((first, T::try_from(last).unwrap_or(greatest)))
}

/// Events of some users, in one of two forms: users who come once or twice are listed for each of
/// their events, users who come more often once, with where their events end.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    /// The user of each event or, if there are ends, each user.
    users: Vec<u16>,
    /// Where the events of each user end; empty if users are listed for each event.
    ends: Vec<u16>,
    times: Packed,
    amounts: Packed,
    /// Empty if no event has an id.
    ids: Vec<u64>,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a page has no more than PAGE_EVENTS events"
)]
impl Page {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut page = Self {
            times: Packed::of(&entries.iter().map(|e| Some(e.time)).collect::<Vec<_>>()),
            amounts: Packed::of(&entries.iter().map(|e| e.amount).collect::<Vec<_>>()),
            ..Self::default()
        };
        if entries.iter().any(|entry| entry.id != 0) {
            page.ids = entries.iter().map(|entry| entry.id).collect();
        }
        let groups = || entries.chunk_by(|a, b| a.user == b.user);
        if groups().count() * 2 < entries.len() {
            for same in groups() {
                page.users.push(same[0].user);
                let before = page.ends.last().copied().unwrap_or(0);
                page.ends.push(before + same.len() as u16);
            }
            page.users.shrink_to_fit();
            page.ends.shrink_to_fit();
        } else {
            page.users = entries.iter().map(|entry| entry.user).collect();
        }
        page
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= PAGE_EVENTS
    }

    fn entry(&self, user: u16, position: usize) -> Entry {
        Entry {
            user,
            time: self.times.get(position).unwrap_or_default(),
            amount: self.amounts.get(position),
            id: self.ids.get(position).copied().unwrap_or(0),
        }
    }

    /// Where the events that belong to a place in the list of users begin and end.
    fn range(&self, place: usize) -> (usize, usize) {
        match self.ends.get(place) {
            None => (place, place + 1),
            Some(end) => {
                let begin = place.checked_sub(1).map_or(0, |before| self.ends[before]);
                (usize::from(begin), usize::from(*end))
            }
        }
    }

    /// Where the events of a user begin and end: where they would if there are none.
    fn range_of(&self, user: u16) -> (usize, usize) {
        let place = self.users.partition_point(|other| *other < user);
        let same = self.users[place..].iter();
        if self.ends.is_empty() {
            let count = same.take_while(|other| **other == user).count();
            return (place, place + count);
        }
        match self.users.get(place) {
            Some(other) if *other == user => self.range(place),
            Some(_) => (self.range(place).0, self.range(place).0),
            None => (self.len(), self.len()),
        }
    }

    /// The user and time of the first event.
    pub(super) fn first_key(&self) -> Option<(u16, i64)> {
        let user = *self.users.first()?;
        Some(self.entry(user, 0).key())
    }

    /// The user and time of the last event.
    pub(super) fn last_key(&self) -> Option<(u16, i64)> {
        let user = *self.users.last()?;
        Some(self.entry(user, self.len() - 1).key())
    }

    pub(super) fn first_user(&self) -> Option<u16> {
        self.users.first().copied()
    }

    pub(super) fn last_user(&self) -> Option<u16> {
        self.users.last().copied()
    }

    /// All events, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.users
            .iter()
            .enumerate()
            .flat_map(move |(place, &user)| {
                let (begin, end) = self.range(place);
                (begin..end).map(move |position| self.entry(user, position))
            })
    }

    /// Puts an event behind those of the same user and time.
    pub(super) fn insert(&mut self, entry: Entry) {
        let (begin, end) = self.range_of(entry.user);
        let later = |position: &usize| self.times.get(*position) > Some(entry.time);
        let position = (begin..end).find(later).unwrap_or(end);
        if self.ends.is_empty() {
            make_room(&mut self.users);
            self.users.insert(position, entry.user);
        } else {
            let place = self.users.partition_point(|other| *other < entry.user);
            if begin == end {
                make_room(&mut self.users);
                self.users.insert(place, entry.user);
                make_room(&mut self.ends);
                self.ends.insert(place, position as u16);
            }
            for end in self.ends.get_mut(place..).unwrap_or_default() {
                *end += 1;
            }
        }
        self.times.insert(position, Some(entry.time));
        self.amounts.insert(position, entry.amount);
        if entry.id != 0 && self.ids.is_empty() {
            self.ids = vec![0; self.len() - 1];
        }
        if entry.id != 0 || !self.ids.is_empty() {
            make_room(&mut self.ids);
            self.ids.insert(position, entry.id);
        }
    }

    /// Makes two pages of a full one. Events that come in order leave full pages behind: then the
    /// second one is empty.
    pub(super) fn split(&mut self, next: &Entry) -> Self {
        let entries: Vec<Entry> = self.entries().collect();
        let is_behind_all = entries.last().is_some_and(|last| last.key() <= next.key());
        let middle = if is_behind_all {
            entries.len()
        } else {
            entries.len() / 2
        };
        *self = Self::of(&entries[..middle]);
        Self::of(&entries[middle..])
    }

    /// Takes the events of a user away; returns how many there were.
    pub(super) fn remove_user(&mut self, user: u16) -> usize {
        if self.users.binary_search(&user).is_err() {
            return 0;
        }
        let before = self.len();
        let others: Vec<Entry> = self.entries().filter(|e| e.user != user).collect();
        *self = Self::of(&others);
        before - self.len()
    }

    /// Reads some of the list of users, so that all of it is on its way from memory at once.
    #[inline]
    pub(super) fn touch(&self) {
        let first_of_lines = self.users.iter().step_by(32);
        std::hint::black_box(first_of_lines.fold(0, |all, user| all ^ user));
    }

    /// Each user with how many events; a user can come more than once.
    #[inline]
    pub(super) fn counts(&self, mut visit: impl FnMut(u16, u32)) {
        if self.ends.is_empty() {
            for &user in &self.users {
                visit(user, 1);
            }
            return;
        }
        let mut begin = 0;
        for (&user, &end) in self.users.iter().zip(&self.ends) {
            visit(user, u32::from(end - begin));
            begin = end;
        }
    }

    /// Each user with how many events there are from `from` on and before `to`, in microseconds
    /// since the beginning of the day. A user can come more than once, and can have none.
    #[inline]
    pub(super) fn counts_between(&self, from: i64, to: i64, mut visit: impl FnMut(u16, u32)) {
        each_width!(self.times.codes(), times => {
            let codes = self.times.codes_between(from, to);
            let Some((first, last)) = codes.and_then(|codes| narrowed(times, codes)) else {
                return;
            };
            if self.ends.is_empty() {
                for (&user, &time) in self.users.iter().zip(times) {
                    // Not `&&`, which would be a branch that nobody can guess.
                    visit(user, u32::from(first <= time) & u32::from(time <= last));
                }
                return;
            }
            let mut begin = 0;
            for (&user, &end) in self.users.iter().zip(&self.ends) {
                let times = &times[begin..usize::from(end)];
                let between = times.iter().filter(|&&time| first <= time && time <= last);
                visit(user, between.count() as u32);
                begin = usize::from(end);
            }
        }, Codes::Same(time, _) => {
            if time.is_some_and(|time| from <= time && time < to) {
                self.counts(visit);
            }
        });
    }

    /// Each event from `from` on and before `to`, in microseconds since the beginning of the day,
    /// by its user and amount.
    pub(super) fn amounts_between(
        &self,
        from: i64,
        to: i64,
        mut visit: impl FnMut(u16, Option<i64>),
    ) {
        each_width!(self.times.codes(), times => {
            let codes = self.times.codes_between(from, to);
            let Some((first, last)) = codes.and_then(|codes| narrowed(times, codes)) else {
                return;
            };
            for (place, &user) in self.users.iter().enumerate() {
                let (begin, end) = self.range(place);
                for (position, time) in (begin..).zip(&times[begin..end]) {
                    if first <= *time && *time <= last {
                        visit(user, self.amounts.get(position));
                    }
                }
            }
        }, Codes::Same(time, _) => {
            if time.is_some_and(|time| from <= time && time < to) {
                self.amounts(visit);
            }
        });
    }

    /// Each event from `from` on and before `to`, in microseconds since the beginning of the day:
    /// its user, time and amount.
    pub(super) fn events_between(
        &self,
        from: i64,
        to: i64,
        mut visit: impl FnMut(u16, i64, Option<i64>),
    ) {
        for (place, &user) in self.users.iter().enumerate() {
            self.visit_range(user, self.range(place), (from, to), &mut visit);
        }
    }

    fn visit_range(
        &self,
        user: u16,
        (begin, end): (usize, usize),
        (from, to): (i64, i64),
        visit: &mut impl FnMut(u16, i64, Option<i64>),
    ) {
        for position in begin..end {
            let time = self.times.get(position).unwrap_or_default();
            if from <= time && time < to {
                visit(user, time, self.amounts.get(position));
            }
        }
    }

    /// Each event, without its time: its user and amount.
    #[inline]
    pub(super) fn amounts(&self, mut visit: impl FnMut(u16, Option<i64>)) {
        if self.ends.is_empty() {
            let mut users = self.users.iter();
            self.amounts.for_each(|amount| {
                if let Some(user) = users.next() {
                    visit(*user, amount);
                }
            });
            return;
        }
        let (mut place, mut position) = (0, 0);
        self.amounts.for_each(|amount| {
            place += usize::from(position >= self.ends[place]);
            position += 1;
            visit(self.users[place], amount);
        });
    }

    /// The events of one user from `from` on and before `to`: the user, time and amount of each.
    pub(super) fn user_events_between(
        &self,
        user: u16,
        from: i64,
        to: i64,
        visit: &mut impl FnMut(u16, i64, Option<i64>),
    ) {
        self.visit_range(user, self.range_of(user), (from, to), visit);
    }

    /// How many events a user has.
    pub(super) fn count_of(&self, user: u16) -> u32 {
        let (begin, end) = self.range_of(user);
        (end - begin) as u32
    }

    /// Whether a user has an event with an id, from `from` on and not after `last`.
    pub(super) fn has_id(&self, user: u16, id: u64, from: i64, last: i64) -> bool {
        if self.ids.is_empty() {
            return false;
        }
        let (begin, end) = self.range_of(user);
        // Nearly always there is none, which is found out for many ids at once.
        let ids = &self.ids[begin..end];
        if ids.iter().filter(|other| **other == id).count() == 0 {
            return false;
        }
        (begin..end).any(|position| {
            let time = self.times.get(position);
            self.ids[position] == id && time >= Some(from) && time <= Some(last)
        })
    }

    /// Bytes of memory on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.users.capacity() + self.ends.capacity()) * 2
            + self.ids.capacity() * 8
            + self.times.heap_bytes()
            + self.amounts.heap_bytes()
    }
}
