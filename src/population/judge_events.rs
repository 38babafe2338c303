//! Works out which events of a write count, and carries them out.
//!
//! Invariant: whether an event is too old or lies too far ahead follows from when it was received,
//! which the command says, and is judged before the first change; whether it is a duplicate shows
//! when it is carried out, which refuses the event and never the write.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::PoisonError;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::capture::encode_state;
use super::catalog::{Catalog, KnownEvent};
use super::events::check_event_names;
use super::kept::KeptCounts;
use super::named::NamedUsers;
use super::refusal::Refusal;
use super::users::Ordinal;
use super::{Changes, Population, RefusedEvent, ShardCell, Writer, split};
use crate::index::{EventIndex, Shard, StoredEvent, day_of};
use crate::model::{
    Amount, Digest, Event, EventDeclaration, EventFault, EventId, EventName, Revision, Span,
    Timestamp, UserUpdate, limit,
};

/// What putting an event into the index costs beside setting a value.
const VALUES_PER_EVENT: usize = 4;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// An event that may be carried out.
struct StagedEvent {
    /// The position of the user among those named.
    user: u32,
    /// The number of its name.
    event: u32,
    stored: StoredEvent,
    /// Where it is in the command.
    update: usize,
    position: usize,
}

/// The events that a write leads to.
#[derive(Default)]
pub(super) struct StagedEvents {
    events: Vec<StagedEvent>,
    /// How many have been carried out.
    done: usize,
    /// Of those carried out last: how many were added, by the number of the name, and the first day.
    added: BTreeMap<u32, (u64, i32)>,
    /// What was refused while judging, by the number of the name; the duplicates are added.
    refused: BTreeMap<u32, Refused>,
    duplicates: Vec<RefusedEvent>,
    /// When the last of the events was received.
    received: Option<Timestamp>,
}

#[derive(Clone, Copy, Default)]
struct Refused {
    duplicates: u64,
    too_old: u64,
    too_far_ahead: u64,
}

/// What is known of the events of a name while a write is judged.
#[derive(Clone, Copy)]
struct Judged {
    number: u32,
    retention: Span,
    kept_from: Option<i32>,
}

/// Stands for the id of an event: never 0.
fn id_code(id: &EventId) -> u64 {
    Digest::of(&[id.as_str().as_bytes()]).head().max(1)
}

impl Population {
    /// Works out which events of a write may count. Adds names that are new to the catalog.
    pub(super) fn judge_events(
        &self,
        writer: &Writer,
        catalog: &mut Cow<'_, Catalog>,
        updates: &[UserUpdate],
        users: &mut NamedUsers<'_>,
        changes: &mut Changes,
    ) -> Result<StagedEvents, Refusal> {
        let mut staged = StagedEvents::default();
        let mut known: HashMap<&EventName, Judged, RandomState> = HashMap::default();
        // Most events of a write have the same name.
        let mut last: Option<(&EventName, Judged)> = None;
        for (update_position, update) in updates.iter().enumerate() {
            if update.events.is_empty() {
                continue;
            }
            let (user, named) = users.of_update(update_position);
            named.effects += update.events.len() * VALUES_PER_EVENT;
            for (position, event) in update.events.iter().enumerate() {
                let found = last.filter(|(name, _)| **name == event.name);
                let found = found.map(|(_, judged)| judged);
                let judged = if let Some(judged) = found.or_else(|| known.get(&event.name).copied())
                {
                    judged
                } else {
                    let judged = self.known_or_new(writer, catalog, &event.name)?;
                    known.insert(&event.name, judged);
                    judged
                };
                last = Some((&event.name, judged));
                staged.received = staged.received.max(Some(event.received));
                let refused = staged.refused.entry(judged.number).or_default();
                if let Some(fault) = fault(event, judged, writer.limits.event_ahead_seconds) {
                    match fault {
                        EventFault::TooOld => refused.too_old += 1,
                        EventFault::TooFarAhead => refused.too_far_ahead += 1,
                        EventFault::Duplicate => refused.duplicates += 1,
                    }
                    changes.refused_events.push(RefusedEvent {
                        update: update_position,
                        event: position,
                        fault,
                    });
                    continue;
                }
                staged.events.push(StagedEvent {
                    user,
                    event: judged.number,
                    stored: StoredEvent {
                        time: event.happened().micros(),
                        amount: event.amount.map(Amount::millionths),
                        id: event.id.as_ref().map_or(0, id_code),
                    },
                    update: update_position,
                    position,
                });
            }
        }
        if !staged.events.is_empty() {
            let held = self.kept(KeptCounts::all_events);
            limit::EVENTS
                .check_against(writer.limits.events, held + staged.events.len() as u64)
                .map_err(|exceeded| Refusal::TooManyEvents { exceeded })?;
        }
        Ok(staged)
    }

