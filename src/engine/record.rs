//! A command as the bytes of a log record, and back.
//!
//! Invariant: every command comes back equal, and bytes that are no command are refused by the
//! same checks that a request's values pass. The first byte is the version of the format: what it
//! means never changes, since old logs are replayed.

use super::record_event::{
    Received, decode_event, decode_event_declaration, encode_event, event_name,
};
use super::record_segment;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{
    Action, Change, Command, Digest, Finite, NonEmpty, Number, Once, Operation, PopulationName,
    PropertyDeclaration, PropertyName, RequestId, StoreLimits, StreamId, Text, Timestamp, UserId,
    UserUpdate, Value, ValueType,
};

const VERSION: u8 = 1;

const SET_LIMITS: u8 = 1;
const WRITE: u8 = 2;
const ERASE: u8 = 3;
const CREATE_PROPERTY: u8 = 4;
const DELETE_PROPERTY: u8 = 5;
/// A write in which there are events.
const WRITE_EVENTS: u8 = 6;
const CREATE_EVENT: u8 = 7;
const UPDATE_EVENT: u8 = 8;
const DELETE_EVENT: u8 = 9;
/// Limits, with those of events.
const SET_ALL_LIMITS: u8 = 10;

const REQUEST: u8 = 1;
const BATCH: u8 = 2;

const SET: u8 = 1;
const SET_ONCE: u8 = 2;
const UNSET: u8 = 3;
const INCREMENT: u8 = 4;
const ADD_TO_SET: u8 = 5;
const REMOVE_FROM_SET: u8 = 6;

const BOOL: u8 = 1;
const STRING: u8 = 2;
const STRING_SET: u8 = 3;
const INT64: u8 = 4;
const DOUBLE: u8 = 5;
const TIMESTAMP: u8 = 6;
const VERSION_NUMBER: u8 = 7;

/// The bytes of a command.
#[must_use]
pub fn encode(command: &Command) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.u8(VERSION);
    match command {
        Command::SetLimits(limits) => {
            encoder.u8(SET_ALL_LIMITS);
            encode_limits(&mut encoder, limits);
        }
        Command::Population { name, once, action } => {
            encoder.u8(kind(action));
            encoder.text(name.as_str());
            encode_once(&mut encoder, once.as_ref());
            encode_action(&mut encoder, action, Received::Kept);
        }
    }
    encoder.into_bytes()
}

/// Stands for what an action does, in [`Once::Request`].
#[must_use]
pub fn content(action: &Action) -> u64 {
    let mut encoder = Encoder::new();
    encoder.u8(kind(action));
    // A repeat has the same content and is received later.
    encode_action(&mut encoder, action, Received::Dropped);
    Digest::of(&[&encoder.into_bytes()]).head()
}

fn kind(action: &Action) -> u8 {
    match action {
        Action::Write(updates) if has_events(updates) => WRITE_EVENTS,
        Action::Write(_) => WRITE,
        Action::Erase(_) => ERASE,
        Action::CreateProperty(_) => CREATE_PROPERTY,
        Action::DeleteProperty(_) => DELETE_PROPERTY,
        Action::CreateEvent(_) => CREATE_EVENT,
        Action::UpdateEvent(_) => UPDATE_EVENT,
        Action::DeleteEvent(_) => DELETE_EVENT,
        Action::CreateSegment(..) => record_segment::CREATE_SEGMENT,
        Action::UpdateSegment(..) => record_segment::UPDATE_SEGMENT,
        Action::DeleteSegment(..) => record_segment::DELETE_SEGMENT,
        Action::CreateList(..) => record_segment::CREATE_LIST,
        Action::AddMembers(..) => record_segment::ADD_MEMBERS,
        Action::RemoveMembers(..) => record_segment::REMOVE_MEMBERS,
    }
}

fn has_events(updates: &[UserUpdate]) -> bool {
    updates.iter().any(|update| !update.events.is_empty())
}

fn encode_once(encoder: &mut Encoder, once: Option<&Once>) {
    match once {
        None => encoder.u8(0),
        Some(Once::Request { id, content }) => {
            encoder.u8(REQUEST);
            encoder.text(id.as_str());
            encoder.u64(*content);
        }
        Some(Once::Batch {
            stream,
            previous,
            sequence,
        }) => {
            encoder.u8(BATCH);
            encoder.text(stream.as_str());
            encoder.count(*previous);
            encoder.count(*sequence);
        }
    }
}

