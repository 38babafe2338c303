//! A shard and a dictionary as bytes and back.
//!
//! Invariant: equal contents give equal bytes, whatever history led to them, and bytes that break
//! the invariants of the index are refused. Checksums are the business of whoever stores the
//! bytes. Postings are in the portable Roaring format, which other programs can read.

use std::collections::VecDeque;

use std::borrow::Cow;

use super::codes::CodeIndex;
use super::column::{NumberColumn, greatest_common_divisor};
use super::dictionary::Dictionary;
use super::events::{decode_events, encode_events};
use super::number::NumberIndex;
use super::posting::Posting;
use super::sets::SetIndex;
use super::shard::{PropertyIndex, PropertySlot, Shard};
use crate::codec::{DecodeError, Decoder, Encoder};

const CODES: u8 = 1;
const SETS: u8 = 2;
const NUMBERS: u8 = 3;

/// The bytes of a shard.
#[must_use]
pub fn encode_shard(shard: &Shard) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.byte_string(&shard.live.to_portable());
    let slots = shard.slots.iter();
    let slots: Vec<_> = slots
        .filter(|(_, slot)| slot.index.count() > 0 || !slot.times.is_empty())
        .collect();
    encoder.count(slots.len() as u64);
    for (number, slot) in slots {
        encoder.count(u64::from(*number));
        match &slot.index {
            PropertyIndex::Codes(index) => {
                encoder.u8(CODES);
                encode_postings(&mut encoder, &index.sorted_postings());
            }
            PropertyIndex::Sets(index) => {
                encoder.u8(SETS);
                encode_postings(&mut encoder, &index.sorted_postings());
            }
            PropertyIndex::Numbers(index) => {
                encoder.u8(NUMBERS);
                encode_numbers(&mut encoder, index);
            }
        }
        let mut times: Vec<_> = slot
            .times
            .iter()
            .map(|(&user, &time)| (user, time))
            .collect();
        times.sort_unstable();
        encoder.count(times.len() as u64);
        for (user, time) in times {
            encoder.count(u64::from(user));
            encoder.i64(time);
        }
    }
    // Nothing where there are no events: so shards were written before there were any.
    if !shard.events.is_empty() {
        encoder.count(shard.events.len() as u64);
        for (event, index) in &shard.events {
            encoder.count(u64::from(*event));
            encode_events(&mut encoder, index);
        }
    }
    encoder.into_bytes()
}

/// Reads the bytes of a shard.
///
/// # Errors
/// [`DecodeError`] if the bytes are not those of a shard.
pub fn decode_shard(bytes: &[u8]) -> Result<Shard, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let mut shard = Shard {
        live: decode_posting(&mut decoder)?,
        slots: Vec::new(),
        events: Vec::new(),
    };
    let live = shard.live.to_block();
    for _ in 0..decoder.length(1)? {
        let number = decoder.count()?;
        let before = shard.slots.last().map(|(before, _)| *before);
        let number = match u32::try_from(number) {
            Ok(number) if before.is_none_or(|before| before < number) => number,
            Ok(_) | Err(_) => return Err(decoder.bad_value("a property number", number)),
        };
        let kind = decoder.u8()?;
        let index = match kind {
            CODES => PropertyIndex::Codes(decode_codes(&mut decoder)?),
            SETS => PropertyIndex::Sets(decode_sets(&mut decoder)?),
            NUMBERS => PropertyIndex::Numbers(decode_numbers(&mut decoder)?),
            other => return Err(decoder.bad_value("the kind of an index", other)),
        };
        let mut present = match &index {
            PropertyIndex::Codes(index) => index.present().to_block(),
            PropertyIndex::Sets(index) => index.present().to_block(),
            PropertyIndex::Numbers(index) => index.present().clone(),
        };
        present.and_not(&live);
        if let Some(user) = present.ones().next() {
            return Err(decoder.bad_value("a user with a value", user));
        }
        let mut slot = PropertySlot::new(index);
        for _ in 0..decoder.length(9)? {
            let user = decoder.count()?;
            match u16::try_from(user) {
                Ok(local) if live.contains(local) => slot.times.insert(local, decoder.i64()?),
                _ => return Err(decoder.bad_value("a user with a time", user)),
            };
        }
        shard.slots.push((number, Box::new(slot)));
    }
    if decoder.remaining() > 0 {
        for _ in 0..decoder.length(2)? {
            let number = decoder.count()?;
            let before = shard.events.last().map(|(before, _)| *before);
            let number = match u32::try_from(number) {
                Ok(number) if before.is_none_or(|before| before < number) => number,
                Ok(_) | Err(_) => return Err(decoder.bad_value("the number of an event", number)),
            };
            let index = decode_events(&mut decoder, &live)?;
            if index.is_empty() {
                return Err(decoder.bad_value("the days of an event", 0_u8));
            }
            shard.events.push((number, Box::new(index)));
        }
    }
    decoder.finish()?;
    Ok(shard)
}

