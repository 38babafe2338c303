//! The one thread that writes: takes what waits, appends it to the log, syncs once, applies each
//! command and answers each.
//!
//! Invariants: a command is applied only after it is durable, and answered only after it is
//! applied; what is applied is what the log holds, in its order. A panic here ends the process:
//! the log is whole, and the next start replays it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Announcer;
use super::backlog::Backlog;
use super::line::Crowded;
use super::registry::Registry;
use super::room::{Rooms, Taken};
use super::state::State;
use super::statistics::Meters;
use super::watch::Watches;
use crate::model::{Action, Command, PopulationName, Reason, Revision, StoreLimits};
use crate::population::{Capture, Changes, Judged, Refusal};
use crate::storage::{AppendError, DataFolder, LogWriter};

/// How many commands are made durable by one sync at most.
const BATCH_COMMANDS: usize = 4_096;
/// How many bytes are made durable by one sync, give or take the last command.
const BATCH_BYTES: usize = 4 << 20;

/// A command that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision.
    pub revision: Revision,
    /// What it did.
    pub changes: Changes,
    /// Whether it was sent before, so that this is what became of the first one.
    pub replayed: bool,
}

impl Committed {
    fn of(judged: Judged) -> Result<Self, CommitError> {
        match (judged.outcome, judged.replayed) {
            (Ok(changes), replayed) => Ok(Self {
                revision: judged.revision,
                changes,
                replayed,
            }),
            (Err(refusal), false) => Err(CommitError::Refused(refusal)),
            (Err(refusal), true) => Err(CommitError::RefusedBefore(refusal)),
        }
    }
}

/// Why a command was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// It can't be carried out. Nothing was changed.
    #[error(transparent)]
    Refused(Refusal),
    /// It was sent before, and was refused then.
    #[error(transparent)]
    RefusedBefore(Refusal),
    /// The disk failed. Whether the command was kept is known after a restart only.
    #[error(
        "the store is read-only since the disk failed ({cause}); restart the service once the disk is sound"
    )]
    ReadOnly {
        /// What failed.
        cause: String,
    },
    /// The disk is full. Nothing was changed.
    #[error(
        "the disk is full ({cause}): writes are refused until there is space; reads and erasures go on"
    )]
    Full {
        /// What could not be done.
        cause: String,
    },
    /// The store is being shut down.
    #[error("the store is stopping; try again after a moment")]
    Stopping,
    /// Too many commands wait already. Nothing was changed.
    #[error("too many writes wait already; try again after a moment")]
    Overloaded(Crowded),
}

impl CommitError {
    /// The stable cause.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Refused(refusal) | Self::RefusedBefore(refusal) => refusal.reason(),
            Self::ReadOnly { .. } => Reason::StorageReadOnly,
            Self::Full { .. } => Reason::StorageFull,
            Self::Stopping => Reason::NotServing,
            Self::Overloaded(_) => Reason::Overloaded,
        }
    }
}

/// A command that waits.
#[derive(Debug)]
pub(super) struct Job {
    /// The command as bytes, encoded by whoever asked, so that it costs this thread nothing.
    pub(super) payload: Vec<u8>,
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<Committed, CommitError>>,
    pub(super) waiting: Waiting,
}

impl AsRef<[u8]> for Job {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

/// Counts the bytes of a command among those that wait, for as long as it exists.
#[derive(Debug)]
pub(super) struct Waiting {
    counters: Arc<Counters>,
    bytes: usize,
    /// Whether it came by itself, and not on a stream.
    alone: bool,
    _taken: Taken,
}

impl Waiting {
    /// Counts the bytes of a batch of a stream that has room.
    pub(super) fn begin(counters: &Arc<Counters>, bytes: usize, taken: Taken) -> Self {
        counters.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self {
            counters: Arc::clone(counters),
            bytes,
            alone: false,
            _taken: taken,
        }
    }

