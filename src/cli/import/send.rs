//! Batches to the service, many in flight on one stream.
//!
//! Invariants: updates take effect in the order of the file, also where a batch is refused: then
//! it and all that went out behind it are written again one after another, the refused ones in
//! halves until only the bad rows are left. Writing again is harmless, since an import only sets
//! and unsets values. Where an import is to stop at the first bad row nothing goes out behind a
//! batch that is not acknowledged yet, so that nothing behind that row takes effect.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::rows::BadRow;
use super::updates::LineUpdate;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::proto::{UserUpdate, WriteRequest, WriteStreamRequest, WriteStreamResponse};

/// Batches that wait for their acknowledgement together where bad rows are left out.
const WINDOW: usize = 32;

/// How many batches may wait for their acknowledgement together.
pub(super) fn window(stop: bool) -> usize {
    if stop { 1 } else { WINDOW }
}

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
                ..WriteStreamRequest::default()
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
            let answer = answer.ok_or_else(|| CliError::Broken {
                cause: "it ended the stream of writes".into(),
            })?;
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
            self.write_in_halves(batch, stop, imported, &mut bad)
                .await?;
            if stop && !bad.is_empty() {
                break;
            }
        }
        Ok(bad)
    }

    /// Writes the good rows of a refused batch, in their order, and finds the bad ones.
    async fn write_in_halves(
        &self,
        batch: &[LineUpdate],
        stop: bool,
        imported: &mut u64,
        bad: &mut Vec<BadRow>,
    ) -> Result<(), CliError> {
        // What is to be written, the first part last. A batch that was refused need not be
        // written as a whole again.
        let mut parts = Vec::new();
        push_halves(&mut parts, batch);
        while let Some(part) = parts.pop() {
            let updates = part.iter().map(|row| row.update.clone()).collect();
            match (self.write_now(updates).await, part) {
                (Ok(()), _) => *imported += part.len() as u64,
                (Err(error), [row]) if error.blames_what_was_written() => {
                    bad.push(BadRow {
                        line: row.line,
                        reason: error.to_string(),
                        last: false,
                    });
                    if stop {
                        return Ok(());
                    }
                }
                (Err(error), _) if error.blames_what_was_written() => {
                    push_halves(&mut parts, part);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(())
    }

    async fn write_now(&self, updates: Vec<UserUpdate>) -> Result<(), CliError> {
        let request = WriteRequest {
            population: self.client.population.clone(),
            updates,
            ..WriteRequest::default()
        };
        self.client.ingest().write(request).await?;
        Ok(())
    }
}

/// Adds the two halves of some rows, the first to be taken first; a single row as it is.
fn push_halves<'a>(parts: &mut Vec<&'a [LineUpdate]>, rows: &'a [LineUpdate]) {
    let (first, second) = rows.split_at(rows.len() / 2);
    parts.extend([second, first].into_iter().filter(|part| !part.is_empty()));
}