fn encode_postings(encoder: &mut Encoder, postings: &[(u32, Cow<'_, Posting>)]) {
    encoder.count(postings.len() as u64);
    for (code, posting) in postings {
        encoder.count(u64::from(*code));
        encoder.byte_string(&posting.to_portable());
    }
}

fn decode_posting(decoder: &mut Decoder<'_>) -> Result<Posting, DecodeError> {
    let bytes = decoder.byte_string()?;
    Posting::from_portable(bytes)
        .ok_or_else(|| decoder.bad_value("a posting of this length", bytes.len() as u64))
}

fn decode_coded_posting(decoder: &mut Decoder<'_>) -> Result<(u32, Posting), DecodeError> {
    let code = decoder.count()?;
    match u32::try_from(code) {
        Ok(code) => Ok((code, decode_posting(decoder)?)),
        Err(_) => Err(decoder.bad_value("a code", code)),
    }
}

fn decode_codes(decoder: &mut Decoder<'_>) -> Result<CodeIndex, DecodeError> {
    let mut index = CodeIndex::default();
    for _ in 0..decoder.length(2)? {
        let (code, posting) = decode_coded_posting(decoder)?;
        if !index.insert_posting(code, posting) {
            return Err(decoder.bad_value("a code with its users", code));
        }
    }
    Ok(index)
}

fn decode_sets(decoder: &mut Decoder<'_>) -> Result<SetIndex, DecodeError> {
    let mut postings = Vec::new();
    for _ in 0..decoder.length(2)? {
        let (code, posting) = decode_coded_posting(decoder)?;
        if postings.last().is_some_and(|(last, _)| *last >= code) || posting.is_empty() {
            return Err(decoder.bad_value("a code with its users", code));
        }
        postings.push((code, posting));
    }
    Ok(SetIndex::from_postings(postings))
}

/// Base and unit are as the numbers alone demand, whatever they are in the column.
fn encode_numbers(encoder: &mut Encoder, index: &NumberIndex) {
    let mut present = Posting::default();
    let mut numbers = Vec::with_capacity(index.count() as usize);
    for user in index.present().ones() {
        present.insert(user);
        numbers.extend(index.get(user));
    }
    encoder.byte_string(&present.to_portable());
    let least = numbers.iter().copied().min().unwrap_or(0);
    let above = numbers.iter().map(|number| number.abs_diff(least));
    let unit = above.clone().fold(0, greatest_common_divisor).max(1);
    let largest = above.clone().max().unwrap_or(0) / unit;
    let width = (u64::BITS - largest.leading_zeros()).div_ceil(8) as usize;
    encoder.i64(least);
    encoder.u64(unit);
    #[expect(clippy::cast_possible_truncation, reason = "at most 8")]
    encoder.u8(width as u8);
    for value in above {
        encoder.raw(&(value / unit).to_le_bytes()[..width]);
    }
}

fn decode_numbers(decoder: &mut Decoder<'_>) -> Result<NumberIndex, DecodeError> {
    let present = decode_posting(decoder)?;
    let least = decoder.i64()?;
    let unit = decoder.u64()?;
    let width = decoder.u8()?;
    if width > 8 || unit == 0 {
        return Err(decoder.bad_value("the width of a number", width));
    }
    let width = usize::from(width);
    let mut values = decoder
        .raw(width * present.count() as usize)?
        .chunks_exact(width.max(1));
    let mut numbers = Vec::with_capacity(present.count() as usize);
    present.for_each(|user| {
        let mut bytes = [0; 8];
        if let Some(value) = values.next() {
            bytes[..width].copy_from_slice(value);
        }
        let number = u64::from_le_bytes(bytes)
            .checked_mul(unit)
            .and_then(|above| least.checked_add_unsigned(above));
        numbers.extend(number.map(|number| (user, number)));
    });
    if numbers.len() == present.count() as usize {
        Ok(NumberIndex::from_column(NumberColumn::from_numbers(
            &numbers,
        )))
    } else {
        Err(decoder.bad_value("the unit of numbers of 64 bits", unit))
    }
}

/// The bytes of a dictionary.
#[must_use]
pub fn encode_dictionary(dictionary: &Dictionary) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.count(dictionary.texts.len() as u64);
    for text in &dictionary.texts {
        match text {
            None => encoder.u8(0),
            Some(text) => {
                encoder.u8(1);
                encoder.text(text);
            }
        }
    }
    encoder.count(dictionary.quarantine.len() as u64);
    for &code in &dictionary.quarantine {
        encoder.count(u64::from(code));
    }
    encoder.count(dictionary.freed());
    encoder.into_bytes()
}

/// Reads the bytes of a dictionary.
///
/// # Errors
/// [`DecodeError`] if the bytes are not those of a dictionary.
pub fn decode_dictionary(bytes: &[u8], case_insensitive: bool) -> Result<Dictionary, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let mut texts = Vec::new();
    for _ in 0..decoder.length(1)? {
        texts.push(match decoder.u8()? {
            0 => None,
            1 => Some(decoder.text()?.into()),
            other => return Err(decoder.bad_value("the mark of a text", other)),
        });
    }
    let mut quarantine = VecDeque::new();
    for _ in 0..decoder.length(1)? {
        let code = decoder.count()?;
        match u32::try_from(code) {
            Ok(code) if texts.get(code as usize) == Some(&None) => quarantine.push_back(code),
            _ => return Err(decoder.bad_value("a code out of use", code)),
        }
    }
    let freed = decoder.count()?;
    let out_of_use = texts.iter().filter(|text| text.is_none()).count();
    if out_of_use != quarantine.len() || freed < quarantine.len() as u64 {
        return Err(decoder.bad_value("the number of codes out of use", freed));
    }
    let texts_in_use = texts.len() - out_of_use;
    decoder.finish()?;
    let dictionary = Dictionary::from_parts(case_insensitive, texts, quarantine, freed);
    if dictionary.len() != texts_in_use {
        return Err(Decoder::new(bytes).bad_value("the number of texts", texts_in_use as u64));
    }
    Ok(dictionary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{IndexKind, Stored};

    fn shard() -> Shard {
        let mut shard = Shard::default();
        for user in (0..30_000).step_by(3) {
            shard.insert_user(user);
            let code = u32::from(user % 7);
            shard.set(0, IndexKind::Codes, user, Some(Stored::Code(code)));
            if user % 5 == 0 {
                let codes = [code, 9, 100_000].into();
                shard.set(2, IndexKind::Sets, user, Some(Stored::Codes(codes)));
                let number = i64::from(user) * 1_000 - 5_000_000;
                shard.set(3, IndexKind::Numbers, user, Some(Stored::Number(number)));
                shard.set_value_time(3, IndexKind::Numbers, user, -number);
            }
        }
        shard.set(4, IndexKind::Numbers, 0, Some(Stored::Number(i64::MIN)));
        shard.set(4, IndexKind::Numbers, 3, Some(Stored::Number(i64::MAX)));
        shard
    }

    #[test]
    fn a_shard_comes_back() {
        let shard = shard();
        let bytes = encode_shard(&shard);
        let again = decode_shard(&bytes).unwrap();
        assert_eq!(encode_shard(&again), bytes);
        for property in 0..6 {
            for user in 0..=u16::MAX {
                assert_eq!(again.get(property, user), shard.get(property, user));
                assert_eq!(
                    again.value_time(property, user),
                    shard.value_time(property, user)
                );
            }
        }
    }

    #[test]
    fn history_leaves_no_trace_in_the_bytes() {
        let mut other = shard();
        for user in (0..30_000).step_by(3) {
            other.set(0, IndexKind::Codes, user, Some(Stored::Code(70_000)));
            other.set(
                3,
                IndexKind::Numbers,
                user,
                Some(Stored::Number(i64::from(user) - 40)),
            );
            other.set(2, IndexKind::Sets, user, Some(Stored::Codes([1, 2].into())));
        }
        other.set(5, IndexKind::Codes, 3, Some(Stored::Code(1)));
        other.set(5, IndexKind::Codes, 3, None);
        let same = shard();
        for user in (0..30_000).step_by(3) {
            for property in [0, 2, 3] {
                let kind = [
                    IndexKind::Codes,
                    IndexKind::Codes,
                    IndexKind::Sets,
                    IndexKind::Numbers,
                ];
                other.set(
                    property,
                    kind[property as usize],
                    user,
                    same.get(property, user),
                );
            }
        }
        assert_eq!(encode_shard(&other), encode_shard(&same));
    }

    #[test]
    fn a_dictionary_comes_back() {
        let mut dictionary = Dictionary::new(true);
        for text in ["FR", "fr", "", "Größe"] {
            dictionary.code_or_insert(text);
        }
        dictionary.free(1);
        let bytes = encode_dictionary(&dictionary);
        let again = decode_dictionary(&bytes, true).unwrap();
        assert!(again.iter().eq(dictionary.iter()));
        assert_eq!(again.freed(), 1);
        assert_eq!(again.matching("GRÖSSE"), dictionary.matching("GRÖSSE"));
        assert_eq!(again.matching("gröẞe"), dictionary.matching("gröẞe"));
        assert_eq!(encode_dictionary(&again), bytes);
    }

    #[test]
    fn damaged_bytes_are_refused_or_another_valid_shard_but_never_a_panic() {
        let mut shard = Shard::default();
        for user in 0..40 {
            shard.insert_user(user);
            shard.set(
                0,
                IndexKind::Codes,
                user,
                Some(Stored::Code(u32::from(user) % 3)),
            );
            shard.set(1, IndexKind::Sets, user, Some(Stored::Codes([1, 4].into())));
            shard.set(
                2,
                IndexKind::Numbers,
                user,
                Some(Stored::Number(i64::from(user) * 3)),
            );
        }
        let bytes = encode_shard(&shard);
        for length in 0..bytes.len() {
            assert!(decode_shard(&bytes[..length]).is_err());
        }
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[position] ^= 1 << bit;
                if let Ok(other) = decode_shard(&damaged) {
                    assert!(!encode_shard(&other).is_empty());
                }
            }
        }
    }
}
