//! The events of a population: which names are known, and what is told of them and of users.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::capture::encode_state;
use super::catalog::{Catalog, KnownEvent};
use super::refusal::Refusal;
use super::segments::check_unused;
use super::{Changes, Population, Writer, values_of};
use crate::index::{EventIndex, Shard, day_of, day_start};
use crate::model::{
    EventDeclaration, EventName, LimitExceeded, Mentioned, PropertyName, Revision, Timestamp,
    UserId, Value, limit,
};

/// Days of which it is shown what a user did.
const SHOWN_DAYS: i32 = 30;

/// What is known of the events of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventInfo {
    /// What was declared.
    pub declaration: EventDeclaration,
    /// How many are kept.
    pub events: u64,
    /// How many were refused because the user had them already.
    pub duplicates: u64,
    /// How many were refused because they were older than events are kept.
    pub too_old: u64,
    /// How many were refused because they lay too far ahead of the clock.
    pub too_far_ahead: u64,
    /// Those before this instant are not kept any more; `None` if none has been dropped yet.
    pub kept_from: Option<Timestamp>,
}

/// What a user did of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvents {
    /// The name.
    pub name: EventName,
    /// How many there are before `as_of`: at least one.
    pub count: u64,
    /// The time of the earliest.
    pub first: Timestamp,
    /// The time of the latest.
    pub last: Timestamp,
    /// The sum of the amounts in millionths; `None` if none has an amount.
    pub sum: Option<i128>,
    /// The last 30 days in UTC, that of `as_of` included: those with events, the earliest first.
    pub days: Vec<UserDay>,
}

/// What a user did of one name on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDay {
    /// The beginning of the day, UTC.
    pub day: Timestamp,
    /// How many events.
    pub count: u64,
    /// The sum of their amounts in millionths; `None` if none has an amount.
    pub sum: Option<i128>,
}

impl Population {
    /// All events, in the order of their names.
    #[must_use]
    pub fn events(&self) -> Vec<EventInfo> {
        self.catalog()
            .events()
            .map(|event| self.event_info(event))
            .collect()
    }

    /// The events of a name.
    #[must_use]
    pub fn event(&self, name: &EventName) -> Option<EventInfo> {
        Some(self.event_info(self.catalog().event(name)?))
    }

    fn event_info(&self, event: &KnownEvent) -> EventInfo {
        let counts = self.kept(|kept| kept.of_events(event.number));
        EventInfo {
            declaration: event.declaration.clone(),
            events: counts.events,
            duplicates: counts.duplicates,
            too_old: counts.too_old,
            too_far_ahead: counts.too_far_ahead,
            kept_from: counts.kept_from.map(instant),
        }
    }

    /// What a user did before an instant, in the order of the names; `None` if there is no such
    /// user.
    #[must_use]
    pub fn user_events(&self, id: &UserId, as_of: Timestamp) -> Option<Vec<UserEvents>> {
        let catalog = self.catalog();
        self.with_user(id, |reader, user| {
            all_user_events(&catalog, reader.shard(), user, as_of)
        })
    }

    /// All properties of a user that are set, and what the user did before an instant, at one
    /// moment; `None` if there is no such user.
    #[must_use]
    pub fn user_with_events(
        &self,
        id: &UserId,
        as_of: Timestamp,
    ) -> Option<(BTreeMap<PropertyName, Value>, Vec<UserEvents>)> {
        let catalog = self.catalog();
        self.with_user(id, |reader, user| {
            let shard = reader.shard();
            let events = all_user_events(&catalog, shard, user, as_of);
            (values_of(&catalog, shard, user), events)
        })
    }

