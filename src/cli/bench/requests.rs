//! What is sent, made and encoded before the load begins, so that sending takes no thought.
//!
//! Each kind of call has a ring of encoded requests, which it goes through at random again and again.

#![expect(
    clippy::disallowed_types,
    reason = "a client is answered with statuses"
)]

use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::chance::{self, below};
use super::people::{self, int64};
use crate::proto::{
    CheckRequest, CountRequest, Event, UserUpdate, WriteRequest, count_request::Selection,
};

/// Requests in a ring.
const RING: u64 = 4_096;
/// Users who are written to in all requests of a ring, about.
const UPDATES: u64 = 200_000;
/// Most filters and segments of a check.
const FILTERS: u64 = 10;
/// So many writes have an event, one of them.
const EVENTS: u64 = 8;

pub(super) const CHECK: &str = "/headcount.v1.QueryService/Check";
pub(super) const COUNT: &str = "/headcount.v1.QueryService/Count";
pub(super) const WRITE: &str = "/headcount.v1.IngestService/Write";

/// Whose users they are.
#[derive(Clone, Debug)]
pub(super) enum Users {
    /// So many that a bench made.
    Made(u64),
    /// Those who are there.
    There(Vec<String>),
}

impl Users {
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Made(count) => *count,
            Self::There(ids) => ids.len() as u64,
        }
    }

    fn id(&self, place: u64) -> String {
        match self {
            Self::Made(_) => people::id(place),
            Self::There(ids) => {
                let id = usize::try_from(place).ok().and_then(|place| ids.get(place));
                id.cloned().unwrap_or_default()
            }
        }
    }
}

/// What requests are made of.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) population: &'a str,
    pub(super) seed: u64,
    pub(super) users: &'a Users,
    /// Filters to ask; those of a bench, and its segments, if there are none.
    pub(super) filters: &'a [String],
    /// Users in a write.
    pub(super) batch: u64,
}

impl Source<'_> {
    /// A user, drawn.
    fn user(&self, number: u64) -> String {
        let draw = chance::of(self.seed, number, chance::USER);
        self.users.id(below(draw, self.users.count()))
    }

    pub(super) fn checks(&self) -> Vec<Bytes> {
        (0..RING)
            .map(|number| encoded(&self.check(number)))
            .collect()
    }

    fn check(&self, number: u64) -> CheckRequest {
        let filters: Vec<&str> = if self.filters.is_empty() {
            people::FILTERS.to_vec()
        } else {
            self.filters.iter().map(String::as_str).collect()
        };
        let segments: &[_] = if self.filters.is_empty() {
            &people::SEGMENTS
        } else {
            &[]
        };
        let mut request = CheckRequest {
            population: self.population.into(),
            user_id: self.user(number),
            ..CheckRequest::default()
        };
        let choices = filters.len() + segments.len();
        let draw = |what: u64| chance::of(self.seed, number, chance::FILTERS ^ (what << 8));
        let first = below(draw(0), choices as u64);
        let count = 1 + below(draw(1), FILTERS.min(choices as u64));
        // Neighbours in a circle: each once.
        for place in first..first + count {
            let place = usize::try_from(place).unwrap_or_default() % choices;
            match (filters.get(place), place.checked_sub(filters.len())) {
                (Some(filter), _) => request.filters.push((*filter).to_owned()),
                (None, segment) => {
                    let (name, _) = segments[segment.unwrap_or_default()];
                    request.segments.push(name.to_owned());
                }
            }
        }
        request
    }

    pub(super) fn counts(&self) -> Vec<Bytes> {
        let count = |filter: &str| CountRequest {
            population: self.population.into(),
            selection: Some(Selection::Filter(filter.to_owned())),
            ..CountRequest::default()
        };
        if self.filters.is_empty() {
            let filters = people::FILTERS.iter();
            return filters.map(|filter| encoded(&count(filter))).collect();
        }
        let filters = self.filters.iter();
        filters.map(|filter| encoded(&count(filter))).collect()
    }

    /// What the writes of a ring change.
    pub(super) fn updates(&self) -> Vec<Vec<UserUpdate>> {
        let requests = (UPDATES / self.batch.max(1)).clamp(16, RING);
        let update = |number| UserUpdate {
            user_id: self.user(number),
            set: [(
                people::SCORE.to_owned(),
                int64(below(chance::of(self.seed, number, chance::SCORE), 100)),
            )]
            .into(),
            increment: [(people::WRITES.to_owned(), int64(1))].into(),
            events: Vec::from_iter(number.is_multiple_of(EVENTS).then(|| Event {
                name: "open".into(),
                ..Event::default()
            })),
            ..UserUpdate::default()
        };
        (0..requests)
            .map(|request| {
                let first = request * self.batch;
                (first..first + self.batch).map(update).collect()
            })
            .collect()
    }

    pub(super) fn writes(&self) -> Vec<Bytes> {
        let updates = self.updates().into_iter();
        updates
            .map(|updates| encoded(&self.write(updates)))
            .collect()
    }

    fn write(&self, updates: Vec<UserUpdate>) -> WriteRequest {
        WriteRequest {
            population: self.population.into(),
            updates,
            ..WriteRequest::default()
        }
    }
}

