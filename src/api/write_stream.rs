//! A stream of batches of which many are in flight, and which can be resumed.
//!
//! Invariants: the batches of a stream are carried out and answered in the order in which they
//! came; memory is bounded, since no more is read while too much is unanswered. Of a resumable
//! stream nothing is carried out behind a batch that was neither carried out nor refused: such a
//! batch ends the stream, and each batch says which one it follows, so that what was sent behind it
//! already is refused where commands are judged.

use std::collections::VecDeque;

use prost::Message;

use super::access::Incoming;
use super::convert::{self, Origins, Path};
use super::deadline::Deadline;
use super::error::ApiError;
use super::ingest::{accepted, stale};
use super::parts::{Gone, Sender};
use super::{Api, RpcStatus, of_transport};
use crate::engine::{CommitError, Committed, Submitted};
use crate::model::{Command, Once, PopulationName, Revision, StreamId};
use crate::population::Refusal;
use crate::proto::{StreamOpened, WriteStreamRequest, WriteStreamResponse};

/// How many batches of one stream may be unanswered.
const IN_FLIGHT: usize = 256;
/// How many bytes of unanswered batches one stream may have, give or take a batch.
const IN_FLIGHT_BYTES: usize = 8 << 20;
/// How many answers wait for a client that reads slowly.
pub(super) const ANSWERS: usize = 64;

/// A batch that is not answered yet.
struct Unanswered {
    sequence: u64,
    bytes: usize,
    origins: Origins,
    outcome: Outcome,
}

enum Outcome {
    /// The batch is in the queue.
    Waiting(Submitted),
    Decided(Box<Result<Committed, Failure>>),
}

/// Why a batch was not applied.
struct Failure {
    error: ApiError,
    /// Whether it was refused for what it asks, and would be again.
    judged: bool,
    replayed: bool,
}

impl Failure {
    fn unjudged(error: ApiError) -> Self {
        Self {
            error,
            judged: false,
            replayed: false,
        }
    }

    fn of(error: CommitError, origins: &Origins) -> Self {
        let judged = match &error {
            CommitError::Refused(refusal) => !matches!(refusal, Refusal::SequenceConflict { .. }),
            CommitError::RefusedBefore(_) => true,
            CommitError::ReadOnly { .. }
            | CommitError::Full { .. }
            | CommitError::Stopping
            | CommitError::Overloaded(_) => false,
        };
        Self {
            judged,
            replayed: matches!(error, CommitError::RefusedBefore(_)),
            error: ApiError::refused_write(error, origins, &Path::Root),
        }
    }
}

impl Unanswered {
    /// Waits until the outcome is known. May be called off and called again.
    async fn decide(&mut self) {
        if let Outcome::Waiting(submitted) = &mut self.outcome {
            let outcome = submitted.await;
            let outcome = outcome.map_err(|error| Failure::of(error, &self.origins));
            self.outcome = Outcome::Decided(Box::new(outcome));
        }
    }
}

/// What makes a stream resumable.
struct Resumable {
    population: PopulationName,
    id: StreamId,
    /// The sequence that the next new batch follows.
    previous: u64,
}

/// One stream of batches.
pub(super) struct WriteStream {
    api: Api,
    answers: Sender<WriteStreamResponse>,
    unanswered: VecDeque<Unanswered>,
    unanswered_bytes: usize,
    begun: bool,
    last_sequence: Option<u64>,
    resumable: Option<Resumable>,
}

/// Why a message is not taken.
enum NotTaken {
    /// The stream ends with this.
    End(ApiError),
    Gone,
}

impl From<ApiError> for NotTaken {
    fn from(error: ApiError) -> Self {
        Self::End(error)
    }
}