    pub(super) fn create_event(
        &self,
        writer: &Writer,
        declaration: &EventDeclaration,
    ) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        if catalog.event(&declaration.name).is_some() {
            return Err(Refusal::EventExists {
                event: declaration.name.clone(),
            });
        }
        check_event_names(writer, &catalog, &declaration.name)?;
        let number = catalog.next_event;
        catalog.insert_event(KnownEvent {
            number,
            declaration: declaration.clone(),
        });
        self.catalog.store(Arc::new(catalog));
        Ok(Changes::default())
    }

    pub(super) fn update_event(
        &self,
        writer: &mut Writer,
        declaration: &EventDeclaration,
    ) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        let number = known(&catalog, &declaration.name)?.number;
        catalog.insert_event(KnownEvent {
            number,
            declaration: declaration.clone(),
        });
        self.catalog.store(Arc::new(catalog));
        // What is kept for a shorter time now goes with the next event, not with that of another day.
        writer.expired_on = i32::MIN;
        Ok(Changes::default())
    }

    pub(super) fn delete_event(
        &self,
        revision: Revision,
        name: &EventName,
    ) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        let number = known(&catalog, name)?.number;
        check_unused(&catalog, Mentioned::Event(name))?;
        catalog.remove_event(name);
        self.catalog.store(Arc::new(catalog));
        for cell in self.shards.load().iter() {
            if cell.read().shard.events(number).is_some() {
                let mut state = cell.write(revision, self.epoch(), encode_state);
                state.shard.remove_events(number);
            }
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.forget_events(number);
        Ok(Changes::default())
    }
}

/// The beginning of a day, which is that of an event.
fn instant(day: i32) -> Timestamp {
    Timestamp::from_micros(day_start(day)).unwrap_or(Timestamp::MIN)
}

/// What a user did of each name before an instant.
fn all_user_events(
    catalog: &Catalog,
    shard: &Shard,
    user: u16,
    as_of: Timestamp,
) -> Vec<UserEvents> {
    let known = catalog.events().filter_map(|event| {
        let index = shard.events(event.number)?;
        user_events(event, index, user, as_of)
    });
    known.collect()
}

/// What a user did before an instant; `None` if there is nothing.
fn user_events(
    event: &KnownEvent,
    index: &EventIndex,
    user: u16,
    as_of: Timestamp,
) -> Option<UserEvents> {
    let first_shown = day_of(as_of.micros()) - SHOWN_DAYS + 1;
    let mut found: Option<UserEvents> = None;
    index.events_of(user, i64::MIN, as_of.micros(), |time, amount| {
        let at = Timestamp::from_micros(time).unwrap_or(as_of);
        let amount = amount.map(i128::from);
        let found = found.get_or_insert_with(|| UserEvents {
            name: event.declaration.name.clone(),
            count: 0,
            first: at,
            last: at,
            sum: None,
            days: Vec::new(),
        });
        found.count += 1;
        found.last = at;
        found.sum = plus(found.sum, amount);
        let day = day_of(time);
        if day >= first_shown {
            let day = instant(day);
            if found.days.last().is_none_or(|last| last.day != day) {
                found.days.push(UserDay {
                    day,
                    count: 0,
                    sum: None,
                });
            }
            if let Some(last) = found.days.last_mut() {
                last.count += 1;
                last.sum = plus(last.sum, amount);
            }
        }
    });
    found
}

fn plus(sum: Option<i128>, amount: Option<i128>) -> Option<i128> {
    match (sum, amount) {
        (Some(sum), Some(amount)) => Some(sum + amount),
        (sum, amount) => sum.or(amount),
    }
}

fn known<'a>(catalog: &'a Catalog, name: &EventName) -> Result<&'a KnownEvent, Refusal> {
    let event = catalog.event(name);
    event
        .map(|event| &**event)
        .ok_or_else(|| Refusal::EventNotFound {
            event: name.clone(),
        })
}

pub(super) fn check_event_names(
    writer: &Writer,
    catalog: &Catalog,
    name: &EventName,
) -> Result<(), Refusal> {
    limit::EVENT_NAMES
        .check_against(writer.limits.event_names, catalog.events().len() as u64 + 1)
        .map_err(|exceeded: LimitExceeded| Refusal::TooManyEventNames {
            event: name.clone(),
            exceeded,
        })
}