fn encode_action(encoder: &mut Encoder, action: &Action, received: Received) {
    match action {
        Action::Write(updates) => {
            encoder.count(updates.len() as u64);
            let with_events = has_events(updates);
            let mut before = None;
            for update in updates.iter() {
                encode_update(encoder, update);
                if with_events {
                    encoder.count(update.events.len() as u64);
                    for event in &update.events {
                        encode_event(encoder, event, received, &mut before);
                    }
                }
            }
        }
        Action::Erase(user) => encoder.text(user.as_str()),
        Action::CreateProperty(declaration) => {
            encoder.text(declaration.name.as_str());
            encoder.u8(type_code(declaration.value_type));
            encoder.u8(u8::from(declaration.case_insensitive));
        }
        Action::DeleteProperty(name) => encoder.text(name.as_str()),
        Action::CreateEvent(declaration) | Action::UpdateEvent(declaration) => {
            encoder.text(declaration.name.as_str());
            encoder.i64(declaration.retention.micros());
        }
        Action::DeleteEvent(name) => encoder.text(name.as_str()),
        Action::CreateSegment(declaration, time) => {
            record_segment::encode_creation(encoder, declaration);
            encode_time(encoder, *time, received);
        }
        Action::UpdateSegment(change, time) => {
            record_segment::encode_change(encoder, change);
            encode_time(encoder, *time, received);
        }
        Action::DeleteSegment(name, since) => {
            record_segment::encode_deletion(encoder, name, *since);
        }
        Action::CreateList(declaration, time) => {
            record_segment::encode_list(encoder, declaration);
            encode_time(encoder, *time, received);
        }
        Action::AddMembers(name, users) | Action::RemoveMembers(name, users) => {
            record_segment::encode_members(encoder, name, users);
        }
    }
}

/// When a command arrived, which does not belong to its content.
fn encode_time(encoder: &mut Encoder, time: Timestamp, received: Received) {
    if received == Received::Kept {
        encoder.i64(time.micros());
    }
}

/// Whether the bytes of a command are those of an erasure, as far as their beginning tells.
#[must_use]
pub fn is_erasure(bytes: &[u8]) -> bool {
    bytes.starts_with(&[VERSION, ERASE])
}

/// Reads the bytes of a command.
///
/// # Errors
/// [`DecodeError`] if the bytes are not those of a command, or are of a later version.
pub fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let version = decoder.u8()?;
    if version != VERSION {
        return Err(decoder.bad_value("the version of a record", version));
    }
    let kind = decoder.u8()?;
    if kind == SET_LIMITS || kind == SET_ALL_LIMITS {
        let limits = decode_limits(&mut decoder, kind == SET_ALL_LIMITS)?;
        decoder.finish()?;
        return Ok(Command::SetLimits(limits));
    }
    let name = checked(&mut decoder, "a population name", |text| {
        PopulationName::new(text).ok()
    })?;
    let once = decode_once(&mut decoder)?;
    let action = match kind {
        WRITE | WRITE_EVENTS => {
            let mut updates = Vec::new();
            let mut before = None;
            for _ in 0..decoder.length(3)? {
                let mut update = decode_update(&mut decoder)?;
                if kind == WRITE_EVENTS {
                    for _ in 0..decoder.length(2)? {
                        update.events.push(decode_event(&mut decoder, &mut before)?);
                    }
                }
                updates.push(update);
            }
            let updates = NonEmpty::new(updates);
            Action::Write(updates.ok_or_else(|| decoder.bad_value("the number of updates", 0_u8))?)
        }
        ERASE => Action::Erase(user_id(&mut decoder)?),
        CREATE_PROPERTY => Action::CreateProperty(PropertyDeclaration {
            name: property_name(&mut decoder)?,
            value_type: decode_type(&mut decoder)?,
            case_insensitive: decode_bool(&mut decoder)?,
        }),
        DELETE_PROPERTY => Action::DeleteProperty(property_name(&mut decoder)?),
        CREATE_EVENT => Action::CreateEvent(decode_event_declaration(&mut decoder)?),
        UPDATE_EVENT => Action::UpdateEvent(decode_event_declaration(&mut decoder)?),
        DELETE_EVENT => Action::DeleteEvent(event_name(&mut decoder)?),
        record_segment::CREATE_SEGMENT => {
            let declaration = record_segment::decode_creation(&mut decoder)?;
            Action::CreateSegment(Box::new(declaration), decode_timestamp(&mut decoder)?)
        }
        record_segment::UPDATE_SEGMENT => {
            let change = record_segment::decode_change(&mut decoder)?;
            Action::UpdateSegment(Box::new(change), decode_timestamp(&mut decoder)?)
        }
        record_segment::DELETE_SEGMENT => {
            let (name, since) = record_segment::decode_deletion(&mut decoder)?;
            Action::DeleteSegment(name, since)
        }
        record_segment::CREATE_LIST => {
            let declaration = record_segment::decode_list(&mut decoder)?;
            Action::CreateList(Box::new(declaration), decode_timestamp(&mut decoder)?)
        }
        record_segment::ADD_MEMBERS => {
            let (name, users) = record_segment::decode_members(&mut decoder)?;
            Action::AddMembers(name, users)
        }
        record_segment::REMOVE_MEMBERS => {
            let (name, users) = record_segment::decode_members(&mut decoder)?;
            Action::RemoveMembers(name, users)
        }
        other => return Err(decoder.bad_value("the kind of a record", other)),
    };
    decoder.finish()?;
    Ok(Command::Population { name, once, action })
}

