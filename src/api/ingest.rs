//! Writes: one batch, or a stream of batches of which many are in flight.
//!
//! Invariants: the batches of a stream are carried out and answered in the order in which they
//! came; memory is bounded, since no more is read while too much is unanswered.

use std::collections::VecDeque;

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Streaming};

use super::convert::{self, Origins, Path};
use super::deadline::Deadline;
use super::error::ApiError;
use super::{Api, RpcStatus, of_transport};
use crate::engine::{Committed, Submitted};
use crate::model::{Action, Command};
use crate::proto::{
    StaleChange, UserUpdate, WriteRequest, WriteResponse, WriteStreamRequest, WriteStreamResponse,
    ingest_service_server::IngestService,
};

/// How many batches of one stream may be unanswered.
const IN_FLIGHT: usize = 256;
/// How many bytes of unanswered batches one stream may have, give or take a batch.
const IN_FLIGHT_BYTES: usize = 8 << 20;
/// How many answers wait for a client that reads slowly.
const ANSWERS: usize = 64;

fn command(population: String, updates: Vec<UserUpdate>) -> Result<(Command, Origins), ApiError> {
    let name = convert::population_name(population)?;
    let (updates, origins) = convert::updates(updates, &Path::Root)?;
    let action = Action::Write(updates);
    Ok((Command::Population { name, action }, origins))
}

fn stale(committed: &Committed) -> Vec<StaleChange> {
    let stale = committed.changes.stale.iter();
    stale
        .map(|(update, property)| StaleChange {
            update_index: u32::try_from(*update).unwrap_or(u32::MAX),
            property: property.as_str().to_owned(),
        })
        .collect()
}

#[tonic::async_trait]
impl IngestService for Api {
    async fn write(
        &self,
        request: Request<WriteRequest>,
    ) -> Result<Response<WriteResponse>, RpcStatus> {
        let deadline = Deadline::of(&request);
        let request = request.into_inner();
        let (command, origins) = command(request.population, request.updates)?;
        let committed = deadline
            .bound(async {
                let outcome = self.engine.commit(command).await;
                outcome.map_err(|error| ApiError::refused_write(error, &origins, &Path::Root))
            })
            .await?;
        Ok(Response::new(WriteResponse {
            revision: self.revision(committed.revision),
            stale_changes: stale(&committed),
        }))
    }

    type WriteStreamStream = ReceiverStream<Result<WriteStreamResponse, RpcStatus>>;

    async fn write_stream(
        &self,
        request: Request<Streaming<WriteStreamRequest>>,
    ) -> Result<Response<Self::WriteStreamStream>, RpcStatus> {
        let deadline = Deadline::of(&request);
        let (answers, receiver) = mpsc::channel(ANSWERS);
        let stream = WriteStream {
            api: self.clone(),
            answers,
            unanswered: VecDeque::new(),
            unanswered_bytes: 0,
            last_sequence: None,
        };
        tokio::spawn(stream.run(request.into_inner(), deadline));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

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
    Decided(Box<Result<Committed, ApiError>>),
}

impl Unanswered {
    /// Waits until the outcome is known. May be called off and called again.
    async fn decide(&mut self) {
        if let Outcome::Waiting(submitted) = &mut self.outcome {
            let outcome = submitted.await;
            let outcome =
                outcome.map_err(|error| ApiError::refused_write(error, &self.origins, &Path::Root));
            self.outcome = Outcome::Decided(Box::new(outcome));
        }
    }
}

/// One stream of batches.
struct WriteStream {
    api: Api,
    answers: mpsc::Sender<Result<WriteStreamResponse, RpcStatus>>,
    unanswered: VecDeque<Unanswered>,
    unanswered_bytes: usize,
    last_sequence: Option<u64>,
}

/// Nobody reads the answers any more.
struct Gone;

impl WriteStream {
    async fn run(mut self, mut requests: Streaming<WriteStreamRequest>, deadline: Deadline) {
        let served = deadline.bound(async { Ok(self.serve(&mut requests).await) });
        let end = match served.await {
            Err(late) => late.into(),
            Ok(Ok(None) | Err(Gone)) => return,
            Ok(Ok(Some(end))) => end,
        };
        let _ = self.answers.send(Err(end)).await;
    }

