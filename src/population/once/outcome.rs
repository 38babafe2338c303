//! What a command led to, in few bytes: none if it was accepted and there is no more to say.
//!
//! Invariant: with the command at hand, every outcome comes back as it was. Which changes were
//! stale is kept as their places in the command, which a repeat has at the same places.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{
    Action, EventFault, EventName, LimitExceeded, PropertyName, SegmentName, ValueType, limit,
};
use crate::population::capture::type_code;
use crate::population::{Changes, MemberChanges, Refusal, RefusedEvent};

const ACCEPTED: u8 = 1;
const TYPE_CONFLICT: u8 = 2;
const INEXACT: u8 = 3;
const OUT_OF_RANGE: u8 = 4;
const SET_TOO_LARGE: u8 = 5;
const TOO_MANY_VALUES: u8 = 6;
const TOO_MANY_PROPERTIES: u8 = 7;
const TOO_MANY_USERS: u8 = 8;
const TOO_MANY_POPULATIONS: u8 = 9;
const PROPERTY_EXISTS: u8 = 10;
const PROPERTY_NOT_FOUND: u8 = 11;
const REQUEST_ID_REUSED: u8 = 12;
const SEQUENCE_CONFLICT: u8 = 13;
const TOO_MANY_EVENTS: u8 = 14;
const TOO_MANY_EVENT_NAMES: u8 = 15;
const EVENT_EXISTS: u8 = 16;
const EVENT_NOT_FOUND: u8 = 17;
/// Accepted, save some of its events.
const ACCEPTED_EVENTS: u8 = 18;

const TOO_MANY_SEGMENTS: u8 = 19;
const SEGMENT_TOO_LARGE: u8 = 20;
const SEGMENT_EXISTS: u8 = 21;
const SEGMENT_NOT_FOUND: u8 = 22;
const UNKNOWN_SEGMENT: u8 = 23;
const SEGMENT_CHANGED: u8 = 24;
const SEGMENT_IN_USE: u8 = 25;
const SEGMENT_CYCLE: u8 = 26;
/// Accepted: so many members of a static list changed, and some users do not exist.
const ACCEPTED_MEMBERS: u8 = 27;
const TOO_MANY_LISTS: u8 = 28;
const SEGMENT_IS_LIST: u8 = 29;
const SEGMENT_IS_NO_LIST: u8 = 30;
const FREEZE_CONFLICT: u8 = 31;

const DUPLICATE: u8 = 1;
const TOO_OLD: u8 = 2;
const TOO_FAR_AHEAD: u8 = 3;

/// The bytes of an outcome.
pub(super) fn encode(action: &Action, outcome: &Result<Changes, Refusal>) -> Vec<u8> {
    let mut encoder = Encoder::new();
    match outcome {
        Ok(changes) if *changes == Changes::default() => {}
        Ok(changes) if changes.members != MemberChanges::default() => {
            encoder.u8(ACCEPTED_MEMBERS);
            encoder.count(changes.members.changed);
            encoder.count(changes.members.unknown.len() as u64);
            for position in &changes.members.unknown {
                encoder.count(*position as u64);
            }
        }
        Ok(changes) => {
            let all_events = changes.refused_events.is_empty();
            encoder.u8(if all_events {
                ACCEPTED
            } else {
                ACCEPTED_EVENTS
            });
            encoder.u8(u8::from(changes.erased));
            encode_stale(&mut encoder, action, &changes.stale);
            if !all_events {
                encode_refused_events(&mut encoder, &changes.refused_events);
            }
        }
        Err(refusal) => encode_refusal(&mut encoder, refusal),
    }
    encoder.into_bytes()
}

/// The outcome that [`encode`] wrote. Bytes that are none, which [`check`] found none of, are taken
/// for an outcome about which there is no more to say.
pub(super) fn decode(bytes: &[u8], action: &Action) -> Result<Changes, Refusal> {
    match read(bytes) {
        Ok(Detail::Refused(refusal)) => Err(refusal),
        Ok(Detail::Accepted {
            erased,
            stale,
            refused_events,
        }) => Ok(Changes {
            stale: stale_of(&stale, action),
            erased,
            refused_events,
            members: MemberChanges::default(),
        }),
        Ok(Detail::Members(members)) => Ok(Changes {
            members,
            ..Changes::default()
        }),
        Err(_) => Ok(Changes::default()),
    }
}