/// Appends limits; also part of snapshots.
pub(super) fn encode_limits(encoder: &mut Encoder, limits: &StoreLimits) {
    let StoreLimits {
        populations,
        users,
        properties,
        distinct_values,
        set_elements,
        request_ids,
        streams,
        event_names,
        events,
        event_retention_days,
        event_ahead_seconds,
        segments,
    } = *limits;
    for limit in [
        populations,
        users,
        properties,
        distinct_values,
        set_elements,
        request_ids,
        streams,
        event_names,
        events,
        event_retention_days,
        event_ahead_seconds,
        segments,
    ] {
        encoder.count(limit);
    }
}

/// Reads limits: those that [`encode_limits`] writes or, as the first version of the format had
/// them, without those of events, which are then the default ones.
pub(super) fn decode_limits(
    decoder: &mut Decoder<'_>,
    with_events: bool,
) -> Result<StoreLimits, DecodeError> {
    let mut limits = StoreLimits {
        populations: decoder.count()?,
        users: decoder.count()?,
        properties: decoder.count()?,
        distinct_values: decoder.count()?,
        set_elements: decoder.count()?,
        request_ids: decoder.count()?,
        streams: decoder.count()?,
        ..StoreLimits::default()
    };
    if with_events {
        limits.event_names = decoder.count()?;
        limits.events = decoder.count()?;
        limits.event_retention_days = decoder.count()?;
        limits.event_ahead_seconds = decoder.count()?;
        limits.segments = decoder.count()?;
    }
    Ok(limits)
}

fn decode_once(decoder: &mut Decoder<'_>) -> Result<Option<Once>, DecodeError> {
    Ok(match decoder.u8()? {
        0 => None,
        REQUEST => Some(Once::Request {
            id: checked(decoder, "the length of a request id", |text| {
                RequestId::new(text).ok()
            })?,
            content: decoder.u64()?,
        }),
        BATCH => Some(Once::Batch {
            stream: checked(decoder, "the length of a stream id", |text| {
                StreamId::new(text).ok()
            })?,
            previous: decoder.count()?,
            sequence: decoder.count()?,
        }),
        other => return Err(decoder.bad_value("what makes a command known again", other)),
    })
}

fn encode_update(encoder: &mut Encoder, update: &UserUpdate) {
    encoder.text(update.user.as_str());
    match update.value_time {
        None => encoder.u8(0),
        Some(time) => {
            encoder.u8(1);
            encoder.i64(time.micros());
        }
    }
    encoder.count(update.changes.len() as u64);
    for change in &update.changes {
        encoder.text(change.property.as_str());
        match &change.operation {
            Operation::Set(value) => {
                encoder.u8(SET);
                encode_value(encoder, value);
            }
            Operation::SetOnce(value) => {
                encoder.u8(SET_ONCE);
                encode_value(encoder, value);
            }
            Operation::Unset => encoder.u8(UNSET),
            Operation::Increment(number) => {
                encoder.u8(INCREMENT);
                encode_value(encoder, &Value::from(*number));
            }
            Operation::AddToSet(elements) => {
                encoder.u8(ADD_TO_SET);
                encode_texts(encoder, elements.iter());
            }
            Operation::RemoveFromSet(elements) => {
                encoder.u8(REMOVE_FROM_SET);
                encode_texts(encoder, elements.iter());
            }
        }
    }
}

