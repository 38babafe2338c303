//! A population as bytes, as it was at one moment, while writes go on; and back.
//!
//! Invariant: all parts of a capture show the moment at which it began.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};

use super::capture_events::{KnownEvents, decode_events, encode_events};
use super::catalog::{Catalog, KnownEvent, Property};
use super::cell::{Cell, Epoch};
use super::lists::{
    KnownLists, LISTS, decode_lists, encode_lists, has_lists, list_numbers, lists_of,
};
use super::once::{Fault, Numbered, Requests, Segment, Streams, encode_segment, encode_streams};
use super::segments::{SavedSegment, all_are_sound, decode_segments, encode_segments};
use super::users::{IdHash, Ids, Ordinal};
use super::{Population, ShardCell, ShardState, Writer};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::index::{
    Dictionary, IndexKind, PropertyIndex, SHARD_USERS, decode_dictionary, decode_shard,
    encode_dictionary, encode_shard,
};
use crate::model::{PropertyDeclaration, PropertyName, Revision, StoreLimits, UserId, ValueType};

/// The name of a part: `catalog`, `dictionary-<property number>`, `shard-<number>`, `streams`,
/// `requests` or `requests-<number of the first>`.
pub type SectionName = String;

const CATALOG: &str = "catalog";
const STREAMS: &str = "streams";
const REQUESTS: &str = "requests";
/// Each holds up to three shards that are not in the population yet.
const MOST_READERS: usize = 8;

/// A population at the moment when the capture began.
#[derive(Debug)]
pub struct Capture {
    population: Arc<Population>,
    epoch: Epoch,
    catalog: Vec<u8>,
    properties: Vec<Arc<Property>>,
    shards: Vec<Arc<ShardCell>>,
    /// What there is of requests besides their segments.
    requests: Vec<u8>,
    segments: Vec<Numbered>,
    users: u64,
}

/// One part of a capture, not encoded yet.
#[derive(Debug)]
pub struct Part<'a> {
    capture: &'a Capture,
    kind: PartKind<'a>,
}

#[derive(Debug)]
enum PartKind<'a> {
    Catalog,
    Dictionary(u32, &'a Cell<Dictionary>),
    Shard(usize, &'a ShardCell),
    Streams,
    Requests,
    Segment(u64, &'a Cell<Segment>),
}

impl Capture {
    /// How many users there were.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.users
    }

    /// The parts, to be taken once each.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let dictionaries = self.properties.iter().filter_map(|property| {
            let dictionary = property.dictionary.as_ref()?;
            Some(PartKind::Dictionary(property.number, dictionary))
        });
        let shards = self.shards.iter().enumerate();
        let shards = shards.map(|(number, cell)| PartKind::Shard(number, cell));
        let segments = self.segments.iter();
        let segments = segments.map(|(from, cell)| PartKind::Segment(*from, cell));
        [PartKind::Catalog, PartKind::Streams, PartKind::Requests]
            .into_iter()
            .chain(dictionaries)
            .chain(shards)
            .chain(segments)
            .map(|kind| Part {
                capture: self,
                kind,
            })
    }
}

impl Part<'_> {
    /// The name of the part, unique within the capture.
    #[must_use]
    pub fn name(&self) -> SectionName {
        match &self.kind {
            PartKind::Catalog => CATALOG.into(),
            PartKind::Dictionary(number, _) => format!("dictionary-{number}"),
            PartKind::Shard(number, _) => format!("shard-{number}"),
            PartKind::Streams => STREAMS.into(),
            PartKind::Requests => REQUESTS.into(),
            PartKind::Segment(from, _) => segment_name(*from),
        }
    }

    /// Returns the bytes of the part; `None` if it had not changed after `unchanged_since`. Holds the
    /// lock of the part while it is encoded: readers go on, a writer waits.
    #[must_use]
    pub fn take(self, unchanged_since: Option<Revision>) -> Option<Vec<u8>> {
        let epoch = self.capture.epoch;
        match self.kind {
            PartKind::Catalog => Some(self.capture.catalog.clone()),
            PartKind::Dictionary(_, cell) => {
                cell.capture(epoch, unchanged_since, encode_dictionary)
            }
            PartKind::Shard(_, cell) => cell.capture(epoch, unchanged_since, encode_state),
            PartKind::Streams => {
                let cell = &self.capture.population.streams;
                cell.capture(epoch, unchanged_since, encode_streams)
            }
            PartKind::Requests => Some(self.capture.requests.clone()),
            PartKind::Segment(_, cell) => cell.capture(epoch, unchanged_since, encode_segment),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.population.capturing.store(0, Ordering::Release);
        for property in &self.properties {
            if let Some(cell) = &property.dictionary {
                cell.forget_capture();
            }
        }
        for cell in &self.shards {
            cell.forget_capture();
        }
        self.population.streams.forget_capture();
        for (_, cell) in &self.segments {
            cell.forget_capture();
        }
    }
}

