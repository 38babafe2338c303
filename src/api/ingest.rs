//! Writes: one batch, or a stream of batches.
//!
//! Invariant: what a retry may repeat is known by its id, and the judge of whether it is a repeat
//! is whoever carries it out, never this file.

use tonic::{Request, Response, Streaming};

use super::access::{begin, begin_stream};
use super::convert::{self, Origins, Path};
use super::error::ApiError;
use super::parts::{self, parts};
use super::write_stream::{ANSWERS, WriteStream};
use super::{Api, RpcStatus};
use crate::engine::{Committed, record};
use crate::model::{Action, Command, Once};
use crate::proto::{
    StaleChange, UserUpdate, WriteRequest, WriteResponse, WriteStreamRequest, WriteStreamResponse,
    ingest_service_server::IngestService,
};

impl Api {
    /// What a write that arrives now does.
    pub(super) fn write_action(
        &self,
        updates: Vec<UserUpdate>,
    ) -> Result<(Action, Origins), ApiError> {
        let has_events = updates.iter().any(|update| !update.events.is_empty());
        let received = if has_events {
            self.engine.received()
        } else {
            self.engine.now()
        };
        let (updates, origins) = convert::updates(updates, received, &Path::Root)?;
        Ok((Action::Write(updates), origins))
    }
}

pub(super) fn stale(committed: &Committed) -> Vec<StaleChange> {
    let stale = committed.changes.stale.iter();
    stale
        .map(|(update, property)| StaleChange {
            update_index: u32::try_from(*update).unwrap_or(u32::MAX),
            property: property.as_str().to_owned(),
        })
        .collect()
}

/// How many events of a write count: all that were not refused.
pub(super) fn accepted(origins: &Origins, committed: &Committed) -> u64 {
    let refused = committed.changes.refused_events.len() as u64;
    origins.events().saturating_sub(refused)
}

#[tonic::async_trait]
impl IngestService for Api {
    async fn write(
        &self,
        request: Request<WriteRequest>,
    ) -> Result<Response<WriteResponse>, RpcStatus> {
        let (deadline, request) = begin(request)?;
        let name = convert::population_name(request.population)?;
        let id = Path::Field(&Path::Root, "request_id");
        let id = convert::request_id(request.request_id, &id)?;
        let (action, origins) = self.write_action(request.updates)?;
        let once = id.map(|id| Once::Request {
            id,
            content: record::content(&action),
        });
        let command = Command::Population { name, once, action };
        let committed = deadline
            .bound(async {
                let outcome = self.engine.commit(command).await;
                outcome.map_err(|error| ApiError::refused_write(error, &origins, &Path::Root))
            })
            .await?;
        Ok(Response::new(WriteResponse {
            revision: self.revision(committed.revision),
            stale_changes: stale(&committed),
            replayed: committed.replayed,
            refused_events: convert::refused_events_message(&committed.changes.refused_events),
            accepted_events: accepted(&origins, &committed),
        }))
    }

    type WriteStreamStream = parts::Receiver<WriteStreamResponse>;

    async fn write_stream(
        &self,
        request: Request<Streaming<WriteStreamRequest>>,
    ) -> Result<Response<Self::WriteStreamStream>, RpcStatus> {
        let (deadline, requests) = begin_stream(request);
        let (answers, receiver) = parts(ANSWERS, self.patience);
        let stream = WriteStream::new(self.clone(), answers);
        tokio::spawn(stream.run(requests, deadline));
        Ok(Response::new(receiver))
    }
}
