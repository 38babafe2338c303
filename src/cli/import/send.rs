//! Batches to the service, many in flight on one stream.
//!
//! Invariant: updates take effect in the order of the file, also where a batch is refused: then
//! it and all that went out behind it are written again one after another, the refused ones row
//! by row. Writing again is harmless, since an import only sets and unsets values.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::rows::BadRow;
use super::updates::LineUpdate;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::proto::{UserUpdate, WriteRequest, WriteStreamRequest, WriteStreamResponse};

/// Batches that wait for their acknowledgement together.
pub(super) const WINDOW: usize = 32;

/// A stream of writes.
pub(super) struct Sender {
    client: Client,
    requests: mpsc::Sender<WriteStreamRequest>,
    responses: Streaming<WriteStreamResponse>,
    sequence: u64,
}

impl Sender {
    pub(super) async fn open(client: &Client) -> Result<Self, CliError> {
        let (requests, receiver) = mpsc::channel(WINDOW);
        let responses = client
            .ingest()
            .write_stream(ReceiverStream::new(receiver))
            .await?;
        Ok(Self {
            client: client.clone(),
            requests,
            responses: responses.into_inner(),
            sequence: 0,
        })
    }

    /// Writes some batches; adds to `imported` the rows that were acknowledged, and returns the
    /// rows that were refused: no more than one if it is to stop there.
    pub(super) async fn write(
        &mut self,
        batches: Vec<Vec<LineUpdate>>,
        stop: bool,
        imported: &mut u64,
    ) -> Result<Vec<BadRow>, CliError> {
        let first = self.sequence + 1;
        for batch in &batches {
            self.sequence += 1;
            let request = WriteStreamRequest {
                sequence: self.sequence,
                population: self.client.population.clone(),
                updates: batch.iter().map(|row| row.update.clone()).collect(),
            };
            if self.requests.send(request).await.is_err() {
                // The answers say why the stream ended.
                break;
            }
        }
        let mut refused_from = None;
        let mut refused = vec![false; batches.len()];
        for (position, batch) in batches.iter().enumerate() {
            let answer = self.responses.message().await?;
            let answer = answer
                .ok_or_else(|| CliError::Other("the service ended the stream of writes".into()))?;
            if answer.sequence != first + position as u64 {
                return Err(CliError::Other(
                    "the service acknowledged another batch than was sent".into(),
                ));
            }
            if answer.error.is_some() {
                refused[position] = true;
                refused_from = refused_from.or(Some(position));
            } else if refused_from.is_none() {
                *imported += batch.len() as u64;
            }
        }
        let Some(from) = refused_from else {
            return Ok(Vec::new());
        };
        let mut bad = Vec::new();
        for (batch, refused) in batches.iter().zip(refused).skip(from) {
            if !refused {
                self.write_now(batch.iter().map(|row| row.update.clone()).collect())
                    .await?;
                *imported += batch.len() as u64;
                continue;
            }
            for row in batch {
                match self.write_now(vec![row.update.clone()]).await {
                    Ok(()) => *imported += 1,
                    Err(CliError::Refused(status)) if is_about_the_row(status.code()) => {
                        bad.push(BadRow {
                            line: row.line,
                            reason: CliError::Refused(status).to_string(),
                            last: false,
                        });
                        if stop {
                            return Ok(bad);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(bad)
    }

    async fn write_now(&self, updates: Vec<UserUpdate>) -> Result<(), CliError> {
        let request = WriteRequest {
            population: self.client.population.clone(),
            updates,
        };
        self.client.ingest().write(request).await?;
        Ok(())
    }
}

/// Whether an error blames what was written, not the state of the service.
fn is_about_the_row(code: tonic::Code) -> bool {
    matches!(
        code,
        tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition | tonic::Code::OutOfRange
    )
}