impl Population {
    /// Begins to capture the population as it is now. To be called by whoever calls `apply`,
    /// between two commands, and not while an earlier capture is alive. Takes no longer than it
    /// takes to list the shards.
    #[must_use]
    pub fn begin_capture(self: &Arc<Self>) -> Capture {
        let mut writer = self.writer();
        writer.captures_begun += 1;
        let epoch = writer.captures_begun;
        self.capturing.store(epoch, Ordering::Release);
        let catalog = self.catalog();
        Capture {
            population: Arc::clone(self),
            epoch,
            catalog: self.encode_catalog(&catalog, &writer),
            properties: catalog.iter().cloned().collect(),
            shards: self.shards.load().to_vec(),
            requests: writer.requests.encode(),
            segments: writer.requests.segments(),
            users: self.user_count(),
        }
    }

    /// Builds the population of a capture. Shards are read by several threads at once.
    ///
    /// # Errors
    /// [`RestoreError`] if a part is missing or damaged, or the parts do not fit each other.
    pub fn restore(
        limits: StoreLimits,
        revision: Revision,
        section: impl Fn(&str) -> Option<Vec<u8>> + Sync,
    ) -> Result<Self, RestoreError> {
        let read = |name: &str| {
            section(name).ok_or_else(|| RestoreError::Missing {
                section: name.into(),
            })
        };
        let damaged = |name: &str| {
            let section = name.to_owned();
            move |error| RestoreError::Damaged { section, error }
        };
        let bytes = read(CATALOG)?;
        let DecodedCatalog {
            declarations,
            next_number,
            next_ordinal,
            events,
            segments,
            lists,
        } = decode_catalog(&bytes).map_err(damaged(CATALOG))?;

        let mut catalog = Catalog::default();
        for (number, declaration) in declarations {
            let dictionary = if Property::needs_dictionary(declaration.value_type) {
                let name = format!("dictionary-{number}");
                let dictionary = decode_dictionary(&read(&name)?, declaration.case_insensitive)
                    .map_err(damaged(&name))?;
                Some(Cell::new(dictionary, revision, 0))
            } else {
                None
            };
            catalog.insert(Property::new(number, declaration, dictionary));
        }
        catalog.next_number = next_number;

        let mut population = Self::new(limits);
        population.restore_events(&mut catalog, events);
        let (filters, static_lists) = (segments.len(), lists.lists.len());
        for segment in segments.into_iter().chain(lists.lists) {
            catalog.insert_segment(segment);
        }
        if catalog.segments().len() < filters + static_lists {
            return Err(RestoreError::Mismatch {
                section: CATALOG.into(),
                fault: "a static list has the name of another segment",
            });
        }
        catalog.next_list = lists.next_list;
        {
            let mut writer = population.writer();
            (writer.freed, writer.reused) = (lists.freed, lists.reused);
        }
        if !all_are_sound(&catalog) {
            return Err(RestoreError::Mismatch {
                section: CATALOG.into(),
                fault: "a segment is defined by what is not there, by itself, or by too much",
            });
        }
        let streams = Streams::decode(&read(STREAMS)?).map_err(damaged(STREAMS))?;
        population.streams = Cell::new(streams, revision, 0);
        let bytes = read(REQUESTS)?;
        let requests = Requests::restore(&bytes, revision, |from| read(&segment_name(from)).ok());
        population.writer().requests = requests.map_err(|(from, fault)| {
            let section = from.map_or_else(|| REQUESTS.into(), segment_name);
            match fault {
                Fault::Missing => RestoreError::Missing { section },
                Fault::Damaged(error) => RestoreError::Damaged { section, error },
                Fault::Mismatch(fault) => RestoreError::Mismatch { section, fault },
            }
        })?;
        let lists = list_numbers(&catalog);
        let mut shards = Vec::new();
        let read_shard = |number| {
            let name = format!("shard-{number}");
            let bytes = read(&name)?;
            population.read_shard(number, next_ordinal, name, &bytes)
        };
        in_order(
            next_ordinal.div_ceil(SHARD_USERS),
            &read_shard,
            |mut read| {
                let counted = population.count_in(&catalog, &lists, &read.state);
                counted.map_err(|fault| RestoreError::Mismatch {
                    section: read.name,
                    fault,
                })?;
                population.table.insert_all(&mut read.users);
                population.writer().free.extend(read.free);
                shards.push(Arc::new(Cell::new(read.state, revision, 0)));
                Ok(())
            },
        )?;
        population.writer().next_ordinal = next_ordinal;
        population.catalog.store(Arc::new(catalog));
        population.shards.store(Arc::new(shards));
        Ok(population)
    }