    /// The same for a command that did not come on a stream, which is refused where there is no
    /// room, and where it would wait for too long.
    pub(super) fn begin_alone(counters: &Arc<Counters>, bytes: usize) -> Result<Self, Crowded> {
        let taken = counters.rooms.single(bytes);
        let taken = taken.ok_or_else(|| counters.backlog.crowded())?;
        let mut waiting = Self::begin(counters, bytes, taken);
        counters.backlog.enter(bytes)?;
        waiting.alone = true;
        Ok(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.counters
            .waiting_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
        if self.alone {
            self.counters.backlog.leave(self.bytes);
        }
    }
}

/// What the thread can be asked.
#[derive(Debug)]
pub(super) enum Task {
    Commit(Job),
    /// Begin to capture everything as it is between two commands.
    Capture(SyncSender<Captured>),
    /// Answer, once all that was asked before is done.
    Answer(oneshot::Sender<()>),
    Stop,
}

/// Everything as it was at one revision, not encoded yet.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) revision: Revision,
    /// Bytes of the log up to there that the newest snapshot does not hold.
    pub(super) log_bytes: u64,
    pub(super) limits: Option<StoreLimits>,
    pub(super) populations: Vec<(PopulationName, Capture)>,
}

/// What is counted while the engine runs.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Bytes of the commands that wait.
    pub(super) waiting_bytes: AtomicUsize,
    pub(super) backlog: Backlog,
    pub(super) rooms: Rooms,
    /// Bytes of the log that the newest snapshot does not hold.
    pub(super) log_bytes: AtomicU64,
    /// Whether the thread that writes waits for the disk.
    pub(super) at_disk: AtomicBool,
    /// The revision of the last erasure of a user, 0 if none is in the log.
    pub(super) last_erasure: AtomicU64,
    /// What is counted for those who look after the service.
    pub(super) meters: Meters,
}

/// The state of the commit thread.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) queue: tokio::sync::mpsc::Receiver<Task>,
    pub(super) log: LogWriter,
    pub(super) registry: Arc<Registry>,
    pub(super) watches: Arc<Watches>,
    pub(super) announcer: Arc<Announcer>,
    pub(super) counters: Arc<Counters>,
    /// Keeps other processes away for as long as this thread runs.
    pub(super) data: DataFolder,
}

/// Ends the process if the thread that holds it panics.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                "the commit thread panicked: the process ends, and the next start replays the log"
            );
            std::process::abort();
        }
    }
}

/// Whether a command erases a user, which must be possible on a full disk.
pub(super) fn is_erasure(command: &Command) -> bool {
    matches!(
        command,
        Command::Population {
            action: Action::Erase(_),
            ..
        }
    )
}

fn full(cause: String) -> CommitError {
    CommitError::Full { cause }
}

/// Takes some commands out of a batch and answers them with an error.
fn refuse(batch: &mut Vec<Job>, is_refused: impl Fn(&Job) -> bool, error: &CommitError) {
    for job in batch.extract_if(.., |job| is_refused(job)) {
        // Whoever asked may have gone.
        let _ = job.answer.send(Err(error.clone()));
    }
}