fn decode_update(decoder: &mut Decoder<'_>) -> Result<UserUpdate, DecodeError> {
    let user = user_id(decoder)?;
    let has_time = decode_bool(decoder)?;
    let value_time = has_time.then(|| decode_timestamp(decoder)).transpose()?;
    let mut changes = Vec::new();
    for _ in 0..decoder.length(3)? {
        let property = property_name(decoder)?;
        let operation = match decoder.u8()? {
            SET => Operation::Set(decode_value(decoder)?),
            SET_ONCE => Operation::SetOnce(decode_value(decoder)?),
            UNSET => Operation::Unset,
            INCREMENT => Operation::Increment(match decode_value(decoder)? {
                Value::Int64(number) => Number::Int64(number),
                Value::Double(number) => Number::Double(number),
                other @ (Value::Bool(_)
                | Value::String(_)
                | Value::StringSet(_)
                | Value::Timestamp(_)
                | Value::Version(_)) => {
                    return Err(decoder
                        .bad_value("the type of an increment", type_code(other.value_type())));
                }
            }),
            ADD_TO_SET => Operation::AddToSet(decode_elements(decoder)?),
            REMOVE_FROM_SET => Operation::RemoveFromSet(decode_elements(decoder)?),
            other => return Err(decoder.bad_value("an operation", other)),
        };
        changes.push(Change {
            property,
            operation,
        });
    }
    Ok(UserUpdate {
        user,
        value_time,
        changes,
        events: Vec::new(),
    })
}

fn encode_value(encoder: &mut Encoder, value: &Value) {
    encoder.u8(type_code(value.value_type()));
    match value {
        Value::Bool(value) => encoder.u8(u8::from(*value)),
        Value::String(text) => encoder.text(text.as_str()),
        Value::StringSet(elements) => encode_texts(encoder, elements.iter()),
        Value::Int64(number) => encoder.i64(*number),
        Value::Double(number) => encoder.u64(number.get().to_bits()),
        Value::Timestamp(timestamp) => encoder.i64(timestamp.micros()),
        Value::Version(version) => encoder.text(&version.to_string()),
    }
}

fn decode_value(decoder: &mut Decoder<'_>) -> Result<Value, DecodeError> {
    Ok(match decode_type(decoder)? {
        ValueType::Bool => Value::Bool(decode_bool(decoder)?),
        ValueType::String => Value::String(text(decoder)?),
        ValueType::StringSet => {
            let mut elements = std::collections::BTreeSet::new();
            for _ in 0..decoder.length(1)? {
                elements.insert(text(decoder)?);
            }
            Value::StringSet(elements)
        }
        ValueType::Int64 => Value::Int64(decoder.i64()?),
        ValueType::Double => {
            let bits = decoder.u64()?;
            let number = Finite::new(f64::from_bits(bits));
            Value::Double(
                number.ok_or_else(|| decoder.bad_value("the bits of a finite number", bits))?,
            )
        }
        ValueType::Timestamp => Value::Timestamp(decode_timestamp(decoder)?),
        ValueType::Version => {
            Value::Version(checked(decoder, "a version", |text| text.parse().ok())?)
        }
    })
}

fn encode_texts<'a>(encoder: &mut Encoder, texts: impl ExactSizeIterator<Item = &'a Text>) {
    encoder.count(texts.len() as u64);
    for text in texts {
        encoder.text(text.as_str());
    }
}

fn decode_elements(decoder: &mut Decoder<'_>) -> Result<NonEmpty<Text>, DecodeError> {
    let mut elements = Vec::new();
    for _ in 0..decoder.length(1)? {
        elements.push(text(decoder)?);
    }
    NonEmpty::new(elements).ok_or_else(|| decoder.bad_value("the number of elements", 0_u8))
}