    /// Reads the bytes of a shard, and finds out which users it has and which it could have.
    fn read_shard(
        &self,
        number: u32,
        next_ordinal: u32,
        name: SectionName,
        bytes: &[u8],
    ) -> Result<ReadShard, RestoreError> {
        let state = match decode_state(bytes) {
            Ok(state) => state,
            Err(error) => {
                let section = name;
                return Err(RestoreError::Damaged { section, error });
            }
        };
        let live = state.shard.live().to_block();
        let base = number * SHARD_USERS;
        let (mut users, mut free) = (Vec::new(), Vec::new());
        for user in 0..=u16::MAX {
            let ordinal = base + u32::from(user);
            match state.ids.get(user) {
                Some(id) if live.contains(user) && ordinal < next_ordinal => {
                    users.push((self.table.hash(&id), ordinal));
                }
                None if !live.contains(user) => {
                    if ordinal < next_ordinal {
                        free.push(Reverse(ordinal));
                    }
                }
                Some(_) | None => {
                    return Err(RestoreError::Mismatch {
                        section: name,
                        fault: "a user has no id, or an id no user",
                    });
                }
            }
        }
        Ok(ReadShard {
            name,
            state,
            users,
            free,
        })
    }

    /// Adds the users of a shard to the kept counts, and makes sure that the shard speaks of
    /// properties and codes that exist.
    fn count_in(
        &self,
        catalog: &Catalog,
        lists: &BTreeSet<u32>,
        state: &ShardState,
    ) -> Result<(), &'static str> {
        let mut kept = self
            .kept
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.add_users(u64::from(state.shard.live().count()));
        let mut known = 0;
        for property in catalog.iter() {
            let number = property.number();
            let Some(index) = state.shard.index(number) else {
                continue;
            };
            known += 1;
            let (kind, postings) = match index {
                PropertyIndex::Codes(index) => (IndexKind::Codes, index.sorted_postings()),
                PropertyIndex::Sets(index) => (IndexKind::Sets, index.sorted_postings()),
                PropertyIndex::Numbers(_) => (IndexKind::Numbers, Vec::new()),
            };
            if kind != property.kind() {
                return Err("a property has an index of another kind");
            }
            kept.add_having(number, u64::from(index.count()));
            for (code, posting) in postings {
                let in_use = property
                    .with_dictionary(|dictionary| dictionary.text(code).is_some())
                    .unwrap_or(code <= 1);
                if !in_use {
                    return Err("a code has no text");
                }
                kept.add_code(number, code, u64::from(posting.count()));
            }
        }
        if let Some(index) = lists_of(&state.shard) {
            known += 1;
            kept.add_having(LISTS, u64::from(index.present().count()));
            for (list, posting) in index.sorted_postings() {
                if !lists.contains(&list) {
                    return Err("a static list is not in the catalog");
                }
                kept.add_code(LISTS, list, u64::from(posting.count()));
            }
        }
        if known != state.shard.properties() {
            return Err("a property is not in the catalog");
        }
        for (event, index) in state.shard.all_events() {
            if catalog.events().all(|known| known.number() != event) {
                return Err("an event is not in the catalog");
            }
            let counts = kept.events_mut(event);
            counts.events += index.len();
            counts.oldest_day = counts
                .oldest_day
                .into_iter()
                .chain(index.oldest_day())
                .min();
        }
        Ok(())
    }

    /// The catalog, and what is counted of events.
    fn encode_catalog(&self, catalog: &Catalog, writer: &Writer) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encode_properties(&mut encoder, catalog, writer.next_ordinal);
        // Nothing where there never were events: so catalogs were written before there were any.
        let with_lists = has_lists(catalog, writer);
        let with_segments = with_lists || catalog.segments().len() > 0;
        if catalog.next_event > 0 || with_segments {
            let counts = |event: &KnownEvent| self.kept(|kept| kept.of_events(event.number()));
            let events = catalog.events();
            encode_events(
                &mut encoder,
                &KnownEvents {
                    next_event: catalog.next_event,
                    expired_on: writer.expired_on,
                    events: events
                        .map(|event| (KnownEvent::clone(event), counts(event)))
                        .collect(),
                },
            );
        }
        if with_segments {
            encode_segments(&mut encoder, catalog);
        }
        if with_lists {
            encode_lists(&mut encoder, catalog, writer);
        }
        encoder.into_bytes()
    }

    fn restore_events(&self, catalog: &mut Catalog, known: KnownEvents) {
        self.writer().expired_on = known.expired_on;
        let mut kept = self
            .kept
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (event, counts) in known.events {
            *kept.events_mut(event.number()) = counts;
            catalog.insert_event(event);
        }
        catalog.next_event = known.next_event;
    }
}