/// A write that moves one user into the segment that is watched, or out of it.
pub(super) fn move_of(population: &str, user: u64, enters: bool) -> Bytes {
    encoded(&WriteRequest {
        population: population.into(),
        updates: vec![turned(user, enters)],
        ..WriteRequest::default()
    })
}

/// The update of one who is moved.
pub(super) fn turned(user: u64, enters: bool) -> UserUpdate {
    UserUpdate {
        user_id: people::id(user),
        set: [(people::TURN.to_owned(), int64(u64::from(enters)))].into(),
        ..UserUpdate::default()
    }
}

fn encoded(request: &impl Message) -> Bytes {
    Bytes::from(request.encode_to_vec())
}

/// Sends what is encoded already, and does not look at answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn source<'a>(users: &'a Users, filters: &'a [String], batch: u64) -> Source<'a> {
        Source {
            population: "bench",
            seed: 3,
            users,
            filters,
            batch,
        }
    }

    #[test]
    fn checks_ask_for_each_filter_once() {
        let users = Users::Made(1_000);
        let source = source(&users, &[], 1);
        let (mut counts, mut asked) = (BTreeSet::new(), BTreeSet::new());
        for bytes in source.checks() {
            let check = CheckRequest::decode(bytes).unwrap();
            assert!(people::number(&check.user_id).unwrap() < 1_000);
            let names: Vec<String> = check.filters.into_iter().chain(check.segments).collect();
            let different: BTreeSet<String> = names.iter().cloned().collect();
            assert_eq!(different.len(), names.len());
            counts.insert(names.len());
            asked.extend(names);
        }
        assert_eq!(counts, (1..=10).collect());
        assert_eq!(asked.len(), people::FILTERS.len() + people::SEGMENTS.len());
    }

    #[test]
    fn given_filters_and_users_are_the_ones_that_are_asked() {
        let users = Users::There(vec!["a".into(), "b".into()]);
        let filters = ["x = 1".to_owned(), "y = 2".to_owned()];
        let source = source(&users, &filters, 1);
        for bytes in source.checks() {
            let check = CheckRequest::decode(bytes).unwrap();
            assert!(["a", "b"].contains(&check.user_id.as_str()));
            assert!(check.segments.is_empty() && (1..=2).contains(&check.filters.len()));
        }
        assert_eq!(source.counts().len(), 2);
    }

    #[test]
    fn a_write_has_as_many_updates_as_it_is_told() {
        let users = Users::Made(10);
        for batch in [1, 500, 5_000] {
            let writes = source(&users, &[], batch).writes();
            assert!(writes.len() >= 16);
            let write = WriteRequest::decode(writes[0].clone()).unwrap();
            assert_eq!(write.updates.len() as u64, batch);
            assert!(
                writes.iter().all(|write| write.len() < 1 << 20),
                "a write has 1 MiB at most"
            );
        }
    }
}
