//! The newest request ids of a population, with what became of each.
//!
//! Invariants: an id is forgotten when as many newer ones are remembered as the limit allows, or
//! when the outcomes of newer ones take [`DETAIL_BYTES`] an id allowed together; the oldest goes
//! first. Entries are numbered in the order in which they came, and stand in segments that are
//! only added to: a snapshot shares the full ones with the one before.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::outcome;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{Digest, Revision};
use crate::population::cell::{Cell, Epoch};

/// Bytes of outcomes an id allowed, all together: far more than most have, which is none.
pub(super) const DETAIL_BYTES: u64 = 64;
/// A segment is full with so many entries, or with so many bytes of outcomes.
pub(super) const SEGMENT_ENTRIES: usize = 16_384;
const SEGMENT_DETAIL_BYTES: usize = 1 << 20;
/// So many tables share the entries, so that no request waits for more than one 64th of them to
/// move.
const TABLES: usize = 64;

/// What became of the first request with an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) revision: Revision,
    pub(super) content: u64,
    /// The outcome, as `outcome` writes it.
    pub(super) detail: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    digest: Digest,
    content: u64,
    revision: Revision,
    /// Where the bytes of its outcome end in those of the segment; they begin where those of the
    /// entry before end.
    detail_end: u64,
}

/// Entries that came one after another.
#[derive(Debug, Default)]
pub(in crate::population) struct Segment {
    entries: Vec<Entry>,
    details: Vec<u8>,
}

impl Segment {
    fn is_full(&self) -> bool {
        self.entries.len() >= SEGMENT_ENTRIES || self.details.len() >= SEGMENT_DETAIL_BYTES
    }

    fn push(&mut self, digest: Digest, first: &First) {
        self.details.extend_from_slice(&first.detail);
        self.entries.push(Entry {
            digest,
            content: first.content,
            revision: first.revision,
            detail_end: self.details.len() as u64,
        });
        if self.is_full() {
            self.entries.shrink_to_fit();
            self.details.shrink_to_fit();
        }
    }

    fn detail(&self, place: usize) -> &[u8] {
        let end = |place: usize| self.entries.get(place).map_or(0, |entry| entry.detail_end);
        let begin = place.checked_sub(1).map_or(0, end);
        #[expect(clippy::cast_possible_truncation, reason = "offsets into memory")]
        let range = begin as usize..end(place) as usize;
        self.details.get(range).unwrap_or_default()
    }
}

/// Where an entry stands in the tables, with a part of its hash so that tables grow without looking
/// at entries.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The last 32 bits of the entry's number: no two entries that are remembered share them.
    number: u32,
    hash: u32,
}

impl Slot {
    /// The tables look at the highest and the lowest bits of a hash.
    fn spread(self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// A segment with the number of its first entry.
pub(in crate::population) type Numbered = (u64, Arc<Cell<Segment>>);

/// The newest request ids.
#[derive(Debug)]
pub(in crate::population) struct Requests {
    /// In the order of numbers. The first one can hold entries that are forgotten already.
    segments: VecDeque<Numbered>,
    tables: Box<[HashTable<Slot>]>,
    hasher: RandomState,
    /// The oldest entry that is remembered.
    oldest: u64,
    /// The number of the next entry.
    next: u64,
    /// Bytes of the outcomes that are remembered.
    detail_bytes: u64,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            segments: VecDeque::new(),
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            hasher: RandomState::default(),
            oldest: 0,
            next: 0,
            detail_bytes: 0,
        }
    }
}

impl Requests {
    pub(super) fn is_empty(&self) -> bool {
        self.oldest == self.next
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.next - self.oldest
    }

    /// What became of the first request with an id, if that is remembered.
    pub(super) fn find(&self, digest: &Digest) -> Option<First> {
        let (table, hash) = self.place(digest);
        let slot = Slot { number: 0, hash };
        let candidates = self.tables[table]
            .iter_hash(slot.spread())
            .filter(|slot| slot.hash == hash);
        for slot in candidates {
            let number = self.oldest + u64::from(slot.number.wrapping_sub(low(self.oldest)));
            let found = self.with_entry(number, |entry, detail| {
                (entry.digest == *digest).then(|| First {
                    revision: entry.revision,
                    content: entry.content,
                    detail: detail.to_vec(),
                })
            });
            if let Some(Some(first)) = found {
                return Some(first);
            }
        }
        None
    }

    /// Remembers what became of a request, and forgets the oldest beyond what is allowed.
    pub(super) fn remember(&mut self, digest: Digest, first: &First, epoch: Epoch, most: u64) {
        let is_full = |(_, cell): &Numbered| cell.read().is_full();
        if self.segments.back().is_none_or(is_full) {
            let cell = Cell::new(Segment::default(), first.revision, epoch);
            self.segments.push_back((self.next, Arc::new(cell)));
        }
        if let Some((_, cell)) = self.segments.back() {
            cell.write(first.revision, epoch, encode_segment)
                .push(digest, first);
        }
        self.insert(&digest, self.next);
        self.next += 1;
        self.detail_bytes += first.detail.len() as u64;
        while self.next - self.oldest > most
            || (self.detail_bytes > most.saturating_mul(DETAIL_BYTES)
                && self.next - self.oldest > 1)
        {
            self.forget_oldest();
        }
    }

    fn insert(&mut self, digest: &Digest, number: u64) {
        let (table, hash) = self.place(digest);
        let slot = Slot {
            number: low(number),
            hash,
        };
        self.tables[table].insert_unique(slot.spread(), slot, |slot| slot.spread());
    }