impl From<Gone> for NotTaken {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl WriteStream {
    pub(super) fn new(api: Api, answers: Sender<WriteStreamResponse>) -> Self {
        Self {
            api,
            answers,
            unanswered: VecDeque::new(),
            unanswered_bytes: 0,
            begun: false,
            last_sequence: None,
            resumable: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut requests: Incoming<WriteStreamRequest>,
        deadline: Deadline,
    ) {
        let served = deadline.bound(async { Ok(self.serve(&mut requests).await) });
        let end = match served.await {
            Err(late) => late.into(),
            Ok(Ok(None) | Err(Gone)) => return,
            Ok(Ok(Some(end))) => end,
        };
        self.answers.fail(end);
    }

    /// Serves until the client has sent all and is answered, or the stream must end early with a
    /// status. What was accepted is answered before.
    async fn serve(
        &mut self,
        requests: &mut Incoming<WriteStreamRequest>,
    ) -> Result<Option<RpcStatus>, Gone> {
        let api = self.api.clone();
        let end = loop {
            // What came first is answered first, and nothing more is read while too much waits.
            let is_full =
                self.unanswered.len() >= IN_FLIGHT || self.unanswered_bytes >= IN_FLIGHT_BYTES;
            let message = match self.unanswered.front_mut() {
                None => Some(read(&api, &self.answers, requests).await?),
                Some(first) if is_full => {
                    first.decide().await;
                    None
                }
                Some(first) => tokio::select! {
                    biased;
                    () = first.decide() => None,
                    message = read(&api, &self.answers, requests) => Some(message?),
                },
            };
            match message {
                None => {
                    if let Some(end) = self.answer_first().await? {
                        return Ok(Some(end));
                    }
                }
                Some(Ok(Some(request))) => match self.take(request).await {
                    Ok(()) => {}
                    Err(NotTaken::End(error)) => break Some(error.into()),
                    Err(NotTaken::Gone) => return Err(Gone),
                },
                Some(Ok(None)) => break None,
                Some(Err(status)) => break Some(status),
            }
        };
        while !self.unanswered.is_empty() {
            if let Some(end) = self.answer_first().await? {
                return Ok(Some(end));
            }
        }
        Ok(end)
    }

    /// Takes a message: opens the stream if it is the first, and puts its batch into the queue.
    async fn take(&mut self, request: WriteStreamRequest) -> Result<(), NotTaken> {
        if self.begun {
            self.check_stream(&request)?;
        } else {
            self.begun = true;
            self.open(&request).await?;
            let is_there_for_that =
                self.resumable.is_some() && request.sequence == 0 && request.updates.is_empty();
            if is_there_for_that {
                return Ok(());
            }
        }
        self.check_sequence(request.sequence)?;
        self.submit(request).await
    }

    /// Tells how far the stream got, if it is resumable.
    async fn open(&mut self, request: &WriteStreamRequest) -> Result<(), NotTaken> {
        let path = Path::Field(&Path::Root, "stream_id");
        let Some(id) = convert::stream_id(request.stream_id.clone(), &path)? else {
            return Ok(());
        };
        let name = convert::population_name(request.population.clone())?;
        let population = self.api.engine.population(&name);
        let last = population.and_then(|population| population.last_of_stream(&id));
        let (last_sequence, revision) = last.unwrap_or_default();
        let revision = match revision {
            Revision::ZERO => String::new(),
            revision => self.api.revision(revision),
        };
        let answer = WriteStreamResponse {
            opened: Some(StreamOpened {
                last_sequence,
                revision,
            }),
            ..WriteStreamResponse::default()
        };
        self.resumable = Some(Resumable {
            population: name,
            id,
            previous: last_sequence,
        });
        self.answer(answer).await?;
        Ok(())
    }

    /// Makes sure that a message is about the stream that was opened.
    fn check_stream(&self, request: &WriteStreamRequest) -> Result<(), ApiError> {
        let id = self.resumable.as_ref().map_or("", |open| open.id.as_str());
        if !request.stream_id.is_empty() && request.stream_id != id {
            return Err(ApiError::field(
                &Path::Field(&Path::Root, "stream_id"),
                "is not that of the first message of the stream; leave it empty, or open another stream",
            ));
        }
        let Some(open) = &self.resumable else {
            return Ok(());
        };
        if convert::population_name(request.population.clone())? != open.population {
            return Err(ApiError::field(
                &Path::Field(&Path::Root, "population"),
                format!(
                    "is not {:?}, that of the first message; a resumable stream is about one population",
                    open.population
                ),
            ));
        }
        Ok(())
    }

    fn check_sequence(&mut self, sequence: u64) -> Result<(), ApiError> {
        let expected = match self.last_sequence {
            Some(last) if sequence <= last => {
                format!("a number above {last}, that of the batch before")
            }
            None if sequence == 0 && self.resumable.is_some() => {
                "a number above 0, as batches of a resumable stream have".into()
            }
            Some(_) | None => {
                self.last_sequence = Some(sequence);
                return Ok(());
            }
        };
        Err(ApiError::field(
            &Path::Field(&Path::Root, "sequence"),
            format!("expected {expected}, found {sequence}"),
        ))
    }

    /// Puts a batch into the queue.
    async fn submit(&mut self, request: WriteStreamRequest) -> Result<(), NotTaken> {
        let sequence = request.sequence;
        let bytes = request.encoded_len();
        let (origins, outcome) = match self.queue(request).await {
            Ok((origins, submitted)) => (origins, Outcome::Waiting(submitted)),
            Err(error) if self.resumable.is_some() => return Err(error.into()),
            Err(error) => {
                let failure = Failure::unjudged(error);
                (Origins::default(), Outcome::Decided(Box::new(Err(failure))))
            }
        };
        if let Some(open) = &mut self.resumable {
            open.previous = open.previous.max(sequence);
        }
        self.unanswered_bytes += bytes;
        self.unanswered.push_back(Unanswered {
            sequence,
            bytes,
            origins,
            outcome,
        });
        Ok(())
    }

    async fn queue(&self, request: WriteStreamRequest) -> Result<(Origins, Submitted), ApiError> {
        let name = convert::population_name(request.population)?;
        let (action, origins) = self.api.write_action(request.updates)?;
        let once = self.resumable.as_ref().map(|open| Once::Batch {
            stream: open.id.clone(),
            previous: open.previous,
            sequence: request.sequence,
        });
        let command = Command::Population { name, once, action };
        let submitted = self.api.engine.submit(command).await?;
        Ok((origins, submitted))
    }

    /// Answers the first batch that is not answered yet, or says what the stream ends with there.
    async fn answer_first(&mut self) -> Result<Option<RpcStatus>, Gone> {
        let Some(first) = self.unanswered.front_mut() else {
            return Ok(None);
        };
        first.decide().await;
        let Some(Unanswered {
            sequence,
            bytes,
            origins,
            outcome: Outcome::Decided(outcome),
        }) = self.unanswered.pop_front()
        else {
            return Ok(None);
        };
        self.unanswered_bytes -= bytes;
        let answer = match *outcome {
            Ok(committed) => WriteStreamResponse {
                sequence,
                revision: self.api.revision(committed.revision),
                stale_changes: stale(&committed),
                replayed: committed.replayed,
                refused_events: convert::refused_events_message(&committed.changes.refused_events),
                // Of a repeated batch it is not known any more which ones did not.
                accepted_events: if committed.replayed {
                    0
                } else {
                    accepted(&origins, &committed)
                },
                ..WriteStreamResponse::default()
            },
            Err(failure) if self.resumable.is_some() && !failure.judged => {
                return Ok(Some(failure.error.into()));
            }
            Err(failure) => WriteStreamResponse {
                sequence,
                error: Some(failure.error.into()),
                replayed: failure.replayed,
                ..WriteStreamResponse::default()
            },
        };
        self.answer(answer).await?;
        Ok(None)
    }

    async fn answer(&self, answer: WriteStreamResponse) -> Result<(), Gone> {
        self.answers.send(answer).await
    }
}

/// The next message; `None` when the client has sent all. Nothing is taken for which there can be no
/// answer any more.
async fn read(
    api: &Api,
    answers: &Sender<WriteStreamResponse>,
    requests: &mut Incoming<WriteStreamRequest>,
) -> Result<Result<Option<WriteStreamRequest>, RpcStatus>, Gone> {
    tokio::select! {
        biased;
        () = answers.closed() => Err(Gone),
        message = requests.message() => Ok(message.map_err(|status| {
            of_transport(status.code().into(), status.message()).unwrap_or(status)
        })),
        () = api.closed() => Ok(Err(ApiError::stopping().into())),
    }
}
