//! The events of a population: which names are known, and what is told of them and of users.

use std::sync::Arc;

use super::catalog::{Catalog, KnownEvent};
use super::refusal::Refusal;
use super::{Changes, Population, Writer};
use crate::model::{
    EventDeclaration, EventName, LimitExceeded, Revision, Timestamp, UserId, limit,
};

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
        EventInfo {
            declaration: event.declaration.clone(),
            events: 0,
            duplicates: 0,
            too_old: 0,
            too_far_ahead: 0,
            kept_from: None,
        }
    }

    /// What a user did before an instant, in the order of the names; `None` if there is no such
    /// user.
    #[must_use]
    pub fn user_events(&self, _id: &UserId, _as_of: Timestamp) -> Option<Vec<UserEvents>> {
        Some(Vec::new())
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

    pub(super) fn update_event(&self, declaration: &EventDeclaration) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        let number = known(&catalog, &declaration.name)?.number;
        catalog.insert_event(KnownEvent {
            number,
            declaration: declaration.clone(),
        });
        self.catalog.store(Arc::new(catalog));
        Ok(Changes::default())
    }

    pub(super) fn delete_event(
        &self,
        _writer: &mut Writer,
        _revision: Revision,
        name: &EventName,
    ) -> Result<Changes, Refusal> {
        let mut catalog = Catalog::clone(&self.catalog());
        known(&catalog, name)?;
        catalog.remove_event(name);
        self.catalog.store(Arc::new(catalog));
        Ok(Changes::default())
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
