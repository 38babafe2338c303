//! How far the streams of a population got: those used last.
//!
//! Invariant: there are no more than were allowed when one was last added, and the one forgotten
//! is the one used least recently.

use std::collections::BTreeSet;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::model::{Digest, Revision};

/// How far a stream got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    /// The last sequence.
    pub(super) sequence: u64,
    /// The revision of that.
    pub(super) revision: Revision,
    /// Since when it is remembered: what was before that is not about this stream, but about one
    /// of the same name that was forgotten.
    pub(super) since: Revision,
}

/// How far each stream got.
#[derive(Debug, Default)]
pub(in crate::population) struct Streams {
    known: HashMap<Digest, Stream, RandomState>,
    /// The same by their last use.
    by_use: BTreeSet<(Revision, Digest)>,
}

impl Streams {
    pub(super) fn get(&self, name: &Digest) -> Option<Stream> {
        self.known.get(name).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Says how far a stream got, and forgets those used least recently beyond `most`.
    pub(super) fn put(&mut self, name: Digest, stream: Stream, most: u64) {
        if let Some(before) = self.known.insert(name, stream) {
            self.by_use.remove(&(before.revision, name));
        }
        self.by_use.insert((stream.revision, name));
        while self.known.len() as u64 > most
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.known.remove(&oldest);
        }
    }

    /// Bytes of memory on the heap, about.
    pub(in crate::population) fn heap_bytes(&self) -> usize {
        // A tree's nodes are two thirds full on average.
        let node = size_of::<(Revision, Digest)>() * 3 / 2;
        self.known.allocation_size() + self.by_use.len() * node
    }
}

pub(in crate::population) fn encode_streams(streams: &Streams) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.count(streams.by_use.len() as u64);
    for (_, name) in &streams.by_use {
        let stream = streams.get(name).unwrap_or_default();
        encoder.raw(name.bytes());
        encoder.count(stream.sequence);
        encoder.count(stream.revision.number());
        encoder.count(stream.since.number());
    }
    encoder.into_bytes()
}

impl Streams {
    /// Reads what [`encode_streams`] wrote.
    pub(in crate::population) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let mut streams = Self::default();
        for _ in 0..decoder.length(19)? {
            let name = super::read_digest(&mut decoder)?;
            let stream = Stream {
                sequence: decoder.count()?,
                revision: Revision::new(decoder.count()?),
                since: Revision::new(decoder.count()?),
            };
            if streams.get(&name).is_some() {
                let sequence = stream.sequence;
                return Err(decoder.bad_value("the sequence of a stream named twice", sequence));
            }
            streams.put(name, stream, u64::MAX);
        }
        decoder.finish()?;
        Ok(streams)
    }
}
