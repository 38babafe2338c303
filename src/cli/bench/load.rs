//! The load itself: who sends, over what, and what is noted of each call.
//!
//! Invariant: as many calls are in flight as there are senders, never more; each sends one call at a time.

#![expect(
    clippy::disallowed_types,
    reason = "a client is answered with statuses"
)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt;

use super::chance::{self, below};
use super::mix::{Mix, Operation};
use super::moves::{Mover, Watchers};
use super::requests::{self, Encoded};
use super::schedule::{Schedule, Turn};
use super::tally::{Counts, Outcome, Tally};
use crate::cli::client::{Channel, Client, innermost};
use crate::proto::{UserUpdate, WriteStreamRequest, WriteStreamResponse};

/// How long whoever lost the connection waits before the next call of a closed loop.
const PAUSE: Duration = Duration::from_millis(50);
const OVERLOADED: &str = "OVERLOADED";

/// What is sent, the same for all who send.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) population: String,
    pub(super) seed: u64,
    pub(super) mix: Mix,
    /// How long a call may take.
    pub(super) patience: Duration,
    pub(super) checks: Vec<Bytes>,
    pub(super) counts: Vec<Bytes>,
    pub(super) writes: Vec<Bytes>,
    /// The same as updates, to be written over a stream for each sender, if that is how they are written.
    pub(super) streamed: Option<Vec<Vec<UserUpdate>>>,
    pub(super) watchers: Arc<Watchers>,
    /// Users who are moved.
    pub(super) moved: u64,
}

/// What was noted of the calls, by connection so that nobody waits for the pen.
pub(super) type Notes = Arc<Vec<Mutex<Tally>>>;