    fn known_or_new(
        &self,
        writer: &Writer,
        catalog: &mut Cow<'_, Catalog>,
        name: &EventName,
    ) -> Result<Judged, Refusal> {
        let (number, retention) = if let Some(known) = catalog.event(name) {
            (known.number(), known.declaration().retention)
        } else {
            check_event_names(writer, catalog, name)?;
            let retention = writer.limits.event_retention();
            let number = catalog.next_event;
            catalog.to_mut().insert_event(KnownEvent {
                number,
                declaration: EventDeclaration {
                    name: name.clone(),
                    retention,
                },
            });
            (number, retention)
        };
        let kept_from = self.kept(|kept| kept.of_events(number).kept_from);
        Ok(Judged {
            number,
            retention,
            kept_from,
        })
    }

    /// Tells what became of the events of a write that was carried out, and drops events that have
    /// been kept for long enough.
    pub(super) fn finish_events(
        &self,
        writer: &mut Writer,
        revision: Revision,
        staged: StagedEvents,
        changes: &mut Changes,
    ) {
        if staged.refused.is_empty() {
            return;
        }
        changes.refused_events.extend(staged.duplicates);
        changes.refused_events.sort_unstable();
        {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            for (event, refused) in staged.refused {
                let counts = kept.events_mut(event);
                let add = |count: &mut u64, more| *count = count.saturating_add(more);
                add(&mut counts.duplicates, refused.duplicates);
                add(&mut counts.too_old, refused.too_old);
                add(&mut counts.too_far_ahead, refused.too_far_ahead);
            }
        }
        let today = staged.received.map(|received| day_of(received.micros()));
        if let Some(today) = today.filter(|today| *today > writer.expired_on) {
            writer.expired_on = today;
            self.drop_old_events(revision, i64::from(today) * DAY);
        }
    }

    /// Drops the events of days that ended longer before an instant than events of their name are
    /// kept.
    fn drop_old_events(&self, revision: Revision, now: i64) {
        for event in self.catalog().events() {
            let number = event.number();
            let before = day_of(now.saturating_sub(event.declaration().retention.micros()));
            let oldest = self.kept(|kept| kept.of_events(number).oldest_day);
            if oldest.is_none_or(|oldest| oldest >= before) {
                continue;
            }
            let is_old = |cell: &ShardCell| {
                let state = cell.read();
                let oldest = state.shard.events(number).and_then(EventIndex::oldest_day);
                oldest.is_some_and(|oldest| oldest < before)
            };
            let shards = self.shards.load();
            let old: Vec<_> = shards.iter().filter(|cell| is_old(cell)).collect();
            {
                // First, so that nobody who asks from now on takes what is left for all.
                let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
                let counts = kept.events_mut(number);
                counts.oldest_day = Some(before);
                if !old.is_empty() {
                    counts.kept_from = Some(before);
                }
            }
            let mut dropped = 0;
            for cell in old {
                let mut state = cell.write(revision, self.epoch(), encode_state);
                dropped += state.shard.drop_events_before(number, before);
            }
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            kept.events_mut(number).events -= dropped;
        }
    }
}

/// Why an event can't count, whatever else the user did.
fn fault(event: &Event, judged: Judged, most_ahead_seconds: u64) -> Option<EventFault> {
    let time = event.happened().micros();
    let received = event.received.micros();
    let oldest = received.saturating_sub(judged.retention.micros());
    let is_dropped = judged.kept_from.is_some_and(|from| day_of(time) < from);
    let ahead = i64::try_from(most_ahead_seconds).unwrap_or(i64::MAX);
    if time < oldest || is_dropped {
        Some(EventFault::TooOld)
    } else if time.saturating_sub(received) > ahead.saturating_mul(SECOND) {
        Some(EventFault::TooFarAhead)
    } else {
        None
    }
}

