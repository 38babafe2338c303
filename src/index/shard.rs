//! One shard: its live users and what is known of them, by property number.
//!
//! Invariant: only live users have values.

use std::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::cells::{Cells, Difference};
use super::codes::CodeIndex;
use super::events::{EventIndex, KeptWindow, StoredEvent};
use super::number::NumberIndex;
use super::posting::Posting;
use super::sets::SetIndex;

/// Which kind of index a property needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// One dictionary code per user.
    Codes,
    /// A set of dictionary codes per user.
    Sets,
    /// One number per user.
    Numbers,
}

/// A value as the index holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A dictionary code.
    Code(u32),
    /// Dictionary codes: at least one, sorted, without repetition.
    Codes(Box<[u32]>),
    /// A number, or the key of a double.
    Number(i64),
}

/// The index of one property in one shard.
#[derive(Clone, Debug)]
pub enum PropertyIndex {
    /// One dictionary code per user.
    Codes(CodeIndex),
    /// A set of dictionary codes per user.
    Sets(SetIndex),
    /// One number per user.
    Numbers(NumberIndex),
}

impl PropertyIndex {
    fn new(kind: IndexKind) -> Self {
        match kind {
            IndexKind::Codes => Self::Codes(CodeIndex::default()),
            IndexKind::Sets => Self::Sets(SetIndex::default()),
            IndexKind::Numbers => Self::Numbers(NumberIndex::default()),
        }
    }

    /// The value of a user.
    #[must_use]
    pub fn get(&self, user: u16) -> Option<Stored> {
        match self {
            Self::Codes(index) => index.get(user).map(Stored::Code),
            Self::Sets(index) => not_empty(&index.get(user)),
            Self::Numbers(index) => index.get(user).map(Stored::Number),
        }
    }

    fn set(&mut self, user: u16, value: Option<Stored>) -> Option<Stored> {
        match (self, value) {
            (Self::Codes(index), Some(Stored::Code(code))) => {
                index.set(user, Some(code)).map(Stored::Code)
            }
            (Self::Sets(index), Some(Stored::Codes(codes))) => not_empty(&index.set(user, &codes)),
            (Self::Numbers(index), Some(Stored::Number(number))) => {
                index.set(user, Some(number)).map(Stored::Number)
            }
            (Self::Codes(index), _) => index.set(user, None).map(Stored::Code),
            (Self::Sets(index), _) => not_empty(&index.set(user, &[])),
            (Self::Numbers(index), _) => index.set(user, None).map(Stored::Number),
        }
    }

    /// Gives users values, one after another, and notes what changes.
    fn set_all(
        &mut self,
        cells: &Cells,
        range: Range<usize>,
        user_of: impl Fn(u32) -> u16,
        difference: &mut Difference,
    ) {
        match (self, cells) {
            (Self::Codes(index), Cells::Codes(cells)) => {
                for &(user, code) in &cells[range] {
                    let before = index.set(user_of(user), code);
                    if before != code {
                        difference.note(before.as_slice(), code.as_slice());
                    }
                }
            }
            (Self::Sets(index), Cells::Sets(cells, codes)) => {
                for (user, set) in &cells[range] {
                    let codes = &codes[set.clone()];
                    let before = index.set(user_of(*user), codes);
                    if before.as_slice() != codes {
                        difference.note(&before, codes);
                    }
                }
            }
            (Self::Numbers(index), Cells::Numbers(cells)) => {
                for &(user, number) in &cells[range] {
                    let before = index.set(user_of(user), number);
                    difference.note_having(before.is_some(), number.is_some());
                }
            }
            // A property keeps the kind that its first value gave it.
            (Self::Codes(_) | Self::Sets(_) | Self::Numbers(_), _) => {}
        }
    }

    /// Reads the values of some users without looking at them. The reads wait for memory together,
    /// which reads that are looked at one after another do not; those that follow find it in the
    /// cache.
    pub fn touch(&self, users: impl Iterator<Item = u16> + Clone) {
        std::hint::black_box(match self {
            Self::Codes(index) => index.touch(users),
            Self::Sets(index) => index.touch(users),
            Self::Numbers(index) => index.touch(users),
        });
    }

