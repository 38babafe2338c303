//! How far the streams of a population got: those used last.
//!
//! Invariant: there are no more than were allowed when one was last added, and the one forgotten
//! is the one used least recently.

use std::collections::BTreeSet;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{Digest, Revision};

/// The last sequence of each stream.
#[derive(Debug, Default)]
pub(in crate::population) struct Streams {
    last: HashMap<Digest, (u64, Revision), RandomState>,
    /// The same by their last use.
    by_use: BTreeSet<(Revision, Digest)>,
}

impl Streams {
    /// The last sequence of a stream, and its revision.
    pub(super) fn last(&self, stream: &Digest) -> Option<(u64, Revision)> {
        self.last.get(stream).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Says how far a stream got, and forgets those used least recently beyond `most`.
    pub(super) fn advance(&mut self, stream: Digest, sequence: u64, revision: Revision, most: u64) {
        if let Some((_, before)) = self.last.insert(stream, (sequence, revision)) {
            self.by_use.remove(&(before, stream));
        }
        self.by_use.insert((revision, stream));
        while self.last.len() as u64 > most
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.last.remove(&oldest);
        }
    }

    /// Bytes of memory on the heap, about.
    pub(in crate::population) fn heap_bytes(&self) -> usize {
        // A tree's nodes are two thirds full on average.
        let node = size_of::<(Revision, Digest)>() * 3 / 2;
        self.last.allocation_size() + self.by_use.len() * node
    }
}

pub(in crate::population) fn encode_streams(streams: &Streams) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.count(streams.by_use.len() as u64);
    for (revision, stream) in &streams.by_use {
        let (sequence, _) = streams.last(stream).unwrap_or_default();
        encoder.raw(stream.bytes());
        encoder.count(revision.number());
        encoder.count(sequence);
    }
    encoder.into_bytes()
}

impl Streams {
    /// Reads what [`encode_streams`] wrote.
    pub(in crate::population) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let mut streams = Self::default();
        for _ in 0..decoder.length(18)? {
            let stream = super::read_digest(&mut decoder)?;
            let revision = decoder.count()?;
            let sequence = decoder.count()?;
            if streams.last.contains_key(&stream) {
                return Err(decoder.bad_value("the revision of a stream named twice", revision));
            }
            streams.advance(stream, sequence, Revision::new(revision), u64::MAX);
        }
        decoder.finish()?;
        Ok(streams)
    }
}