/// All that was noted so far.
pub(super) fn noted(notes: &Notes) -> Tally {
    let mut all = Tally::default();
    for tally in notes.iter() {
        all.add(&tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
    all
}

/// Starts all who send. They end by themselves when the schedule does.
pub(super) fn start(
    clients: &[Client],
    senders: u64,
    work: &Arc<Work>,
    schedule: &Arc<Schedule>,
    notes: &Notes,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let connections = (0..clients.len()).cycle();
    for (number, connection) in (0..senders).zip(connections) {
        let client = clients[connection].clone();
        let sender = Sender {
            grpc: Grpc::new(client.channel.clone()),
            client,
            work: Arc::clone(work),
            mover: Mover::new(number, senders, work.moved),
            stream: None,
        };
        let (schedule, notes) = (Arc::clone(schedule), Arc::clone(notes));
        tasks.spawn(sender.run(schedule, notes, connection));
    }
    tasks
}

/// One who sends.
struct Sender {
    client: Client,
    grpc: Grpc<Channel>,
    work: Arc<Work>,
    mover: Mover,
    stream: Option<Stream>,
}

/// A stream of writes, one batch at a time.
struct Stream {
    requests: mpsc::Sender<WriteStreamRequest>,
    answers: Streaming<WriteStreamResponse>,
    sequence: u64,
}

/// A call that was not answered, and whether there was no connection to send it over.
struct Unanswered {
    outcome: Outcome,
    is_broken: bool,
}

impl From<Status> for Unanswered {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        // An error that the service sent has no source on this side.
        if let (None, Some(source)) = (info, std::error::Error::source(&status)) {
            return Self::broken(&innermost(source));
        }
        let reason = info.map(|info| info.reason.as_str()).unwrap_or_default();
        let outcome = if reason == OVERLOADED {
            Outcome::Refused
        } else {
            failed(status.code(), reason, status.message())
        };
        Self {
            outcome,
            is_broken: false,
        }
    }
}

impl Unanswered {
    fn broken(cause: &str) -> Self {
        Self {
            outcome: Outcome::Failed("no connection".into(), cause.into()),
            is_broken: true,
        }
    }
}

impl Sender {
    async fn run(mut self, schedule: Arc<Schedule>, notes: Notes, connection: usize) {
        while let Some(turn) = schedule.turn().await {
            let operation = self.work.mix.pick(self.work.seed, turn.number);
            let ended = timeout(self.work.patience, self.send(operation, turn)).await;
            let now = Instant::now();
            let time = now.saturating_duration_since(turn.due);
            let (outcome, is_broken) = match ended {
                Ok(Ok(())) => (Outcome::Answered, false),
                Ok(Err(unanswered)) => (unanswered.outcome, unanswered.is_broken),
                Err(_) => (late(self.work.patience), false),
            };
            if outcome != Outcome::Answered {
                self.stream = None;
                // Who was refused was not moved; of all others nobody knows.
                if operation == Operation::Move && outcome != Outcome::Refused {
                    self.mover.unsure();
                }
            }
            let counts = Counts {
                call: turn.counts,
                rate: schedule.is_counted(now),
            };
            note(&notes[connection], operation, outcome, time, counts);
            if is_broken {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn send(&mut self, operation: Operation, turn: Turn) -> Result<(), Unanswered> {
        let work = Arc::clone(&self.work);
        let draw = chance::of(work.seed, turn.number, chance::REQUEST);
        let (path, ring) = match operation {
            Operation::Check => (requests::CHECK, &work.checks),
            Operation::Count => (requests::COUNT, &work.counts),
            Operation::Write => match &work.streamed {
                Some(batches) => {
                    let batch = drawn(batches, draw);
                    return self
                        .write_streamed(batch.cloned().unwrap_or_default())
                        .await;
                }
                None => (requests::WRITE, &work.writes),
            },
            Operation::Move => return self.move_one(turn).await,
        };
        let request = drawn(ring, draw).cloned().unwrap_or_default();
        self.call(path, request).await
    }

    async fn call(&mut self, path: &'static str, request: Bytes) -> Result<(), Unanswered> {
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Unanswered::broken(&innermost(&error)))?;
        let path = PathAndQuery::from_static(path);
        self.grpc
            .unary(Request::new(request), path, Encoded)
            .await?;
        Ok(())
    }

    async fn move_one(&mut self, turn: Turn) -> Result<(), Unanswered> {
        let Some((moved, enters)) = self.mover.next() else {
            return Err(Unanswered {
                outcome: Outcome::Failed("nobody left to move".into(), String::new()),
                is_broken: false,
            });
        };
        let request = requests::move_of(&self.work.population, moved.0, enters);
        self.call(requests::WRITE, request).await?;
        self.work
            .watchers
            .acknowledge(moved, Instant::now(), turn.counts);
        self.mover.moved();
        Ok(())
    }

    async fn write_streamed(&mut self, updates: Vec<UserUpdate>) -> Result<(), Unanswered> {
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let (requests, receiver) = mpsc::channel(1);
            let mut ingest = self.client.ingest();
            let answers = ingest.write_stream(ReceiverStream::new(receiver)).await?;
            Stream {
                requests,
                answers: answers.into_inner(),
                sequence: 0,
            }
        };
        stream.sequence += 1;
        let request = WriteStreamRequest {
            sequence: stream.sequence,
            population: self.work.population.clone(),
            updates,
            ..WriteStreamRequest::default()
        };
        // If it can't be sent, the answer says why.
        let _ = stream.requests.send(request).await;
        let answer = stream.answers.message().await?;
        let answer = answer.ok_or_else(|| Unanswered::broken("the stream of writes ended"))?;
        self.stream = Some(stream);
        match answer.error {
            None => Ok(()),
            Some(error) if error.reason == OVERLOADED => Err(Unanswered {
                outcome: Outcome::Refused,
                is_broken: false,
            }),
            Some(error) => Err(Unanswered {
                outcome: failed(error.code.into(), &error.reason, &error.message),
                is_broken: false,
            }),
        }
    }
}

fn note(
    tally: &Mutex<Tally>,
    operation: Operation,
    outcome: Outcome,
    time: Duration,
    counts: Counts,
) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    tally.record(operation, outcome, time, counts);
}

fn failed(code: Code, reason: &str, message: &str) -> Outcome {
    let error = format!("{code:?} {reason}");
    Outcome::Failed(error.trim_end().to_owned(), message.to_owned())
}

fn late(patience: Duration) -> Outcome {
    let said = format!("it took more than {} s", patience.as_secs_f64());
    Outcome::Failed("no answer in time".into(), said)
}

/// One of a ring.
fn drawn<T>(ring: &[T], draw: u64) -> Option<&T> {
    ring.get(usize::try_from(below(draw, ring.len() as u64)).ok()?)
}
