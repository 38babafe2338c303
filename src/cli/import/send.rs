//! Batches to the service, many in flight on one stream.
//!
//! Invariants: updates take effect in the order of the file, also where a batch is refused: then
//! it and all that went out behind it are written again one after another, the refused ones in
//! halves until only the bad rows are left. Writing again is harmless, since an import only sets
//! and unsets values. Of events the order does not matter, so that what was acknowledged is not
//! written again. Where an import is to stop at the first bad row nothing goes out behind a
//! batch that is not acknowledged yet, so that nothing behind that row takes effect.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::rows::BadRow;
use super::updates::LineUpdate;
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::proto::{
    EventRefusal, RefusedEvent, UserUpdate, WriteRequest, WriteStreamRequest, WriteStreamResponse,
};

/// Batches that wait for their acknowledgement together where bad rows are left out.
const WINDOW: usize = 32;

/// How many batches may wait for their acknowledgement together.
pub(super) fn window(stop: bool) -> usize {
    if stop { 1 } else { WINDOW }
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Rows that were acknowledged.
    pub(super) rows: u64,
    /// Events that count.
    pub(super) taken: u64,
    /// Events that the users had already.
    pub(super) duplicates: u64,
    /// Events that are older than they would be kept.
    pub(super) too_old: u64,
    /// Events too far ahead of the clock.
    pub(super) too_far_ahead: u64,
    /// Those that are too old, by name.
    pub(super) old: BTreeMap<String, u64>,
}

impl Written {
    fn add(&mut self, rows: &[LineUpdate], taken: u64, refused: &[RefusedEvent]) {
        self.rows += rows.len() as u64;
        self.taken += taken;
        for event in refused {
            match event.reason() {
                EventRefusal::Duplicate => self.duplicates += 1,
                EventRefusal::TooOld => {
                    self.too_old += 1;
                    if let Some(name) = name_of(rows, event) {
                        *self.old.entry(name).or_default() += 1;
                    }
                }
                EventRefusal::TooFarAhead | EventRefusal::Unspecified => self.too_far_ahead += 1,
            }
        }
    }
}

/// The name of an event that was refused.
fn name_of(rows: &[LineUpdate], event: &RefusedEvent) -> Option<String> {
    let row = rows.get(usize::try_from(event.update_index).ok()?)?;
    let index = usize::try_from(event.event_index).ok()?;
    Some(row.update.events.get(index)?.name.clone())
}

/// Whether it matters in which order rows take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Matters,
    DoesNotMatter,
}

/// A stream of writes.
pub(super) struct Sender {
    client: Client,
    requests: mpsc::Sender<WriteStreamRequest>,
    responses: Streaming<WriteStreamResponse>,
    sequence: u64,
    order: Order,
}

impl Sender {
    pub(super) async fn open(client: &Client, order: Order) -> Result<Self, CliError> {
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
            order,
        })
    }

    /// Writes some batches; adds to `written` the rows that were acknowledged, and returns the
    /// rows that were refused: no more than one if it is to stop there.
    pub(super) async fn write(
        &mut self,
        batches: Vec<Vec<LineUpdate>>,
        stop: bool,
        written: &mut Written,
    ) -> Result<Vec<BadRow>, CliError> {
        let first = self.sequence + 1;
        for batch in &batches {
            self.sequence += 1;
            let request = WriteStreamRequest {
                sequence: self.sequence,
                population: self.client.population.clone(),
                updates: updates(batch),
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
            } else if refused_from.is_none() || self.order == Order::DoesNotMatter {
                written.add(batch, answer.accepted_events, &answer.refused_events);
            }
        }
        let Some(from) = refused_from else {
            return Ok(Vec::new());
        };
        let mut bad = Vec::new();
        for (batch, refused) in batches.iter().zip(refused).skip(from) {
            if !refused {
                if self.order == Order::Matters {
                    self.write_now(batch, written).await?;
                }
                continue;
            }
            self.write_in_halves(batch, stop, written, &mut bad).await?;
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
        written: &mut Written,
        bad: &mut Vec<BadRow>,
    ) -> Result<(), CliError> {
        // What is to be written, the first part last. A batch that was refused need not be
        // written as a whole again.
        let mut parts = Vec::new();
        push_halves(&mut parts, batch);
        while let Some(part) = parts.pop() {
            match (self.write_now(part, written).await, part) {
                (Ok(()), _) => {}
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

    async fn write_now(&self, rows: &[LineUpdate], written: &mut Written) -> Result<(), CliError> {
        let request = WriteRequest {
            population: self.client.population.clone(),
            updates: updates(rows),
            ..WriteRequest::default()
        };
        let answer = self.client.ingest().write(request).await?.into_inner();
        written.add(rows, answer.accepted_events, &answer.refused_events);
        Ok(())
    }
}

fn updates(rows: &[LineUpdate]) -> Vec<UserUpdate> {
    rows.iter().map(|row| row.update.clone()).collect()
}

/// Adds the two halves of some rows, the first to be taken first; a single row as it is.
fn push_halves<'a>(parts: &mut Vec<&'a [LineUpdate]>, rows: &'a [LineUpdate]) {
    let (first, second) = rows.split_at(rows.len() / 2);
    parts.extend([second, first].into_iter().filter(|part| !part.is_empty()));
}
