//! How many users have each value, kept up to date by every change.
//!
//! Invariant: the counts are those of the postings once a command has been applied, and all that
//! one command changes of a user changes here at once. A question about one value, its complement
//! or a list of values of one property is answered from here.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::index::Difference;

/// The counts of a population.
#[derive(Clone, Debug, Default)]
pub struct KeptCounts {
    users: u64,
    /// By property number. A property that is deleted leaves nothing behind.
    properties: HashMap<u32, PropertyCounts, FixedState>,
    /// By the number of the event's name, for those of which anything is known.
    events: BTreeMap<u32, EventCounts>,
}

/// What is counted of the events of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// How many are kept.
    pub events: u64,
    /// How many were refused because the user had them already.
    pub duplicates: u64,
    /// How many were refused because they were older than events are kept.
    pub too_old: u64,
    /// How many were refused because they lay too far ahead of the clock.
    pub too_far_ahead: u64,
    /// Those before this day are not kept any more; `None` if none has been dropped yet.
    pub kept_from: Option<i32>,
    /// No event that is kept is of an earlier day; `None` if there never was any.
    pub oldest_day: Option<i32>,
}

#[derive(Clone, Debug, Default)]
struct PropertyCounts {
    having: u64,
    by_code: Vec<u64>,
}

impl KeptCounts {
    /// How many users there are.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.users
    }

    /// How many users have a value of a property.
    #[must_use]
    pub fn having(&self, property: u32) -> u64 {
        self.properties
            .get(&property)
            .map_or(0, |counts| counts.having)
    }

    /// How many users have a code of a property.
    #[must_use]
    pub fn with_code(&self, property: u32, code: u32) -> u64 {
        let counts = self.properties.get(&property);
        counts
            .and_then(|counts| counts.by_code.get(code as usize))
            .copied()
            .unwrap_or(0)
    }

    /// How many users have each code of a property, by code. Codes beyond the end have none.
    #[must_use]
    pub fn by_code(&self, property: u32) -> &[u64] {
        self.properties
            .get(&property)
            .map_or(&[], |counts| &counts.by_code)
    }

    /// What is counted of the events of one name.
    #[must_use]
    pub fn of_events(&self, event: u32) -> EventCounts {
        self.events.get(&event).copied().unwrap_or_default()
    }

    /// How many events there are.
    pub(super) fn all_events(&self) -> u64 {
        self.events.values().map(|counts| counts.events).sum()
    }

    pub(super) fn events_mut(&mut self, event: u32) -> &mut EventCounts {
        self.events.entry(event).or_default()
    }

    pub(super) fn forget_events(&mut self, event: u32) {
        self.events.remove(&event);
    }

    /// How many codes of a property some user has.
    #[must_use]
    pub fn codes_in_use(&self, property: u32) -> u64 {
        let counts = self.properties.get(&property);
        counts.map_or(0, |counts| {
            counts.by_code.iter().filter(|&&count| count > 0).count() as u64
        })
    }

    /// Bytes of memory on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let by_code = self
            .properties
            .values()
            .map(|counts| counts.by_code.capacity());
        self.properties.allocation_size() + by_code.sum::<usize>() * size_of::<u64>()
    }

    pub(super) fn add_users(&mut self, users: u64) {
        self.users += users;
    }

    pub(super) fn remove_user(&mut self) {
        self.users -= 1;
    }

    pub(super) fn add_having(&mut self, property: u32, users: u64) {
        self.property(property).having += users;
    }

    pub(super) fn add_code(&mut self, property: u32, code: u32, users: u64) {
        let by_code = &mut self.property(property).by_code;
        let position = code as usize;
        if position >= by_code.len() {
            by_code.resize(position + 1, 0);
        }
        by_code[position] += users;
    }

    /// Adds to `unused` the codes that nobody has any more.
    pub(super) fn change(&mut self, property: u32, difference: &Difference, unused: &mut Vec<u32>) {
        let counts = self.property(property);
        counts.having = counts.having.wrapping_add_signed(difference.having);
        let by_code = &mut counts.by_code;
        for &code in &difference.added {
            let position = code as usize;
            if position >= by_code.len() {
                by_code.resize(position + 1, 0);
            }
            by_code[position] += 1;
        }
        for &code in &difference.removed {
            let count = &mut by_code[code as usize];
            *count -= 1;
            if *count == 0 {
                unused.push(code);
            }
        }
    }

    /// Forgets a code that so many users had as their only one.
    pub(super) fn forget_code(&mut self, property: u32, code: u32, only: u64) {
        let counts = self.property(property);
        counts.having -= only;
        if let Some(count) = counts.by_code.get_mut(code as usize) {
            *count = 0;
        }
        // Codes that are not given again leave nothing behind.
        let last = counts.by_code.iter().rposition(|&count| count > 0);
        counts.by_code.truncate(last.map_or(0, |last| last + 1));
    }

    pub(super) fn forget_property(&mut self, property: u32) {
        self.properties.remove(&property);
    }

    fn property(&mut self, property: u32) -> &mut PropertyCounts {
        self.properties.entry(property).or_default()
    }
}