pub(super) fn decode_timestamp(decoder: &mut Decoder<'_>) -> Result<Timestamp, DecodeError> {
    let micros = decoder.i64()?;
    Timestamp::from_micros(micros)
        .map_err(|_| decoder.bad_value("microseconds since 1970", micros.cast_unsigned()))
}

fn decode_bool(decoder: &mut Decoder<'_>) -> Result<bool, DecodeError> {
    match decoder.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(decoder.bad_value("a truth value", other)),
    }
}

fn text(decoder: &mut Decoder<'_>) -> Result<Text, DecodeError> {
    checked(decoder, "the length of a text", |text| Text::new(text).ok())
}

pub(super) fn user_id(decoder: &mut Decoder<'_>) -> Result<UserId, DecodeError> {
    checked(decoder, "the length of a user id", |text| {
        UserId::new(text).ok()
    })
}

fn property_name(decoder: &mut Decoder<'_>) -> Result<PropertyName, DecodeError> {
    checked(decoder, "the length of a property name", |text| {
        PropertyName::new(text).ok()
    })
}

/// A text that makes a value of the vocabulary. An error tells its length, never the text: it can
/// be personal.
pub(super) fn checked<T>(
    decoder: &mut Decoder<'_>,
    what: &'static str,
    make: impl FnOnce(&str) -> Option<T>,
) -> Result<T, DecodeError> {
    let text = decoder.text()?;
    make(text).ok_or_else(|| decoder.bad_value(what, text.len() as u64))
}

fn decode_type(decoder: &mut Decoder<'_>) -> Result<ValueType, DecodeError> {
    let code = decoder.u8()?;
    ValueType::ALL
        .into_iter()
        .find(|value_type| type_code(*value_type) == code)
        .ok_or_else(|| decoder.bad_value("the type of a value", code))
}