/// Makes sure that bytes are an outcome.
pub(super) fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    read(bytes).map(|_| ())
}

/// An outcome of which the command is not at hand.
enum Detail {
    Accepted {
        erased: bool,
        stale: Vec<Run>,
        refused_events: Vec<RefusedEvent>,
    },
    Members(MemberChanges),
    Refused(Refusal),
}

/// Changes behind each other that were stale, after some that were not.
struct Run {
    fresh: u64,
    stale: u64,
}

/// All changes of a command, each with the place of its update.
fn changes_of(action: &Action) -> impl Iterator<Item = (usize, &PropertyName)> {
    let updates: &[_] = match action {
        Action::Write(updates) => updates,
        Action::Erase(_)
        | Action::CreateProperty(_)
        | Action::DeleteProperty(_)
        | Action::CreateEvent(_)
        | Action::UpdateEvent(_)
        | Action::DeleteEvent(_)
        | Action::CreateSegment(..)
        | Action::UpdateSegment(..)
        | Action::DeleteSegment(..)
        | Action::CreateList(..)
        | Action::AddMembers(..)
        | Action::RemoveMembers(..) => &[],
    };
    updates.iter().enumerate().flat_map(|(position, update)| {
        let changes = update.changes.iter();
        changes.map(move |change| (position, &change.property))
    })
}

fn encode_stale(encoder: &mut Encoder, action: &Action, stale: &[(usize, PropertyName)]) {
    let mut runs: Vec<Run> = Vec::new();
    let mut fresh = 0;
    let mut rest = stale.iter().peekable();
    for (position, property) in changes_of(action) {
        let is_stale = rest
            .next_if(|(update, name)| *update == position && name == property)
            .is_some();
        match runs.last_mut() {
            _ if !is_stale => fresh += 1,
            Some(run) if fresh == 0 => run.stale += 1,
            Some(_) | None => {
                runs.push(Run { fresh, stale: 1 });
                fresh = 0;
            }
        }
    }
    encoder.count(runs.len() as u64);
    for run in runs {
        encoder.count(run.fresh);
        encoder.count(run.stale);
    }
}

fn stale_of(runs: &[Run], action: &Action) -> Vec<(usize, PropertyName)> {
    let mut changes = changes_of(action);
    let mut stale = Vec::new();
    for run in runs {
        for _ in 0..run.fresh {
            if changes.next().is_none() {
                return stale;
            }
        }
        for _ in 0..run.stale {
            let Some((position, property)) = changes.next() else {
                return stale;
            };
            stale.push((position, property.clone()));
        }
    }
    stale
}

fn encode_refused_events(encoder: &mut Encoder, refused: &[RefusedEvent]) {
    encoder.count(refused.len() as u64);
    for event in refused {
        encoder.count(event.update as u64);
        encoder.count(event.event as u64);
        encoder.u8(match event.fault {
            EventFault::Duplicate => DUPLICATE,
            EventFault::TooOld => TOO_OLD,
            EventFault::TooFarAhead => TOO_FAR_AHEAD,
        });
    }
}

fn read_refused_events(decoder: &mut Decoder<'_>) -> Result<Vec<RefusedEvent>, DecodeError> {
    let mut refused = Vec::new();
    for _ in 0..decoder.length(3)? {
        refused.push(RefusedEvent {
            update: read_position(decoder)?,
            event: read_position(decoder)?,
            fault: match decoder.u8()? {
                DUPLICATE => EventFault::Duplicate,
                TOO_OLD => EventFault::TooOld,
                TOO_FAR_AHEAD => EventFault::TooFarAhead,
                other => return Err(decoder.bad_value("why an event does not count", other)),
            },
        });
    }
    Ok(refused)
}

