//! The events of one name in one shard as bytes and back.
//!
//! Invariant: equal events in equal order give equal bytes, however they came to be there.

use super::EventIndex;
use super::day::{DAY, Day};
use super::page::Entry;
use crate::bits::Block;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::index::column::greatest_common_divisor;
use crate::model::Amount;

const HAS_AMOUNTS: u8 = 1;
const HAS_IDS: u8 = 2;

/// Appends the events of one name.
pub(in crate::index) fn encode_events(encoder: &mut Encoder, index: &EventIndex) {
    encoder.count(index.days.len() as u64);
    for (number, day) in &index.days {
        encoder.u32(number.cast_unsigned());
        encode_day(encoder, day);
    }
}

fn encode_day(encoder: &mut Encoder, day: &Day) {
    let entries = || day.entries();
    let unit = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, greatest_common_divisor);
    let times = unit(&mut entries().map(|entry| entry.time.unsigned_abs())).max(1);
    let amounts = || entries().filter_map(|entry| entry.amount);
    let has_amounts = amounts().next().is_some();
    let of_amounts = unit(&mut amounts().map(i64::unsigned_abs)).max(1);
    let has_ids = entries().any(|entry| entry.id != 0);

    encoder.count(day.len() as u64);
    encoder.u8(if has_amounts { HAS_AMOUNTS } else { 0 } | if has_ids { HAS_IDS } else { 0 });
    encoder.count(times);
    if has_amounts {
        encoder.count(of_amounts);
    }
    let mut before = 0;
    for entry in entries() {
        encoder.count(u64::from(entry.user - before));
        before = entry.user;
        encoder.count(entry.time.unsigned_abs() / times);
        if has_amounts {
            // Units, one more than there are so that 0 is none, and below them the sign.
            let amount = entry.amount.map_or(0, |amount| {
                let units = (amount.unsigned_abs() / of_amounts) << 1 | u64::from(amount < 0);
                units + 1
            });
            encoder.count(amount);
        }
        if has_ids {
            encoder.u64(entry.id);
        }
    }
}

/// Reads the events of one name, all of live users.
pub(in crate::index) fn decode_events(
    decoder: &mut Decoder<'_>,
    live: &Block,
) -> Result<EventIndex, DecodeError> {
    let mut index = EventIndex::default();
    for _ in 0..decoder.length(7)? {
        let number = decoder.u32()?.cast_signed();
        if index
            .days
            .last()
            .is_some_and(|(before, _)| *before >= number)
        {
            return Err(decoder.bad_value("the order of days", number.cast_unsigned()));
        }
        let entries = decode_day(decoder, live)?;
        let largest = entries.iter().filter_map(|entry| entry.amount);
        let largest = largest.map(i64::unsigned_abs).max().unwrap_or(0);
        index.largest_amount = index.largest_amount.max(largest);
        index.days.push((number, Day::of(&entries)));
    }
    Ok(index)
}

fn decode_day(decoder: &mut Decoder<'_>, live: &Block) -> Result<Vec<Entry>, DecodeError> {
    let count = decoder.length(2)?;
    let bits = decoder.u8()?;
    if bits & !(HAS_AMOUNTS | HAS_IDS) != 0 || count == 0 {
        return Err(decoder.bad_value("what there is of the events of a day", bits));
    }
    let times = decoder.count()?;
    let of_amounts = if bits & HAS_AMOUNTS != 0 {
        decoder.count()?
    } else {
        0
    };
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    for _ in 0..count {
        let before = entries
            .last()
            .map_or((0, 0), |entry| (entry.user, entry.time));
        let step = decoder.count()?;
        let user = u64::from(before.0).saturating_add(step);
        let user = u16::try_from(user)
            .ok()
            .filter(|user| live.contains(*user))
            .ok_or_else(|| decoder.bad_value("a user with an event", user))?;
        let time = decoder.count()?.saturating_mul(times);
        let time = i64::try_from(time)
            .ok()
            .filter(|time| *time < DAY && (user, *time) >= before)
            .ok_or_else(|| decoder.bad_value("the time of an event", time))?;
        let amount = if bits & HAS_AMOUNTS != 0 {
            decode_amount(decoder, of_amounts)?
        } else {
            None
        };
        let id = if bits & HAS_IDS != 0 {
            decoder.u64()?
        } else {
            0
        };
        entries.push(Entry {
            user,
            time,
            amount,
            id,
        });
    }
    Ok(entries)
}

fn decode_amount(decoder: &mut Decoder<'_>, unit: u64) -> Result<Option<i64>, DecodeError> {
    let code = decoder.count()?;
    let Some(units) = code.checked_sub(1) else {
        return Ok(None);
    };
    let millionths = (units >> 1).checked_mul(unit);
    let millionths = millionths.and_then(|millionths| i64::try_from(millionths).ok());
    let amount = millionths.map(|number| if units & 1 == 1 { -number } else { number });
    match amount.map(Amount::from_millionths) {
        Some(Ok(amount)) => Ok(Some(amount.millionths())),
        Some(Err(_)) | None => Err(decoder.bad_value("an amount", code)),
    }
}