    /// Serves until the client has sent all and is answered, or the stream must end early with a
    /// status. What was accepted is answered before.
    async fn serve(
        &mut self,
        requests: &mut Streaming<WriteStreamRequest>,
    ) -> Result<Option<RpcStatus>, Gone> {
        let api = self.api.clone();
        let end = loop {
            // What came first is answered first, and nothing more is read while too much waits.
            let is_full =
                self.unanswered.len() >= IN_FLIGHT || self.unanswered_bytes >= IN_FLIGHT_BYTES;
            let message = match self.unanswered.front_mut() {
                None => Some(read(&api, requests).await),
                Some(first) if is_full => {
                    first.decide().await;
                    None
                }
                Some(first) => tokio::select! {
                    biased;
                    () = first.decide() => None,
                    message = read(&api, requests) => Some(message),
                },
            };
            match message {
                None => self.answer_first().await?,
                Some(Ok(Some(request))) => {
                    if let Err(error) = self.take(request).await {
                        break Some(error.into());
                    }
                }
                Some(Ok(None)) => break None,
                Some(Err(status)) => break Some(status),
            }
        };
        while !self.unanswered.is_empty() {
            self.answer_first().await?;
        }
        Ok(end)
    }

    /// Puts a batch into the queue. An error ends the stream.
    async fn take(&mut self, request: WriteStreamRequest) -> Result<(), ApiError> {
        let sequence = request.sequence;
        if let Some(last) = self.last_sequence
            && sequence <= last
        {
            return Err(ApiError::field(
                &Path::Field(&Path::Root, "sequence"),
                format!(
                    "expected a number above {last}, that of the batch before, found {sequence}"
                ),
            ));
        }
        self.last_sequence = Some(sequence);
        let bytes = request.encoded_len();
        let (origins, outcome) = match command(request.population, request.updates) {
            Err(error) => (Origins::default(), Outcome::Decided(Box::new(Err(error)))),
            Ok((command, origins)) => match self.api.engine.submit(command).await {
                Ok(submitted) => (origins, Outcome::Waiting(submitted)),
                Err(error) => (origins, Outcome::Decided(Box::new(Err(error.into())))),
            },
        };
        self.unanswered_bytes += bytes;
        self.unanswered.push_back(Unanswered {
            sequence,
            bytes,
            origins,
            outcome,
        });
        Ok(())
    }

    async fn answer_first(&mut self) -> Result<(), Gone> {
        let Some(first) = self.unanswered.front_mut() else {
            return Ok(());
        };
        first.decide().await;
        let Some(Unanswered {
            sequence,
            bytes,
            outcome: Outcome::Decided(outcome),
            ..
        }) = self.unanswered.pop_front()
        else {
            return Ok(());
        };
        self.unanswered_bytes -= bytes;
        let answer = match *outcome {
            Ok(committed) => WriteStreamResponse {
                sequence,
                revision: self.api.revision(committed.revision),
                stale_changes: stale(&committed),
                error: None,
            },
            Err(error) => WriteStreamResponse {
                sequence,
                error: Some(error.into()),
                ..Default::default()
            },
        };
        self.answers.send(Ok(answer)).await.map_err(|_| Gone)
    }
}

/// The next batch; `None` when the client has sent all.
async fn read(
    api: &Api,
    requests: &mut Streaming<WriteStreamRequest>,
) -> Result<Option<WriteStreamRequest>, RpcStatus> {
    tokio::select! {
        message = requests.message() => message.map_err(|status| {
            of_transport(status.code().into(), status.message()).unwrap_or(status)
        }),
        () = api.closed() => Err(ApiError::stopping().into()),
    }
}