impl Committer {
    /// Serves until it is told to stop, or nobody is left to ask.
    pub(super) fn run(mut self) {
        let _guard = AbortOnPanic;
        let mut batch = Vec::new();
        while let Some(mut task) = self.queue.blocking_recv() {
            let mut bytes = 0;
            let other = loop {
                match task {
                    Task::Commit(job) => {
                        bytes += job.payload.len();
                        batch.push(job);
                    }
                    other @ (Task::Capture(_) | Task::Answer(_) | Task::Stop) => break Some(other),
                }
                if batch.len() >= BATCH_COMMANDS || bytes >= BATCH_BYTES {
                    break None;
                }
                match self.queue.try_recv() {
                    Ok(next) => task = next,
                    Err(_) => break None,
                }
            };
            let (writes, began) = (batch.len(), Instant::now());
            self.commit(&mut batch);
            if writes > 0 {
                self.counters.backlog.learn(writes, bytes, began.elapsed());
            }
            match other {
                None | Some(Task::Commit(_)) => {}
                Some(Task::Capture(reply)) => self.capture(&reply),
                Some(Task::Answer(answer)) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(());
                }
                Some(Task::Stop) => break,
            }
        }
        // Those who came too late learn it by their answer being dropped.
        drop(self.queue);
        if let Err(error) = self.log.close() {
            tracing::error!(%error, "the log could not be closed; all acknowledged writes are in it");
        }
        drop(self.data);
    }

    fn commit(&mut self, batch: &mut Vec<Job>) {
        let Some((first, bytes)) = self.at_disk(|this| this.append(batch)) else {
            return;
        };
        let before = self.counters.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        let meters = &self.counters.meters;
        meters.logged(batch.len(), bytes, self.log.synced_in());
        if before == 0 {
            meters.unsaved_from_now();
        }
        let mut revision = first;
        let mut last = first;
        let mut outcomes = Vec::with_capacity(batch.len());
        for job in batch.drain(..) {
            let judged = self
                .watches
                .carry_out(&self.registry, revision, &job.command);
            if is_erasure(&job.command) {
                let number = revision.number();
                self.counters.last_erasure.store(number, Ordering::Release);
            }
            meters.judged(&judged);
            outcomes.push((job.answer, Committed::of(judged)));
            drop(job.waiting);
            last = revision;
            revision = revision.next();
        }
        // First the revision, then the answers: who got an answer sees it in the next one.
        self.announcer.applied(last);
        self.watches.applied(last);
        for (answer, outcome) in outcomes {
            let _ = answer.send(outcome);
        }
    }

    /// Does what waits for the disk, and lets it be seen meanwhile.
    fn at_disk<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.counters.at_disk.store(true, Ordering::Relaxed);
        let done = work(self);
        self.counters.at_disk.store(false, Ordering::Relaxed);
        done
    }

    /// Makes a batch durable, less what there is no space for; `None` if nothing of it is.
    fn append(&mut self, batch: &mut Vec<Job>) -> Option<(Revision, u64)> {
        if batch.is_empty() {
            return None;
        }
        // The checkpoint thread tries whether there is space again; here only the reserve is left.
        let mut appended = if let Some(cause) = self.announcer.full() {
            refuse(batch, |job| !is_erasure(&job.command), &full(cause));
            self.log.append_in_reserve(batch)
        } else {
            self.log.append(batch)
        };
        if let Err(AppendError::Full(error)) = &appended {
            let cause = error.to_string();
            self.announcer.become_(State::Full {
                cause: cause.clone(),
            });
            refuse(batch, |job| !is_erasure(&job.command), &full(cause));
            appended = self.log.append_in_reserve(batch);
        }
        match appended {
            Ok(_) if batch.is_empty() => None,
            Ok(appended) => Some(appended),
            Err(AppendError::Full(error)) => {
                refuse(batch, |_| true, &full(error.to_string()));
                None
            }
            Err(AppendError::Failed(error)) => {
                let cause = error.to_string();
                self.announcer.become_(State::ReadOnly {
                    cause: cause.clone(),
                });
                refuse(batch, |_| true, &CommitError::ReadOnly { cause });
                None
            }
        }
    }

    fn capture(&mut self, reply: &SyncSender<Captured>) {
        // So that what the snapshot holds can be trimmed from the log as a whole, which what was
        // erased depends on. Where there is no space for it, the next snapshot does it.
        if let Err(AppendError::Failed(error)) = self.at_disk(|this| this.log.rotate()) {
            self.announcer.become_(State::ReadOnly {
                cause: error.to_string(),
            });
        }
        let last = self.log.next_revision().number() - 1;
        let populations = self.registry.all().into_iter();
        // Whoever asked may have gone; then nothing is captured.
        let _ = reply.send(Captured {
            revision: Revision::new(last),
            log_bytes: self.counters.log_bytes.load(Ordering::Relaxed),
            limits: self.registry.limits(),
            populations: populations
                .map(|(name, population)| (name, population.begin_capture()))
                .collect(),
        });
    }
}