/// A shard that was read but is not in a population yet.
struct ReadShard {
    name: SectionName,
    state: ShardState,
    users: Vec<(IdHash, Ordinal)>,
    free: Vec<Reverse<Ordinal>>,
}

/// Makes things by their numbers on several threads, not far ahead of `take`, which takes them one
/// by one in order. Ends with the first error in this order.
fn in_order<T: Send, E: Send>(
    count: u32,
    make: &(impl Fn(u32) -> Result<T, E> + Sync),
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = threads.min(MOST_READERS).min(count as usize);
    std::thread::scope(|scope| {
        let mut receivers = Vec::new();
        for thread in 0..threads {
            let (sender, receiver) = sync_channel(1);
            receivers.push(receiver);
            scope.spawn(move || {
                for number in (0..count).skip(thread).step_by(threads) {
                    // Nobody listens any more after an error.
                    if sender.send(make(number)).is_err() {
                        break;
                    }
                }
            });
        }
        // Those who have made all of theirs have nothing to give in the last round.
        let mut in_turn = receivers.iter().cycle();
        for _ in 0..count {
            let Some(Ok(next)) = in_turn.next().map(Receiver::recv) else {
                // A thread panicked, which ends this scope as well.
                break;
            };
            take(next?)?;
        }
        Ok(())
    })
}

/// Why a population can't be built from its parts.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A part is missing.
    #[error("section {section} is missing")]
    Missing {
        /// The part.
        section: SectionName,
    },
    /// A part can't be read.
    #[error("section {section} is damaged: {error}")]
    Damaged {
        /// The part.
        section: SectionName,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// A part does not fit the others.
    #[error("section {section} does not fit the others: {fault}")]
    Mismatch {
        /// The part.
        section: SectionName,
        /// What does not fit.
        fault: &'static str,
    },
}

fn segment_name(from: u64) -> SectionName {
    format!("{REQUESTS}-{from}")
}

