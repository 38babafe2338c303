//! The one writer: takes what waits, appends, syncs, applies, answers.
//!
//! Invariant: a command is applied only after the log has it for good, in the order of the log,
//! and nobody is told of a command before both. Once the log has failed, nothing is appended any
//! more.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::record;
use super::registry::Registry;
use super::state::State;
use crate::model::{Command, PopulationName, Reason, Revision, StoreLimits, limit};
use crate::population::{Changes, Population, Refusal};

/// Commands that wait for the writer at most; more wait with their senders.
pub(super) const QUEUE: usize = 4_096;
/// Bytes that are made durable by one sync at most, give or take a command.
const BATCH_BYTES: usize = 8 << 20;

/// A command is on disk and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the log.
    pub revision: Revision,
    /// What it did.
    pub changes: Changes,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It can't be; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk failed. The command may be carried out at the next start.
    #[error("writes are refused until a restart, since the disk failed: {cause}")]
    ReadOnly {
        /// What failed, with the file.
        cause: String,
    },
    /// The store is shutting down.
    #[error("the service is shutting down")]
    Stopping,
    /// Too many commands wait already.
    #[error("too many writes wait already; try again later")]
    Overloaded,
}

impl CommitError {
    /// The stable cause.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::ReadOnly { .. } => Reason::StorageReadOnly,
            Self::Stopping => Reason::NotServing,
            Self::Overloaded => Reason::Overloaded,
        }
    }
}

/// Where records become durable.
pub(super) trait Log: Send {
    /// Appends records with the revisions from `first` on and makes them durable, or says what
    /// failed; then it is not called again.
    fn append(&mut self, first: Revision, records: &[Vec<u8>]) -> Result<(), String>;
}

/// Something for the writer to do.
pub(super) enum Task {
    Commit {
        command: Command,
        reply: oneshot::Sender<Result<Committed, CommitError>>,
    },
    #[expect(dead_code, reason = "for captures, once there are snapshots")]
    /// Something to be done between two commands, when all up to the revision are applied.
    Between(Box<dyn FnOnce(Revision) + Send>),
}

/// What the writer works on.
pub(super) struct Writer {
    pub(super) log: Box<dyn Log>,
    pub(super) populations: Arc<Registry>,
    pub(super) limits: StoreLimits,
    pub(super) revision: Revision,
    pub(super) applied: watch::Sender<Revision>,
    pub(super) state: watch::Sender<State>,
}

type Waiting = (Command, oneshot::Sender<Result<Committed, CommitError>>);

impl Writer {
    /// Works until all senders are gone.
    pub(super) fn run(mut self, mut tasks: mpsc::Receiver<Task>) {
        while let Some(first) = tasks.blocking_recv() {
            let mut batch: Vec<Waiting> = Vec::new();
            let mut records = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            let mut between = None;
            while let Some(task) = next.take() {
                match task {
                    Task::Commit { command, reply } => {
                        let record = record::encode(&command);
                        bytes += record.len();
                        records.push(record);
                        batch.push((command, reply));
                    }
                    Task::Between(work) => {
                        between = Some(work);
                        break;
                    }
                }
                if bytes < BATCH_BYTES && records.len() < QUEUE {
                    next = tasks.try_recv().ok();
                }
            }
            self.commit(batch, &records);
            if let Some(work) = between {
                work(self.revision);
            }
        }
    }

    fn commit(&mut self, batch: Vec<Waiting>, records: &[Vec<u8>]) {
        if batch.is_empty() {
            return;
        }
        let failed = match &*self.state.borrow() {
            State::ReadOnly { cause } => Some(cause.clone()),
            State::Serving | State::Stopping => None,
        };
        let failed = failed.or_else(|| {
            let cause = self.log.append(self.revision.next(), records).err()?;
            tracing::error!(cause, "the log failed: writes are refused until a restart");
            self.state.send_replace(State::ReadOnly {
                cause: cause.clone(),
            });
            Some(cause)
        });
        if let Some(cause) = failed {
            for (_, reply) in batch {
                // Who gave up waiting need not be told.
                let _ = reply.send(Err(CommitError::ReadOnly {
                    cause: cause.clone(),
                }));
            }
            return;
        }
        let mut replies = Vec::with_capacity(batch.len());
        for (command, reply) in batch {
            self.revision = self.revision.next();
            let outcome = self.apply(&command);
            let outcome = outcome
                .map_err(CommitError::Refused)
                .map(|changes| Committed {
                    revision: self.revision,
                    changes,
                });
            replies.push((reply, outcome));
        }
        // First the revision, so that whoever was answered can read what was written.
        self.applied.send_replace(self.revision);
        for (reply, outcome) in replies {
            let _ = reply.send(outcome);
        }
    }

    fn apply(&mut self, command: &Command) -> Result<Changes, Refusal> {
        apply(&self.populations, &mut self.limits, self.revision, command)
    }
}

/// Applies a command to the populations: new ones from the queue and old ones from the log alike.
pub(super) fn apply(
    populations: &Registry,
    limits: &mut StoreLimits,
    revision: Revision,
    command: &Command,
) -> Result<Changes, Refusal> {
    match command {
        Command::SetLimits(new) => {
            *limits = *new;
            for (_, population) in populations.sorted() {
                population.set_limits(*new);
            }
            Ok(Changes::default())
        }
        Command::Population { name, action } => {
            if let Some(population) = populations.get(name) {
                return population.apply(revision, action);
            }
            let population = new_population(populations, *limits, name)?;
            let changes = population.apply(revision, action)?;
            // An erasure of nobody does not make a population.
            if population.user_count() > 0 || !population.catalog().is_empty() {
                populations.insert(name.clone(), Arc::new(population));
            }
            Ok(changes)
        }
    }
}

fn new_population(
    populations: &Registry,
    limits: StoreLimits,
    name: &PopulationName,
) -> Result<Population, Refusal> {
    if *name != PopulationName::default() {
        limit::POPULATIONS
            .check_against(limits.populations, populations.len() as u64 + 1)
            .map_err(|exceeded| Refusal::TooManyPopulations { exceeded })?;
    }
    Ok(Population::new(limits))
}
