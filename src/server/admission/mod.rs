//! Whether there is room for a call.
//!
//! Invariants: calls of one kind never take room of another, so that a flood of one leaves the others
//! as they were; a call without room is refused before anything of its body is read, so that refusing
//! costs microseconds; what a call takes is given back when it ends, however it ends.

mod body;
mod bytes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tonic::body::Body;
use tonic::codegen::http::Request;

pub(super) use body::RequestBody;

use super::config::ServerConfig;
use crate::api::{Cost, Messages, Method, RpcStatus, overloaded};
use bytes::{Budget, Share, Taken};

/// Calls that share room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Checks,
    Queries,
    Writes,
    Others,
    /// Streams that are only read may last for hours and do little.
    ReadStreams,
    WriteStreams,
}

impl Kind {
    fn of(method: &Method) -> Self {
        match (method.messages, method.cost) {
            (Messages::Stream, Cost::Write) => Self::WriteStreams,
            (Messages::Stream, Cost::Check | Cost::Query | Cost::Other) => Self::ReadStreams,
            (Messages::Unary, Cost::Check) => Self::Checks,
            (Messages::Unary, Cost::Query) => Self::Queries,
            (Messages::Unary, Cost::Write) => Self::Writes,
            (Messages::Unary, Cost::Other) => Self::Others,
        }
    }
}

/// The room of one kind of calls.
#[derive(Debug)]
struct Room {
    /// What the limit is called in errors and in the settings.
    limit: &'static str,
    most: usize,
    refused: AtomicU64,
}

/// Knows how much is under way.
pub(super) struct Admission {
    /// By [`Kind`]. There is one handle more on each than there are calls in it, so that one count
    /// does for both.
    rooms: [Arc<Room>; 6],
    budget: Arc<Budget>,
    body_timeout: Duration,
}

/// The room that a call takes until it ends.
#[derive(Debug)]
pub(super) struct Place {
    /// Nothing for a call of a method that does not exist, which is refused by its name.
    _room: Option<Arc<Room>>,
    bytes: Option<Arc<Taken>>,
}

impl Place {
    /// Gives back what the request took, of which nothing is left once the answer is known.
    pub(super) fn answered(&mut self) {
        self.bytes = None;
    }
}

/// How full a room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fullness {
    /// What the limit is called.
    pub(super) limit: &'static str,
    /// How much is there now: calls, or bytes.
    pub(super) taken: usize,
    /// How many calls found too little room so far.
    pub(super) refused: u64,
}

impl Admission {
    pub(super) fn new(config: &ServerConfig) -> Self {
        let rooms = [
            ("max_checks", config.checks),
            ("max_queries", config.queries),
            ("max_writes", config.writes),
            ("max_other_calls", config.other_calls),
            ("max_read_streams", config.read_streams),
            ("max_write_streams", config.write_streams),
        ];
        Self {
            rooms: rooms.map(|(limit, most)| {
                Arc::new(Room {
                    limit,
                    most,
                    refused: AtomicU64::new(0),
                })
            }),
            budget: Arc::new(Budget::new(config.request_bytes)),
            body_timeout: config.body_timeout,
        }
    }

    /// Takes room for a call, or refuses.
    pub(super) fn enter(
        &self,
        method: Option<&'static Method>,
        request: Request<Body>,
    ) -> Result<(Request<RequestBody>, Place), RpcStatus> {
        let room = method.map(|method| self.take(method)).transpose()?;
        let taken = Taken::of(&self.budget);
        // A check is answered as soon as its body is there, so that its bytes go with the body; what
        // others asked for may wait for its turn.
        let is_check = method.is_some_and(|method| method.cost == Cost::Check);
        let (share, bytes) = if is_check {
            (Share::OfBody(taken), None)
        } else {
            let taken = Arc::new(taken);
            (Share::OfCall(Arc::clone(&taken)), Some(taken))
        };
        // All other streams have one request, which is to come whole as that of any call.
        let is_stream = method.is_some_and(|method| Kind::of(method) == Kind::WriteStreams);
        let request =
            request.map(|body| RequestBody::new(body, share, is_stream, self.body_timeout));
        let place = Place { _room: room, bytes };
        Ok((request, place))
    }

    fn take(&self, method: &Method) -> Result<Arc<Room>, RpcStatus> {
        // One for each kind.
        let [checks, queries, writes, others, read_streams, write_streams] = &self.rooms;
        let room = match Kind::of(method) {
            Kind::Checks => checks,
            Kind::Queries => queries,
            Kind::Writes => writes,
            Kind::Others => others,
            Kind::ReadStreams => read_streams,
            Kind::WriteStreams => write_streams,
        };
        let place = Arc::clone(room);
        if inside(&place) > place.most {
            room.refused.fetch_add(1, Ordering::Relaxed);
            return Err(overloaded(room.limit, room.most));
        }
        Ok(place)
    }

    /// How many calls are under way.
    pub(super) fn calls(&self) -> usize {
        self.rooms.iter().map(inside).sum()
    }

    /// How full all rooms are, and the budget of bytes.
    pub(super) fn fullness(&self) -> impl Iterator<Item = Fullness> {
        let rooms = self.rooms.iter().map(|room| Fullness {
            limit: room.limit,
            taken: inside(room),
            refused: room.refused.load(Ordering::Relaxed),
        });
        rooms.chain([self.budget.fullness()])
    }
}

/// How many calls are in a room.
fn inside(room: &Arc<Room>) -> usize {
    Arc::strong_count(room) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::METHODS;

    fn config() -> ServerConfig {
        ServerConfig {
            checks: 1,
            queries: 2,
            writes: 3,
            other_calls: 4,
            read_streams: 5,
            write_streams: 6,
            ..ServerConfig::default()
        }
    }

    fn enter(admission: &Admission, name: &str) -> Result<Place, RpcStatus> {
        let method = METHODS.iter().find(|method| method.name == name);
        let entered = admission.enter(method, Request::new(Body::empty()));
        entered.map(|(_, place)| place)
    }

    fn taken(admission: &Admission) -> Vec<usize> {
        admission.fullness().map(|room| room.taken).collect()
    }

    #[test]
    fn each_kind_has_its_own_room() {
        let admission = Admission::new(&config());
        let names = [
            "Check",
            "Count",
            "Write",
            "ListSegments",
            "WatchSegments",
            "WriteStream",
        ];
        let mut places = Vec::new();
        for (position, name) in names.into_iter().enumerate() {
            for _ in 0..=position {
                places.push(enter(&admission, name).unwrap());
            }
            enter(&admission, name).unwrap_err();
        }
        assert_eq!(taken(&admission), [1, 2, 3, 4, 5, 6, 0]);
        assert!(admission.fullness().take(6).all(|room| room.refused == 1));
        drop(places);
        assert_eq!(taken(&admission), [0; 7]);
        for name in names {
            enter(&admission, name).unwrap();
        }
    }

    #[test]
    fn what_does_not_exist_takes_no_room() {
        let admission = Admission::new(&config());
        let entered = admission.enter(None, Request::new(Body::empty()));
        assert!(entered.is_ok());
        assert_eq!(taken(&admission), [0; 7]);
    }
}