pub(super) fn encode_state(state: &ShardState) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.count(u64::from(state.shard.live().count()));
    state.shard.live().for_each(|user| {
        encoder.count(u64::from(user));
        encoder.text(&state.ids.get(user).unwrap_or_default());
    });
    encoder.raw(&encode_shard(&state.shard));
    encoder.into_bytes()
}

fn decode_state(bytes: &[u8]) -> Result<ShardState, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let mut ids = Ids::default();
    for _ in 0..decoder.length(3)? {
        let user = decoder.count()?;
        let text = decoder.text()?;
        match (u16::try_from(user), UserId::new(text)) {
            (Ok(user), Ok(id)) => ids.set(user, id.as_str()),
            (Err(_), _) | (_, Err(_)) => return Err(decoder.bad_value("a user with an id", user)),
        }
    }
    let shard = decode_shard(decoder.raw(decoder.remaining())?)?;
    Ok(ShardState { ids, shard })
}

fn encode_properties(encoder: &mut Encoder, catalog: &Catalog, next_ordinal: u32) {
    encoder.u32(next_ordinal);
    encoder.u32(catalog.next_number);
    encoder.count(catalog.len() as u64);
    for property in catalog.iter() {
        let declaration = property.declaration();
        encoder.u32(property.number());
        encoder.text(declaration.name.as_str());
        encoder.u8(type_code(declaration.value_type));
        encoder.u8(u8::from(declaration.case_insensitive));
    }
}

struct DecodedCatalog {
    declarations: Vec<(u32, PropertyDeclaration)>,
    next_number: u32,
    next_ordinal: u32,
    events: KnownEvents,
    segments: Vec<SavedSegment>,
    lists: KnownLists,
}

fn decode_catalog(bytes: &[u8]) -> Result<DecodedCatalog, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let next_ordinal = decoder.u32()?;
    let next_number = decoder.u32()?;
    let mut declarations: Vec<(u32, PropertyDeclaration)> = Vec::new();
    for _ in 0..decoder.length(8)? {
        let number = decoder.u32()?;
        let name = PropertyName::new(decoder.text()?)
            .map_err(|_| decoder.bad_value("the number of a property with a name", number))?;
        let code = decoder.u8()?;
        let value_type = ValueType::ALL
            .into_iter()
            .find(|value_type| type_code(*value_type) == code)
            .ok_or_else(|| decoder.bad_value("the type of a property", code))?;
        let case_insensitive = match decoder.u8()? {
            0 => false,
            1 => true,
            other => return Err(decoder.bad_value("whether case matters", other)),
        };
        let known = declarations
            .iter()
            .any(|(other, declaration)| *other == number || declaration.name == name);
        if known || number >= next_number {
            return Err(decoder.bad_value("the number of a property", number));
        }
        declarations.push((
            number,
            PropertyDeclaration {
                name,
                value_type,
                case_insensitive,
            },
        ));
    }
    let events = if decoder.remaining() > 0 {
        decode_events(&mut decoder)?
    } else {
        KnownEvents::default()
    };
    let segments = if decoder.remaining() > 0 {
        decode_segments(&mut decoder)?
    } else {
        Vec::new()
    };
    let lists = if decoder.remaining() > 0 {
        decode_lists(&mut decoder)?
    } else {
        KnownLists::default()
    };
    decoder.finish()?;
    Ok(DecodedCatalog {
        declarations,
        next_number,
        next_ordinal,
        events,
        segments,
        lists,
    })
}

