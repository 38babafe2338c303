//! Events and what is declared of them as bytes of a log record, and back.
//!
//! Invariant: an event comes back equal. That it was received with the one before it in the record
//! is not said again.

use super::record::{checked, decode_timestamp};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{Amount, Event, EventDeclaration, EventId, EventName, Span, Timestamp};

/// What there is of an event besides its name, as bits.
const HAS_TIME: u8 = 1;
/// It was not received at the same time as the event before it in the record.
const HAS_RECEIVED: u8 = 2;
const HAS_AMOUNT: u8 = 4;
const HAS_ID: u8 = 8;

/// Whether it is kept when events were received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Kept,
    Dropped,
}

pub(super) fn encode_event(
    encoder: &mut Encoder,
    event: &Event,
    received: Received,
    before: &mut Option<Timestamp>,
) {
    let is_told = received == Received::Kept && *before != Some(event.received);
    let bit = |has: bool, bit: u8| if has { bit } else { 0 };
    encoder.text(event.name.as_str());
    encoder.u8(bit(event.time.is_some(), HAS_TIME)
        | bit(is_told, HAS_RECEIVED)
        | bit(event.amount.is_some(), HAS_AMOUNT)
        | bit(event.id.is_some(), HAS_ID));
    if is_told {
        encoder.i64(event.received.micros());
        *before = Some(event.received);
    }
    if let Some(time) = event.time {
        encoder.i64(time.micros());
    }
    if let Some(amount) = event.amount {
        encoder.i64(amount.millionths());
    }
    if let Some(id) = &event.id {
        encoder.text(id.as_str());
    }
}

pub(super) fn decode_event(
    decoder: &mut Decoder<'_>,
    before: &mut Option<Timestamp>,
) -> Result<Event, DecodeError> {
    let name = event_name(decoder)?;
    let bits = decoder.u8()?;
    if bits & !(HAS_TIME | HAS_RECEIVED | HAS_AMOUNT | HAS_ID) != 0 {
        return Err(decoder.bad_value("what there is of an event", bits));
    }
    let has = |bit: u8| bits & bit != 0;
    if has(HAS_RECEIVED) {
        *before = Some(decode_timestamp(decoder)?);
    }
    let received =
        before.ok_or_else(|| decoder.bad_value("when the first event was received", bits))?;
    let time = has(HAS_TIME).then(|| decode_timestamp(decoder));
    let time = time.transpose()?;
    let amount = if has(HAS_AMOUNT) {
        let millionths = decoder.i64()?;
        let amount = Amount::from_millionths(millionths);
        Some(amount.map_err(|_| decoder.bad_value("an amount", millionths.unsigned_abs()))?)
    } else {
        None
    };
    let id = if has(HAS_ID) {
        let id = checked(decoder, "the length of an event's id", |text| {
            EventId::new(text).ok()
        });
        Some(id?)
    } else {
        None
    };
    Ok(Event {
        name,
        time,
        received,
        amount,
        id,
    })
}

pub(super) fn event_name(decoder: &mut Decoder<'_>) -> Result<EventName, DecodeError> {
    checked(decoder, "an event's name", |text| EventName::new(text).ok())
}

pub(super) fn decode_event_declaration(
    decoder: &mut Decoder<'_>,
) -> Result<EventDeclaration, DecodeError> {
    let name = event_name(decoder)?;
    let micros = decoder.i64()?;
    match Span::from_micros(micros) {
        Ok(retention) if micros > 0 => Ok(EventDeclaration { name, retention }),
        Ok(_) | Err(_) => Err(decoder.bad_value("how long events are kept", micros.unsigned_abs())),
    }
}