#[expect(clippy::too_many_lines, reason = "a few lines for each refusal")]
fn encode_refusal(encoder: &mut Encoder, refusal: &Refusal) {
    match refusal {
        Refusal::TypeConflict {
            update,
            property,
            expected,
            given,
        } => {
            encoder.u8(TYPE_CONFLICT);
            encode_place(encoder, *update, property);
            encoder.u8(type_code(*expected));
            encoder.u8(type_code(*given));
        }
        Refusal::Inexact {
            update,
            property,
            number,
        } => {
            encoder.u8(INEXACT);
            encode_place(encoder, *update, property);
            encoder.i64(*number);
        }
        Refusal::OutOfRange {
            update,
            property,
            value_type,
        } => {
            encoder.u8(OUT_OF_RANGE);
            encode_place(encoder, *update, property);
            encoder.u8(type_code(*value_type));
        }
        Refusal::SetTooLarge {
            update,
            property,
            exceeded,
        } => {
            encoder.u8(SET_TOO_LARGE);
            encode_place(encoder, *update, property);
            encode_exceeded(encoder, exceeded);
        }
        Refusal::TooManyValues { property, exceeded } => {
            encoder.u8(TOO_MANY_VALUES);
            encoder.text(property.as_str());
            encode_exceeded(encoder, exceeded);
        }
        Refusal::TooManyProperties { property, exceeded } => {
            encoder.u8(TOO_MANY_PROPERTIES);
            encoder.text(property.as_str());
            encode_exceeded(encoder, exceeded);
        }
        Refusal::TooManyUsers { exceeded } => {
            encoder.u8(TOO_MANY_USERS);
            encode_exceeded(encoder, exceeded);
        }
        Refusal::TooManyPopulations { exceeded } => {
            encoder.u8(TOO_MANY_POPULATIONS);
            encode_exceeded(encoder, exceeded);
        }
        Refusal::PropertyExists {
            property,
            value_type,
        } => {
            encoder.u8(PROPERTY_EXISTS);
            encoder.text(property.as_str());
            encoder.u8(type_code(*value_type));
        }
        Refusal::PropertyNotFound { property } => {
            encoder.u8(PROPERTY_NOT_FOUND);
            encoder.text(property.as_str());
        }
        Refusal::TooManyEvents { exceeded } => {
            encoder.u8(TOO_MANY_EVENTS);
            encode_exceeded(encoder, exceeded);
        }
        Refusal::TooManyEventNames { event, exceeded } => {
            encoder.u8(TOO_MANY_EVENT_NAMES);
            encoder.text(event.as_str());
            encode_exceeded(encoder, exceeded);
        }
        Refusal::EventExists { event } => {
            encoder.u8(EVENT_EXISTS);
            encoder.text(event.as_str());
        }
        Refusal::EventNotFound { event } => {
            encoder.u8(EVENT_NOT_FOUND);
            encoder.text(event.as_str());
        }
        Refusal::TooManySegments { segment, exceeded } => {
            encode_segment(encoder, TOO_MANY_SEGMENTS, segment);
            encode_exceeded(encoder, exceeded);
        }
        Refusal::SegmentTooLarge { segment, exceeded } => {
            encode_segment(encoder, SEGMENT_TOO_LARGE, segment);
            encoder.u8(match exceeded.limit {
                limit::SEGMENT_DEPTH => 1,
                limit::SELECTION_VALUES => 2,
                _ => 0,
            });
            encode_exceeded(encoder, exceeded);
        }
        Refusal::SegmentExists { segment } => encode_segment(encoder, SEGMENT_EXISTS, segment),
        Refusal::SegmentNotFound { segment } => {
            encode_segment(encoder, SEGMENT_NOT_FOUND, segment);
        }
        Refusal::UnknownSegment { segment } => encode_segment(encoder, UNKNOWN_SEGMENT, segment),
        Refusal::SegmentChanged { segment } => encode_segment(encoder, SEGMENT_CHANGED, segment),
        Refusal::SegmentInUse { segment } => encode_segment(encoder, SEGMENT_IN_USE, segment),
        Refusal::SegmentCycle { segment } => encode_segment(encoder, SEGMENT_CYCLE, segment),
        Refusal::TooManyLists { segment, exceeded } => {
            encode_segment(encoder, TOO_MANY_LISTS, segment);
            encode_exceeded(encoder, exceeded);
        }
        Refusal::SegmentIsList { segment } => encode_segment(encoder, SEGMENT_IS_LIST, segment),
        Refusal::SegmentIsNoList { segment } => {
            encode_segment(encoder, SEGMENT_IS_NO_LIST, segment);
        }
        Refusal::FreezeConflict { segment } => encode_segment(encoder, FREEZE_CONFLICT, segment),
        Refusal::RequestIdReused => encoder.u8(REQUEST_ID_REUSED),
        Refusal::SequenceConflict { previous, last } => {
            encoder.u8(SEQUENCE_CONFLICT);
            encoder.count(*previous);
            encoder.count(*last);
        }
    }
}