pub(super) fn type_code(value_type: ValueType) -> u8 {
    match value_type {
        ValueType::Bool => 1,
        ValueType::String => 2,
        ValueType::StringSet => 3,
        ValueType::Int64 => 4,
        ValueType::Double => 5,
        ValueType::Timestamp => 6,
        ValueType::Version => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::index::StoredEvent;
    use crate::model::{
        Action, Event, EventName, Expression, FirstMembers, Labels, ListDeclaration, NonEmpty,
        SegmentDeclaration, SegmentName, Text, Timestamp, UserUpdate,
    };

    const NOW: i64 = 1_800_000_000_000_000;

    fn population() -> Arc<Population> {
        let population = Population::new(StoreLimits::default());
        let instant = |micros| Timestamp::from_micros(micros).unwrap();
        for number in 0..30_i64 {
            let name = if number % 2 == 0 { "purchase" } else { "login" };
            let write = Action::Write(NonEmpty::one(UserUpdate {
                user: UserId::new(format!("u{}", number % 7)).unwrap(),
                value_time: None,
                changes: Vec::new(),
                events: vec![Event {
                    name: EventName::new(name).unwrap(),
                    time: Some(instant(NOW - number * 80_000_000_000)),
                    received: instant(NOW),
                    amount: None,
                    id: None,
                }],
            }));
            let revision = Revision::new(number.unsigned_abs() + 1);
            population.apply(revision, &write).unwrap();
        }
        Arc::new(population)
    }

    fn restore(parts: &BTreeMap<String, Vec<u8>>) -> Result<Population, RestoreError> {
        let limits = StoreLimits::default();
        Population::restore(limits, Revision::new(30), |name| parts.get(name).cloned())
    }

    fn captured(population: &Arc<Population>) -> BTreeMap<String, Vec<u8>> {
        let capture = population.begin_capture();
        let parts = capture.parts().map(|part| (part.name(), part));
        parts
            .map(|(name, part)| (name, part.take(None).unwrap()))
            .collect()
    }

    #[test]
    fn events_that_fit_their_names_are_restored_and_counted() {
        let population = population();
        let restored = restore(&captured(&population)).unwrap();
        assert_eq!(restored.events(), population.events());
        assert_eq!(captured(&Arc::new(restored)), captured(&population));
    }

    /// The counts that guard memory against damage must not refuse what is only small.
    #[test]
    fn the_smallest_segments_and_lists_are_restored() {
        let created = Timestamp::from_micros(NOW).unwrap();
        let name = |name: &str| SegmentName::new(name).unwrap();
        let text = Text::new("").unwrap();
        let segment = |called| {
            let declaration = SegmentDeclaration {
                name: name(called),
                definition: Expression::Everyone,
                description: text.clone(),
                labels: Labels::new(),
            };
            Action::CreateSegment(Box::new(declaration), created)
        };
        let list = Action::CreateList(
            Box::new(ListDeclaration {
                name: name("l"),
                description: text.clone(),
                labels: Labels::new(),
                members: FirstMembers::Users(Vec::new()),
            }),
            created,
        );
        for actions in [
            vec![segment("s")],
            vec![segment("s"), segment("t")],
            vec![list],
        ] {
            let population = Arc::new(Population::new(StoreLimits::default()));
            for (revision, action) in (1..).zip(&actions) {
                population.apply(Revision::new(revision), action).unwrap();
            }
            let restored = restore(&captured(&population)).unwrap();
            assert_eq!(restored.catalog().segments().len(), actions.len());
            assert_eq!(captured(&Arc::new(restored)), captured(&population));
        }
    }

    #[test]
    fn events_of_a_name_that_is_not_in_the_catalog_are_refused() {
        let population = population();
        {
            let shards = population.shards.load();
            let mut state = shards[0].write(Revision::new(31), 0, |_| Vec::new());
            let stored = StoredEvent {
                time: NOW,
                amount: None,
                id: 0,
            };
            assert!(state.shard.insert_event(2, 0, stored));
        }
        let refused = restore(&captured(&population)).unwrap_err();
        let expected = RestoreError::Mismatch {
            section: "shard-0".into(),
            fault: "an event is not in the catalog",
        };
        assert_eq!(refused, expected);
    }

    #[test]
    fn a_catalog_without_events_does_not_fit_shards_with_events() {
        let mut parts = captured(&population());
        let without = captured(&Arc::new(Population::new(StoreLimits::default())));
        // As in a folder whose catalog is that of before there were events: no properties, 7 users.
        let mut catalog = without[CATALOG].clone();
        catalog[..4].copy_from_slice(&7_u32.to_le_bytes());
        parts.insert(CATALOG.into(), catalog);
        let refused = restore(&parts).unwrap_err();
        assert!(
            matches!(refused, RestoreError::Mismatch { .. }),
            "{refused}"
        );
    }
}