fn type_code(value_type: ValueType) -> u8 {
    match value_type {
        ValueType::Bool => BOOL,
        ValueType::String => STRING,
        ValueType::StringSet => STRING_SET,
        ValueType::Int64 => INT64,
        ValueType::Double => DOUBLE,
        ValueType::Timestamp => TIMESTAMP,
        ValueType::Version => VERSION_NUMBER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Amount, Event, EventDeclaration, EventId, EventName};

    fn name(text: &str) -> PropertyName {
        PropertyName::new(text).unwrap()
    }

    fn texts(texts: &[&str]) -> Vec<Text> {
        texts.iter().map(|text| Text::new(*text).unwrap()).collect()
    }

    fn event(time: Option<i64>, received: i64, amount: Option<i64>, id: Option<&str>) -> Event {
        let at = |micros| Timestamp::from_micros(micros).unwrap();
        Event {
            name: EventName::new("purchase").unwrap(),
            time: time.map(at),
            received: at(received),
            amount: amount.map(|millionths| Amount::from_millionths(millionths).unwrap()),
            id: id.map(|id| EventId::new(id).unwrap()),
        }
    }

    fn did(events: Vec<Event>) -> Action {
        Action::Write(NonEmpty::one(UserUpdate {
            user: UserId::new("u1").unwrap(),
            value_time: None,
            changes: Vec::new(),
            events,
        }))
    }

    fn commands() -> Vec<Command> {
        let values = [
            Value::Bool(true),
            Value::String(Text::new("it's").unwrap()),
            Value::StringSet(texts(&["", "a"]).into_iter().collect()),
            Value::Int64(i64::MIN),
            Value::Double(Finite::new(-0.5).unwrap()),
            Value::Timestamp(Timestamp::MAX),
            Value::Version("2.10.0-rc.1".parse().unwrap()),
        ];
        let mut operations: Vec<Operation> = values.iter().cloned().map(Operation::Set).collect();
        operations.extend(values.into_iter().map(Operation::SetOnce));
        operations.extend([
            Operation::Unset,
            Operation::Increment(Number::Int64(-3)),
            Operation::Increment(Number::Double(Finite::new(0.1).unwrap())),
            Operation::AddToSet(NonEmpty::new(texts(&["x", "y"])).unwrap()),
            Operation::RemoveFromSet(NonEmpty::new(texts(&["x"])).unwrap()),
        ]);
        let changes = operations.into_iter().map(|operation| Change {
            property: name("a property"),
            operation,
        });
        let updates = vec![
            UserUpdate {
                user: UserId::new("u1").unwrap(),
                value_time: None,
                changes: changes.collect(),
                events: Vec::new(),
            },
            UserUpdate {
                user: UserId::new("u2").unwrap(),
                value_time: Some(Timestamp::MIN),
                changes: Vec::new(),
                events: Vec::new(),
            },
        ];
        let actions = [
            Action::Write(NonEmpty::new(updates).unwrap()),
            Action::Erase(UserId::new("u1").unwrap()),
            Action::CreateProperty(PropertyDeclaration {
                name: name("city"),
                value_type: ValueType::String,
                case_insensitive: true,
            }),
            Action::DeleteProperty(name("city")),
            did(vec![
                event(None, 7, None, None),
                event(Some(-5), 7, Some(-11_770_000), Some("e1")),
                event(Some(0), 9, Some(0), None),
            ]),
            Action::CreateEvent(EventDeclaration {
                name: EventName::new("purchase").unwrap(),
                retention: "400d".parse().unwrap(),
            }),
            Action::UpdateEvent(EventDeclaration {
                name: EventName::new("purchase").unwrap(),
                retention: "1us".parse().unwrap(),
            }),
            Action::DeleteEvent(EventName::new("purchase").unwrap()),
        ];
        let ways = [
            None,
            Some(Once::Request {
                id: RequestId::new("r").unwrap(),
                content: u64::MAX,
            }),
            Some(Once::Batch {
                stream: StreamId::new("s").unwrap(),
                previous: 0,
                sequence: u64::MAX,
            }),
        ];
        let in_population = actions.iter().flat_map(|action| {
            ways.iter().map(|once| Command::Population {
                name: PopulationName::default(),
                once: once.clone(),
                action: action.clone(),
            })
        });
        in_population
            .chain([Command::SetLimits(StoreLimits::default())])
            .collect()
    }

    #[test]
    fn every_command_comes_back() {
        for command in commands() {
            assert_eq!(decode(&encode(&command)), Ok(command));
        }
    }

    #[test]
    fn content_tells_actions_apart_and_stays_what_it_is() {
        let mut contents: Vec<u64> = commands()
            .iter()
            .filter_map(|command| match command {
                Command::Population { action, .. } => Some(content(action)),
                Command::SetLimits(_) => None,
            })
            .collect();
        contents.dedup();
        assert_eq!(contents.len(), 8);
        // Kept on disk: `printf '\3\2u1' | sha256sum`.
        let erase = Action::Erase(UserId::new("u1").unwrap());
        assert_eq!(content(&erase), 0xd3c3_6788_a798_664d);
    }

    #[test]
    fn content_does_not_tell_when_events_were_received() {
        let at = |received| content(&did(vec![event(None, received, Some(1), Some("e"))]));
        assert_eq!(at(1), at(2));
        let timed = |time| content(&did(vec![event(time, 1, Some(1), Some("e"))]));
        assert_ne!(timed(Some(1)), timed(Some(2)));
        assert_ne!(timed(Some(1)), timed(None));
    }

    #[test]
    fn limits_of_the_first_format_have_the_default_ones_of_events() {
        let mut encoder = Encoder::new();
        encoder.u8(VERSION);
        encoder.u8(SET_LIMITS);
        for limit in 1..=7 {
            encoder.count(limit);
        }
        let limits = StoreLimits {
            populations: 1,
            users: 2,
            properties: 3,
            distinct_values: 4,
            set_elements: 5,
            request_ids: 6,
            streams: 7,
            ..StoreLimits::default()
        };
        assert_eq!(
            decode(&encoder.into_bytes()),
            Ok(Command::SetLimits(limits))
        );
    }

    #[test]
    fn damaged_bytes_are_refused_or_another_command_but_never_a_panic() {
        for command in commands() {
            let bytes = encode(&command);
            for length in 0..bytes.len() {
                assert!(decode(&bytes[..length]).is_err());
            }
            for position in 0..bytes.len() {
                for bit in 0..8 {
                    let mut damaged = bytes.clone();
                    damaged[position] ^= 1 << bit;
                    if let Ok(other) = decode(&damaged) {
                        assert_ne!(other, command);
                    }
                }
            }
        }
    }
}