    /// How many users have a value.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self {
            Self::Codes(index) => index.present().count(),
            Self::Sets(index) => index.present().count(),
            Self::Numbers(index) => index.count(),
        }
    }
}

fn not_empty(codes: &[u32]) -> Option<Stored> {
    (!codes.is_empty()).then(|| Stored::Codes(codes.into()))
}

/// What a shard holds of one property.
#[derive(Clone, Debug)]
pub struct PropertySlot {
    pub(super) index: PropertyIndex,
    /// The times that callers gave to values, in microseconds since 1970. They outlive the value,
    /// so that an older value does not come back.
    pub(super) times: HashMap<u16, i64, FixedState>,
}

impl PropertySlot {
    pub(super) fn new(index: PropertyIndex) -> Self {
        Self {
            index,
            times: HashMap::default(),
        }
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &PropertyIndex {
        &self.index
    }
}

/// One shard.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    pub(super) live: Posting,
    /// By property number, ascending: numbers are never given twice, so that a list by position
    /// would grow with every property ever deleted.
    pub(super) slots: Vec<(u32, Box<PropertySlot>)>,
    /// By the number of the event's name, ascending. None is empty.
    pub(super) events: Vec<(u32, Box<EventIndex>)>,
}

impl Shard {
    /// The users that exist.
    #[must_use]
    pub fn live(&self) -> &Posting {
        &self.live
    }

    /// Adds a user without values; returns whether it was missing.
    pub fn insert_user(&mut self, user: u16) -> bool {
        self.live.insert(user)
    }

    /// Removes a user; returns its values by property number.
    pub fn remove_user(&mut self, user: u16) -> Vec<(u32, Stored)> {
        self.live.remove(user);
        let mut values = Vec::new();
        for (number, slot) in &mut self.slots {
            slot.times.remove(&user);
            values.extend(slot.index.set(user, None).map(|value| (*number, value)));
        }
        values
    }

    /// What is held of a property; `None` if no user of the shard ever had it.
    #[must_use]
    pub fn slot(&self, property: u32) -> Option<&PropertySlot> {
        let position = self.place(property).ok()?;
        Some(&self.slots[position].1)
    }

    /// The index of a property; `None` if no user of the shard ever had it.
    #[must_use]
    pub fn index(&self, property: u32) -> Option<&PropertyIndex> {
        self.slot(property).map(PropertySlot::index)
    }

    /// How many properties the shard holds anything of.
    #[must_use]
    pub fn properties(&self) -> usize {
        self.slots.len()
    }

    /// The value of a user.
    #[must_use]
    pub fn get(&self, property: u32, user: u16) -> Option<Stored> {
        self.index(property)?.get(user)
    }

    /// Gives a live user a value of the property's kind, or none; returns the one before.
    pub fn set(
        &mut self,
        property: u32,
        kind: IndexKind,
        user: u16,
        value: Option<Stored>,
    ) -> Option<Stored> {
        if value.is_none() && self.slot(property).is_none() {
            return None;
        }
        self.slot_mut(property, kind).index.set(user, value)
    }

    /// Gives live users some of many values, one after another; notes what changes.
    pub fn set_all(
        &mut self,
        property: u32,
        cells: &Cells,
        range: Range<usize>,
        user_of: impl Fn(u32) -> u16,
        difference: &mut Difference,
    ) {
        if self.slot(property).is_some() || cells.has_values(range.clone()) {
            let slot = self.slot_mut(property, cells.kind());
            slot.index.set_all(cells, range, user_of, difference);
        }
    }

    /// Adds a code to the sets of live users that is greater than all that any user has; returns how
    /// many had no set before.
    pub fn add_greatest(&mut self, property: u32, code: u32, users: Posting) -> u32 {
        match &mut self.slot_mut(property, IndexKind::Sets).index {
            PropertyIndex::Sets(index) => index.add_greatest(code, users),
            // A property keeps the kind that its first value gave it.
            PropertyIndex::Codes(_) | PropertyIndex::Numbers(_) => 0,
        }
    }