impl StagedEvents {
    /// Brings what is staged in the order of the users' ordinals; the events of a user keep theirs.
    pub(super) fn sort(&mut self, ordinals: &[Ordinal]) {
        self.events
            .sort_by_key(|event| ordinals[event.user as usize]);
    }

    /// Carries out what is staged for the next users of a shard, up to one of them.
    pub(super) fn carry_out(&mut self, shard: &mut Shard, ordinals: &[Ordinal], last: Ordinal) {
        self.added.clear();
        while let Some(event) = self.events.get(self.done)
            && ordinals[event.user as usize] <= last
        {
            self.done += 1;
            let place = split(ordinals[event.user as usize]).1;
            if shard.insert_event(event.event, place, event.stored) {
                let day = day_of(event.stored.time);
                let (count, first) = self.added.entry(event.event).or_insert((0, day));
                *count += 1;
                *first = day.min(*first);
                continue;
            }
            self.refused.entry(event.event).or_default().duplicates += 1;
            self.duplicates.push(RefusedEvent {
                update: event.update,
                event: event.position,
                fault: EventFault::Duplicate,
            });
        }
    }

    /// Counts what was carried out last.
    pub(super) fn count(&self, kept: &mut KeptCounts) {
        for (event, (added, first_day)) in &self.added {
            let counts = kept.events_mut(*event);
            counts.events += added;
            let oldest = counts.oldest_day.unwrap_or(*first_day);
            counts.oldest_day = Some(oldest.min(*first_day));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Action, NonEmpty, StoreLimits, UserId};
    use crate::population::EventInfo;

    /// The first instant of a day of 2026, counted from 0.
    fn day(number: i64) -> Timestamp {
        Timestamp::from_micros((20_454 + number) * DAY).unwrap()
    }

    fn name(text: &str) -> EventName {
        EventName::new(text).unwrap()
    }

    /// An event of a day that was received on another.
    fn event(of: &str, happened: i64, received: i64) -> Event {
        Event {
            name: name(of),
            time: Some(day(happened)),
            received: day(received),
            amount: None,
            id: None,
        }
    }

    fn write(population: &Population, user: &str, events: Vec<Event>) -> Result<Changes, Refusal> {
        let update = UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: Vec::new(),
            events,
        };
        population.apply(Revision::new(1), &Action::Write(NonEmpty::one(update)))
    }

    fn declaration(of: &str, days: i64) -> EventDeclaration {
        EventDeclaration {
            name: name(of),
            retention: Span::from_micros(days * DAY).unwrap(),
        }
    }

    fn apply(population: &Population, action: &Action) -> Result<Changes, Refusal> {
        population.apply(Revision::new(1), action)
    }

    fn info(population: &Population, of: &str) -> EventInfo {
        population.event(&name(of)).unwrap()
    }

    #[test]
    fn so_many_events_and_not_one_more() {
        let population = Population::new(StoreLimits {
            events: 3,
            ..StoreLimits::default()
        });
        let some = |count| vec![event("a", 0, 0); count];
        let exceeded = |outcome: Result<Changes, Refusal>| match outcome {
            Err(Refusal::TooManyEvents { exceeded }) => (exceeded.allowed, exceeded.given),
            other => panic!("{other:?}"),
        };
        assert_eq!(exceeded(write(&population, "u", some(4))), (3, 4));
        assert_eq!((population.user_count(), population.events()), (0, vec![]));
        write(&population, "u", some(2)).unwrap();
        assert_eq!(exceeded(write(&population, "v", some(2))), (3, 4));
        write(&population, "v", some(1)).unwrap();
        // What does not count takes no place.
        let old = write(&population, "v", vec![event("b", -500, 0)]).unwrap();
        assert_eq!(old.refused_events[0].fault, EventFault::TooOld);
        assert_eq!(exceeded(write(&population, "v", some(1))), (3, 4));
        write(&population, "w", vec![]).unwrap();
        // Who is erased, and what is deleted or dropped, makes room.
        apply(&population, &Action::Erase(UserId::new("u").unwrap())).unwrap();
        write(&population, "v", some(2)).unwrap();
        assert_eq!(exceeded(write(&population, "v", some(1))), (3, 4));
        apply(&population, &Action::DeleteEvent(name("a"))).unwrap();
        write(&population, "v", some(3)).unwrap();
        write(&population, "v", vec![event("b", -500, 402)]).unwrap();
        assert_eq!(info(&population, "a").events, 0);
        write(&population, "v", vec![event("a", 402, 402)]).unwrap();
    }

