//! What a snapshot holds of events besides the events themselves.

use super::catalog::KnownEvent;
use super::kept::EventCounts;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{EventDeclaration, EventName, Span};

/// The names of events, and what is counted of each.
pub(super) struct KnownEvents {
    pub(super) next_event: u32,
    pub(super) expired_on: i32,
    pub(super) events: Vec<(KnownEvent, EventCounts)>,
}

impl Default for KnownEvents {
    fn default() -> Self {
        Self {
            next_event: 0,
            expired_on: i32::MIN,
            events: Vec::new(),
        }
    }
}

/// Appends them. How many events are kept, and since when, is counted anew.
pub(super) fn encode_events(encoder: &mut Encoder, known: &KnownEvents) {
    encoder.u32(known.next_event);
    encoder.u32(known.expired_on.cast_unsigned());
    encoder.count(known.events.len() as u64);
    for (event, counts) in &known.events {
        let declaration = event.declaration();
        encoder.u32(event.number());
        encoder.text(declaration.name.as_str());
        encoder.i64(declaration.retention.micros());
        encoder.count(counts.duplicates);
        encoder.count(counts.too_old);
        encoder.count(counts.too_far_ahead);
        encoder.u8(u8::from(counts.kept_from.is_some()));
        if let Some(day) = counts.kept_from {
            encoder.u32(day.cast_unsigned());
        }
    }
}

/// Reads what [`encode_events`] wrote.
pub(super) fn decode_events(decoder: &mut Decoder<'_>) -> Result<KnownEvents, DecodeError> {
    let next_event = decoder.u32()?;
    if next_event > u32::MAX / 2 {
        return Err(decoder.bad_value("the next number of an event", next_event));
    }
    let expired_on = decoder.u32()?.cast_signed();
    let mut events: Vec<(KnownEvent, EventCounts)> = Vec::new();
    for _ in 0..decoder.length(18)? {
        let number = decoder.u32()?;
        let name = EventName::new(decoder.text()?)
            .map_err(|_| decoder.bad_value("the number of an event with a name", number))?;
        let micros = decoder.i64()?;
        let retention = Span::from_micros(micros).ok().filter(|_| micros > 0);
        let retention = retention
            .ok_or_else(|| decoder.bad_value("how long events are kept", micros.unsigned_abs()))?;
        let counts = EventCounts {
            duplicates: decoder.count()?,
            too_old: decoder.count()?,
            too_far_ahead: decoder.count()?,
            kept_from: match decoder.u8()? {
                0 => None,
                1 => Some(decoder.u32()?.cast_signed()),
                other => return Err(decoder.bad_value("whether events were dropped", other)),
            },
            ..EventCounts::default()
        };
        let known = events
            .iter()
            .any(|(other, _)| other.number() == number || other.declaration().name == name);
        if known || number >= next_event {
            return Err(decoder.bad_value("the number of an event", number));
        }
        let declaration = EventDeclaration { name, retention };
        events.push((
            KnownEvent {
                number,
                declaration,
            },
            counts,
        ));
    }
    Ok(KnownEvents {
        next_event,
        expired_on,
        events,
    })
}