fn read(bytes: &[u8]) -> Result<Detail, DecodeError> {
    if bytes.is_empty() {
        return Ok(Detail::Accepted {
            erased: false,
            stale: Vec::new(),
            refused_events: Vec::new(),
        });
    }
    let mut decoder = Decoder::new(bytes);
    let kind = decoder.u8()?;
    let detail = if kind == ACCEPTED || kind == ACCEPTED_EVENTS {
        let erased = match decoder.u8()? {
            0 => false,
            1 => true,
            other => return Err(decoder.bad_value("whether a user was erased", other)),
        };
        let mut stale = Vec::new();
        for _ in 0..decoder.length(2)? {
            stale.push(Run {
                fresh: decoder.count()?,
                stale: decoder.count()?,
            });
        }
        let refused_events = if kind == ACCEPTED_EVENTS {
            read_refused_events(&mut decoder)?
        } else {
            Vec::new()
        };
        Detail::Accepted {
            erased,
            stale,
            refused_events,
        }
    } else if kind == ACCEPTED_MEMBERS {
        let changed = decoder.count()?;
        let mut unknown = Vec::new();
        for _ in 0..decoder.length(1)? {
            unknown.push(read_position(&mut decoder)?);
        }
        Detail::Members(MemberChanges { changed, unknown })
    } else {
        Detail::Refused(read_refusal(&mut decoder, kind)?)
    };
    decoder.finish()?;
    Ok(detail)
}

#[expect(clippy::too_many_lines, reason = "a few lines for each refusal")]
fn read_refusal(decoder: &mut Decoder<'_>, kind: u8) -> Result<Refusal, DecodeError> {
    Ok(match kind {
        TYPE_CONFLICT => Refusal::TypeConflict {
            update: read_position(decoder)?,
            property: read_property(decoder)?,
            expected: read_type(decoder)?,
            given: read_type(decoder)?,
        },
        INEXACT => Refusal::Inexact {
            update: read_position(decoder)?,
            property: read_property(decoder)?,
            number: decoder.i64()?,
        },
        OUT_OF_RANGE => Refusal::OutOfRange {
            update: read_position(decoder)?,
            property: read_property(decoder)?,
            value_type: read_type(decoder)?,
        },
        SET_TOO_LARGE => Refusal::SetTooLarge {
            update: read_position(decoder)?,
            property: read_property(decoder)?,
            exceeded: read_exceeded(decoder, limit::SET_ELEMENTS)?,
        },
        TOO_MANY_VALUES => Refusal::TooManyValues {
            property: read_property(decoder)?,
            exceeded: read_exceeded(decoder, limit::DISTINCT_VALUES)?,
        },
        TOO_MANY_PROPERTIES => Refusal::TooManyProperties {
            property: read_property(decoder)?,
            exceeded: read_exceeded(decoder, limit::PROPERTIES)?,
        },
        TOO_MANY_USERS => Refusal::TooManyUsers {
            exceeded: read_exceeded(decoder, limit::USERS)?,
        },
        TOO_MANY_POPULATIONS => Refusal::TooManyPopulations {
            exceeded: read_exceeded(decoder, limit::POPULATIONS)?,
        },
        PROPERTY_EXISTS => Refusal::PropertyExists {
            property: read_property(decoder)?,
            value_type: read_type(decoder)?,
        },
        PROPERTY_NOT_FOUND => Refusal::PropertyNotFound {
            property: read_property(decoder)?,
        },
        TOO_MANY_EVENTS => Refusal::TooManyEvents {
            exceeded: read_exceeded(decoder, limit::EVENTS)?,
        },
        TOO_MANY_EVENT_NAMES => Refusal::TooManyEventNames {
            event: read_event(decoder)?,
            exceeded: read_exceeded(decoder, limit::EVENT_NAMES)?,
        },
        EVENT_EXISTS => Refusal::EventExists {
            event: read_event(decoder)?,
        },
        EVENT_NOT_FOUND => Refusal::EventNotFound {
            event: read_event(decoder)?,
        },
        TOO_MANY_SEGMENTS => Refusal::TooManySegments {
            segment: read_segment(decoder)?,
            exceeded: read_exceeded(decoder, limit::SEGMENTS)?,
        },
        SEGMENT_TOO_LARGE => Refusal::SegmentTooLarge {
            segment: read_segment(decoder)?,
            exceeded: {
                let of = match decoder.u8()? {
                    0 => limit::SEGMENT_NODES,
                    1 => limit::SEGMENT_DEPTH,
                    2 => limit::SELECTION_VALUES,
                    other => return Err(decoder.bad_value("a limit of segments", other)),
                };
                read_exceeded(decoder, of)?
            },
        },
        SEGMENT_EXISTS => Refusal::SegmentExists {
            segment: read_segment(decoder)?,
        },
        SEGMENT_NOT_FOUND => Refusal::SegmentNotFound {
            segment: read_segment(decoder)?,
        },
        UNKNOWN_SEGMENT => Refusal::UnknownSegment {
            segment: read_segment(decoder)?,
        },
        SEGMENT_CHANGED => Refusal::SegmentChanged {
            segment: read_segment(decoder)?,
        },
        SEGMENT_IN_USE => Refusal::SegmentInUse {
            segment: read_segment(decoder)?,
        },
        SEGMENT_CYCLE => Refusal::SegmentCycle {
            segment: read_segment(decoder)?,
        },
        TOO_MANY_LISTS => Refusal::TooManyLists {
            segment: read_segment(decoder)?,
            exceeded: read_exceeded(decoder, limit::STATIC_LISTS)?,
        },
        SEGMENT_IS_LIST => Refusal::SegmentIsList {
            segment: read_segment(decoder)?,
        },
        SEGMENT_IS_NO_LIST => Refusal::SegmentIsNoList {
            segment: read_segment(decoder)?,
        },
        FREEZE_CONFLICT => Refusal::FreezeConflict {
            segment: read_segment(decoder)?,
        },
        REQUEST_ID_REUSED => Refusal::RequestIdReused,
        SEQUENCE_CONFLICT => Refusal::SequenceConflict {
            previous: decoder.count()?,
            last: decoder.count()?,
        },
        other => return Err(decoder.bad_value("the kind of an outcome", other)),
    })
}