    #[test]
    fn so_many_names_and_not_one_more() {
        let population = Population::new(StoreLimits {
            event_names: 2,
            ..StoreLimits::default()
        });
        let refused = |outcome: Result<Changes, Refusal>| match outcome {
            Err(Refusal::TooManyEventNames { event, exceeded }) => {
                assert_eq!((exceeded.allowed, exceeded.given), (2, 3));
                event
            }
            other => panic!("{other:?}"),
        };
        write(&population, "u", vec![event("a", 0, 0)]).unwrap();
        // Nothing of a write is carried out of which one name is too many.
        let both = vec![event("b", 0, 0), event("c", 0, 0)];
        assert_eq!(refused(write(&population, "v", both)), name("c"));
        assert_eq!((population.user_count(), population.events().len()), (1, 1));
        write(&population, "v", vec![event("b", 0, 0), event("a", 0, 0)]).unwrap();
        // Also one of which no event counts.
        let old = vec![event("c", -500, 0)];
        assert_eq!(refused(write(&population, "v", old)), name("c"));
        let create = Action::CreateEvent(declaration("c", 1));
        assert_eq!(refused(apply(&population, &create)), name("c"));
        apply(&population, &Action::DeleteEvent(name("a"))).unwrap();
        apply(&population, &create).unwrap();
        assert_eq!(info(&population, "c").events, 0);
    }

    #[test]
    fn events_go_with_the_first_write_of_a_later_day() {
        let mut population = Arc::new(Population::new(StoreLimits::default()));
        apply(&population, &Action::CreateEvent(declaration("short", 2))).unwrap();
        write(
            &population,
            "u",
            vec![
                event("short", 0, 0),
                event("short", 1, 1),
                event("long", 0, 1),
            ],
        )
        .unwrap();
        let state = |population: &Population| {
            let info = info(population, "short");
            (info.events, info.kept_from)
        };
        // Day 0 is kept on day 2, whoever writes what.
        write(&population, "v", vec![event("long", 2, 2)]).unwrap();
        write(&population, "v", vec![]).unwrap();
        assert_eq!(state(&population), (2, None));
        // Not when the user is seen again without an event.
        write(&population, "v", vec![]).unwrap();
        assert_eq!(state(&population), (2, None));
        write(&population, "v", vec![event("long", 3, 3)]).unwrap();
        assert_eq!(state(&population), (1, Some(day(1))));
        assert_eq!(info(&population, "long").kept_from, None);
        // Kept for longer from now on: what was dropped does not come back, not by a late event.
        apply(&population, &Action::UpdateEvent(declaration("short", 9))).unwrap();
        let late = write(
            &population,
            "v",
            vec![event("short", 0, 3), event("short", 1, 3)],
        );
        let late = late.unwrap().refused_events;
        assert_eq!((late.len(), late[0].fault), (1, EventFault::TooOld));
        assert_eq!(state(&population), (2, Some(day(1))));
        // For a shorter time: what is older goes with the next event, on the same day.
        apply(&population, &Action::UpdateEvent(declaration("short", 1))).unwrap();
        assert_eq!(state(&population), (2, Some(day(1))));
        write(&population, "v", vec![event("short", -5, 3)]).unwrap();
        assert_eq!(state(&population), (0, Some(day(2))));
        assert_eq!(info(&population, "short").too_old, 2);
        // A restored one knows on which day it dropped events last, and what from.
        write(&population, "v", vec![event("short", 3, 3)]).unwrap();
        let parts: BTreeMap<String, Vec<u8>> = population
            .begin_capture()
            .parts()
            .map(|part| (part.name(), part.take(None).unwrap()))
            .collect();
        let limits = StoreLimits::default();
        let restored =
            Population::restore(limits, Revision::new(1), |name| parts.get(name).cloned());
        population = Arc::new(restored.unwrap());
        assert_eq!(state(&population), (1, Some(day(2))));
        let late = write(&population, "v", vec![event("short", 1, 3)]).unwrap();
        assert_eq!(late.refused_events[0].fault, EventFault::TooOld);
        // A clock that was set back drops nothing, and brings nothing back.
        let late = write(&population, "v", vec![event("short", 1, 2)]).unwrap();
        assert_eq!(late.refused_events[0].fault, EventFault::TooOld);
    }
}