    fn forget_oldest(&mut self) {
        let number = low(self.oldest);
        let found = self.with_entry(self.oldest, |entry, detail| {
            (entry.digest, detail.len() as u64)
        });
        if let Some((digest, bytes)) = found {
            let (table, hash) = self.place(&digest);
            let slot = Slot { number, hash };
            let found = self.tables[table].find_entry(slot.spread(), |slot| slot.number == number);
            if let Ok(found) = found {
                found.remove();
            }
            self.detail_bytes -= bytes;
        }
        self.oldest += 1;
        // A segment goes when the last of its entries is forgotten.
        if self
            .segments
            .get(1)
            .is_some_and(|(from, _)| *from <= self.oldest)
        {
            self.segments.pop_front();
        }
    }

    fn with_entry<T>(&self, number: u64, read: impl FnOnce(&Entry, &[u8]) -> T) -> Option<T> {
        let behind = self.segments.partition_point(|(from, _)| *from <= number);
        let (from, cell) = self.segments.get(behind.checked_sub(1)?)?;
        let segment = cell.read();
        let place = usize::try_from(number - from).ok()?;
        let entry = segment.entries.get(place)?;
        Some(read(entry, segment.detail(place)))
    }

    fn place(&self, digest: &Digest) -> (usize, u32) {
        let hash = self.hasher.hash_one(digest);
        let table = (hash >> 58) as usize;
        (table, low(hash))
    }

    /// The segments, to be captured.
    pub(in crate::population) fn segments(&self) -> Vec<Numbered> {
        self.segments.iter().cloned().collect()
    }

    /// Bytes of memory on the heap, about.
    pub(in crate::population) fn heap_bytes(&self) -> usize {
        let tables = self.tables.iter().map(HashTable::allocation_size);
        let segments = self.segments.iter().map(|(_, cell)| {
            let segment = cell.read();
            segment.entries.capacity() * size_of::<Entry>() + segment.details.capacity()
        });
        tables.sum::<usize>() + segments.sum::<usize>()
    }

    /// What there is besides the segments.
    pub(in crate::population) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.count(self.oldest);
        encoder.count(self.next);
        encoder.count(self.segments.len() as u64);
        for (from, _) in &self.segments {
            encoder.count(*from);
        }
        encoder.into_bytes()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
fn low(number: u64) -> u32 {
    number as u32
}

pub(in crate::population) fn encode_segment(segment: &Segment) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.count(segment.entries.len() as u64);
    for (place, entry) in segment.entries.iter().enumerate() {
        encoder.raw(entry.digest.bytes());
        encoder.u64(entry.content);
        encoder.count(entry.revision.number());
        encoder.byte_string(segment.detail(place));
    }
    encoder.into_bytes()
}

fn decode_segment(bytes: &[u8]) -> Result<Segment, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let mut segment = Segment::default();
    for _ in 0..decoder.length(26)? {
        let digest = super::read_digest(&mut decoder)?;
        let content = decoder.u64()?;
        let revision = Revision::new(decoder.count()?);
        let detail = decoder.byte_string()?.to_vec();
        outcome::check(&detail)?;
        let first = First {
            revision,
            content,
            detail,
        };
        segment.push(digest, &first);
    }
    decoder.finish()?;
    Ok(segment)
}

/// Why the requests can't be restored, and in which part.
pub(in crate::population) enum Fault {
    Missing,
    Damaged(DecodeError),
    Mismatch(&'static str),
}

impl Requests {
    /// Builds the requests of a capture from what [`Requests::encode`] wrote and the segments by
    /// the number of their first entry. An error says at which segment, if it was at one.
    pub(in crate::population) fn restore(
        bytes: &[u8],
        revision: Revision,
        mut segment: impl FnMut(u64) -> Option<Vec<u8>>,
    ) -> Result<Self, (Option<u64>, Fault)> {
        let mut requests = Self::default();
        let header = |bytes| {
            let mut decoder = Decoder::new(bytes);
            let (oldest, next) = (decoder.count()?, decoder.count()?);
            let mut froms = Vec::new();
            for _ in 0..decoder.length(1)? {
                froms.push(decoder.count()?);
            }
            decoder.finish()?;
            Ok((oldest, next, froms))
        };
        let (oldest, next, froms) = header(bytes).map_err(|error| (None, Fault::Damaged(error)))?;
        let mut end = froms.first().copied().unwrap_or(next);
        if oldest < end || oldest > next || next > u64::MAX / 2 {
            return Err((None, Fault::Mismatch("the oldest request is in no segment")));
        }
        (requests.oldest, requests.next) = (oldest, next);
        for from in froms {
            let at = |fault| (Some(from), fault);
            if from != end {
                return Err(at(Fault::Mismatch("requests are missing before it")));
            }
            let bytes = segment(from).ok_or(at(Fault::Missing))?;
            let segment = decode_segment(&bytes).map_err(|error| at(Fault::Damaged(error)))?;
            for (place, entry) in segment.entries.iter().enumerate() {
                if end >= oldest {
                    requests.insert(&entry.digest, end);
                    requests.detail_bytes += segment.detail(place).len() as u64;
                }
                end += 1;
            }
            let cell = Cell::new(segment, revision, 0);
            requests.segments.push_back((from, Arc::new(cell)));
        }
        if end == next {
            Ok(requests)
        } else {
            Err((None, Fault::Mismatch("the newest requests are missing")))
        }
    }
}
