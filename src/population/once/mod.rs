//! Commands that are sent again take effect once.
//!
//! Invariants: whether a command is a repeat follows from the commands before it alone, as
//! everything that [`Population`] judges; what is remembered changes together with what the
//! command changed, so that a capture has both or neither. Memory is bounded by the limits: the
//! newest request ids, and the streams used last.
//!
//! A request id is remembered with a stand-in for what its command did and with what that led to.
//! Of a stream, the last sequence is remembered; its batches that were refused are remembered as
//! requests, so that who did not hear of the refusal can be told it again.

mod outcome;
mod requests;
mod streams;
#[cfg(test)]
mod tests;

pub(super) use requests::{Fault, Numbered, Requests, Segment, encode_segment};
pub(super) use streams::{Streams, encode_streams};

use super::{Changes, Judged, Population, Refusal, Writer};
use crate::codec::{DecodeError, Decoder};
use crate::model::{Action, Digest, Once, RequestId, Revision, StreamId};
use streams::Stream;

/// What a request id is known by. The three kinds never meet: each has a first byte of its own.
fn of_request(id: &RequestId) -> Digest {
    Digest::of(&[b"r", id.as_str().as_bytes()])
}

fn of_stream(id: &StreamId) -> Digest {
    Digest::of(&[b"s", id.as_str().as_bytes()])
}

fn of_batch(name: &Digest, stream: &Stream, sequence: u64) -> Digest {
    let since = stream.since.number().to_le_bytes();
    Digest::of(&[b"b", name.bytes(), &since, &sequence.to_le_bytes()])
}

impl Population {
    /// Judges an action and, unless it is refused or was carried out before, carries it out. To be
    /// called by one thread at a time, in the order of revisions.
    pub fn apply_once(&self, revision: Revision, once: Option<&Once>, action: &Action) -> Judged {
        let mut writer = self.writer();
        match once {
            None => Judged::first(revision, self.carry(&mut writer, revision, action)),
            Some(Once::Request { id, content }) => {
                self.apply_request(&mut writer, revision, id, *content, action)
            }
            Some(Once::Batch {
                stream,
                previous,
                sequence,
            }) => {
                let place = (*previous, *sequence);
                self.apply_batch(&mut writer, revision, stream, place, action)
            }
        }
    }

    /// The last sequence of a stream that was carried out, and the revision of that; `None` if
    /// there is none, or none is remembered.
    #[must_use]
    pub fn last_of_stream(&self, id: &StreamId) -> Option<(u64, Revision)> {
        let stream = self.streams.read().get(&of_stream(id))?;
        Some((stream.sequence, stream.revision))
    }

    /// Whether anything is remembered.
    pub(crate) fn remembers(&self) -> bool {
        !self.writer().requests.is_empty() || !self.streams.read().is_empty()
    }

    fn apply_request(
        &self,
        writer: &mut Writer,
        revision: Revision,
        id: &RequestId,
        content: u64,
        action: &Action,
    ) -> Judged {
        let digest = of_request(id);
        if let Some(first) = writer.requests.find(&digest) {
            if first.content != content {
                let refusal = Refusal::RequestIdReused;
                return Judged::first(revision, Err(refusal));
            }
            return Judged {
                revision: first.revision,
                outcome: outcome::decode(&first.detail, action),
                replayed: true,
            };
        }
        let outcome = self.carry(writer, revision, action);
        self.remember(writer, revision, digest, content, action, &outcome);
        Judged::first(revision, outcome)
    }

    fn apply_batch(
        &self,
        writer: &mut Writer,
        revision: Revision,
        id: &StreamId,
        (previous, sequence): (u64, u64),
        action: &Action,
    ) -> Judged {
        let name = of_stream(id);
        let known = self.streams.read().get(&name);
        let last = known.unwrap_or(Stream {
            since: revision,
            ..Stream::default()
        });
        let batch = of_batch(&name, &last, sequence);
        if sequence <= last.sequence {
            // What a batch changed is not remembered, only what refused it.
            return match writer.requests.find(&batch) {
                Some(first) => Judged {
                    revision: first.revision,
                    outcome: outcome::decode(&first.detail, action),
                    replayed: true,
                },
                None => Judged {
                    revision: last.revision,
                    outcome: Ok(Changes::default()),
                    replayed: true,
                },
            };
        }
        if previous != last.sequence {
            let last = last.sequence;
            let refusal = Refusal::SequenceConflict { previous, last };
            return Judged::first(revision, Err(refusal));
        }
        let outcome = self.carry(writer, revision, action);
        if outcome.is_err() {
            self.remember(writer, revision, batch, 0, action, &outcome);
        }
        let most = writer.limits.streams;
        let mut streams = self.streams.write(revision, self.epoch(), encode_streams);
        let stream = Stream {
            sequence,
            revision,
            ..last
        };
        streams.put(name, stream, most);
        Judged::first(revision, outcome)
    }

    fn remember(
        &self,
        writer: &mut Writer,
        revision: Revision,
        digest: Digest,
        content: u64,
        action: &Action,
        outcome: &Result<Changes, Refusal>,
    ) {
        let first = requests::First {
            revision,
            content,
            detail: outcome::encode(action, outcome),
        };
        let most = writer.limits.request_ids;
        writer.requests.remember(digest, &first, self.epoch(), most);
    }
}

fn read_digest(decoder: &mut Decoder<'_>) -> Result<Digest, DecodeError> {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(decoder.raw(16)?);
    Ok(Digest::from_bytes(bytes))
}