    /// Takes a code out of all sets; returns how many had it, and how many of them no other one.
    pub fn remove_code(&mut self, property: u32, code: u32) -> (u32, u32) {
        let Ok(position) = self.place(property) else {
            return (0, 0);
        };
        match &mut self.slots[position].1.index {
            PropertyIndex::Sets(index) => index.remove_code(code),
            PropertyIndex::Codes(_) | PropertyIndex::Numbers(_) => (0, 0),
        }
    }

    /// The time that a caller gave to a user's value, in microseconds since 1970.
    #[must_use]
    pub fn value_time(&self, property: u32, user: u16) -> Option<i64> {
        self.slot(property)?.times.get(&user).copied()
    }

    /// Records the time of a live user's value.
    pub fn set_value_time(&mut self, property: u32, kind: IndexKind, user: u16, time: i64) {
        self.slot_mut(property, kind).times.insert(user, time);
    }

    /// The events of a name, by its number; `None` if there are none.
    #[must_use]
    pub fn events(&self, event: u32) -> Option<&EventIndex> {
        let place = self.events_place(event).ok()?;
        Some(&self.events[place].1)
    }

    /// All events, by the numbers of their names.
    pub fn all_events(&self) -> impl Iterator<Item = (u32, &EventIndex)> {
        self.events.iter().map(|(event, index)| (*event, &**index))
    }

    /// Adds an event of a live user, unless it is a duplicate; returns whether it was added.
    pub fn insert_event(&mut self, event: u32, user: u16, stored: StoredEvent) -> bool {
        let place = self.events_place(event).unwrap_or_else(|place| {
            self.events.insert(place, (event, Box::default()));
            place
        });
        self.events[place].1.insert(user, stored)
    }

    /// Takes the events of a user away; returns how many there were, by the numbers of their names.
    pub fn remove_events_of(&mut self, user: u16) -> Vec<(u32, u64)> {
        let removed = self
            .events
            .iter_mut()
            .map(|(event, index)| (*event, index.remove_user(user)));
        let removed = removed.filter(|(_, count)| *count > 0).collect();
        self.events.retain(|(_, index)| !index.is_empty());
        removed
    }

    /// Takes the events of a name before a day away; returns how many there were.
    pub fn drop_events_before(&mut self, event: u32, day: i32) -> u64 {
        let Ok(place) = self.events_place(event) else {
            return 0;
        };
        let dropped = self.events[place].1.drop_before(day);
        if self.events[place].1.is_empty() {
            self.events.remove(place);
        }
        dropped
    }

    /// Forgets the events of a name.
    pub fn remove_events(&mut self, event: u32) {
        self.events.retain(|(number, _)| *number != event);
    }

    /// Keeps the counts of a window of events from now on, and only those of `windows` beside them.
    pub fn keep_window(&mut self, event: u32, window: KeptWindow, windows: &[KeptWindow]) {
        if let Ok(place) = self.events_place(event) {
            self.events[place].1.keep(window, windows);
        }
    }

    /// Whether of the windows of events these are kept, and only these; so they are where there are
    /// no events.
    #[must_use]
    pub fn keeps_only(&self, event: u32, windows: &[KeptWindow]) -> bool {
        let index = self.events(event);
        index.is_none_or(|index| index.keeps_only(windows))
    }

    /// Keeps of the windows of events only these.
    pub fn keep_only(&mut self, event: u32, windows: &[KeptWindow]) {
        if let Ok(place) = self.events_place(event) {
            self.events[place].1.keep_only(windows);
        }
    }

    fn events_place(&self, event: u32) -> Result<usize, usize> {
        self.events
            .binary_search_by_key(&event, |(number, _)| *number)
    }

    /// Forgets a property.
    pub fn remove_property(&mut self, property: u32) {
        if let Ok(position) = self.place(property) {
            self.slots.remove(position);
        }
    }

    fn slot_mut(&mut self, property: u32, kind: IndexKind) -> &mut PropertySlot {
        let position = self.place(property).unwrap_or_else(|position| {
            let slot = Box::new(PropertySlot::new(PropertyIndex::new(kind)));
            self.slots.insert(position, (property, slot));
            position
        });
        &mut self.slots[position].1
    }

    /// Where a property's slot is or would be.
    fn place(&self, property: u32) -> Result<usize, usize> {
        self.slots
            .binary_search_by_key(&property, |(number, _)| *number)
    }
}