fn encode_place(encoder: &mut Encoder, update: usize, property: &PropertyName) {
    encoder.count(update as u64);
    encoder.text(property.as_str());
}

fn read_position(decoder: &mut Decoder<'_>) -> Result<usize, DecodeError> {
    let position = decoder.count()?;
    usize::try_from(position).map_err(|_| decoder.bad_value("a position in a command", position))
}

fn read_event(decoder: &mut Decoder<'_>) -> Result<EventName, DecodeError> {
    let text = decoder.text()?;
    EventName::new(text)
        .map_err(|_| decoder.bad_value("the length of an event's name", text.len() as u64))
}

fn read_property(decoder: &mut Decoder<'_>) -> Result<PropertyName, DecodeError> {
    let text = decoder.text()?;
    PropertyName::new(text)
        .map_err(|_| decoder.bad_value("the length of a property name", text.len() as u64))
}

fn encode_segment(encoder: &mut Encoder, kind: u8, segment: &SegmentName) {
    encoder.u8(kind);
    encoder.text(segment.as_str());
}

fn read_segment(decoder: &mut Decoder<'_>) -> Result<SegmentName, DecodeError> {
    let text = decoder.text()?;
    SegmentName::new(text)
        .map_err(|_| decoder.bad_value("the length of a segment's name", text.len() as u64))
}

fn encode_exceeded(encoder: &mut Encoder, exceeded: &LimitExceeded) {
    encoder.count(exceeded.allowed);
    encoder.count(exceeded.given);
}

fn read_exceeded(
    decoder: &mut Decoder<'_>,
    limit: crate::model::Limit,
) -> Result<LimitExceeded, DecodeError> {
    Ok(LimitExceeded {
        limit,
        allowed: decoder.count()?,
        given: decoder.count()?,
    })
}

fn read_type(decoder: &mut Decoder<'_>) -> Result<ValueType, DecodeError> {
    let code = decoder.u8()?;
    ValueType::ALL
        .into_iter()
        .find(|value_type| type_code(*value_type) == code)
        .ok_or_else(|| decoder.bad_value("the type of a property", code))
}
