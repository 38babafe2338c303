//! The engine: the order of things. A command goes into the log, is synced, is applied, and only
//! then acknowledged; a start reads the newest snapshot and then the log after it.
//!
//! Invariants: what was acknowledged is in every later answer, of this process and the next; the
//! state in memory is always that of a prefix of the log. [`Engine`] is a cheap handle; the threads
//! behind it end with [`Engine::shutdown`], or when the last handle is dropped. Channels of tokio
//! stop in this file: below it are plain functions on named threads.

mod backlog;
mod backup;
mod checkpoint;
mod commit;
mod keeper;
mod line;
mod pool;
pub mod record;
mod record_event;
mod record_segment;
mod recover;
mod registry;
mod repair;
mod room;
mod state;
mod statistics;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod verify;
mod watch;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch as latest;
use tokio::sync::{mpsc, oneshot};

pub use backup::{Backup, BackupError, BackupFile, copy, publish};
pub use checkpoint::{SnapshotError, SnapshotInfo};
pub use commit::{CommitError, Committed};
pub use line::{Crowded, Turn};
pub use pool::{PoolError, QueryFailed};
pub use recover::{OpenError, SnapshotFault};
pub use repair::{Loss, Repair, RepairError, RepairStep, plan_repair, repair};
pub use state::State;
pub use statistics::{Memory, PopulationStatistics, SnapshotStatistics, Statistics};
pub use verify::{Started, Verification, verify};
pub use watch::{Cursor, Mark, Next, Part, ResyncCause, WatchedChange, Watcher};

use crate::clock::Clock;
use crate::model::{
    Command, LimitExceeded, PopulationName, Revision, SegmentName, Span, StoreLimits, Timestamp,
};
use crate::population::Population;
use crate::storage::{DataFolder, Disk, DiskError, LogOptions, RealDisk, StorageError};
use checkpoint::{Checkpointer, Request, Schedule};
use commit::{Committer, Counters, Job, Task, Waiting, is_erasure};
use keeper::Keeper;
use line::Line;
use pool::QueryPool;
use registry::Registry;
use statistics::Meters;
use watch::{Received, Watches};

/// How much may wait in the queue of the commit thread: all commands that have room, and what else it
/// is asked, so that who has room never waits for the queue.
const QUEUE: usize = room::COMMANDS + 64;

/// How the engine is run.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The data folder. It is created if it does not exist.
    pub data: PathBuf,
    /// The limits by which writes are judged from now on.
    pub limits: StoreLimits,
    /// How many threads run queries; as many as there are processors if 0.
    pub query_threads: usize,
    /// A snapshot is written so long after the one before, if anything was written since.
    pub snapshot_interval: Option<Duration>,
    /// A snapshot is written after so many bytes of log.
    pub snapshot_log_bytes: u64,
    /// How large the files of the log are made in advance, in bytes.
    pub log_file_bytes: u64,
}

impl EngineOptions {
    /// The defaults for a data folder: a snapshot each hour or 256 MiB of log.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            limits: StoreLimits::default(),
            query_threads: 0,
            snapshot_interval: Some(Duration::from_hours(1)),
            snapshot_log_bytes: 256 << 20,
            log_file_bytes: LogOptions::default().file_bytes,
        }
    }
}

/// A cheap handle on a store that is open.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

struct Shared {
    registry: Arc<Registry>,
    commits: mpsc::Sender<Task>,
    checkpoints: SyncSender<Request>,
    announcer: Arc<Announcer>,
    counters: Arc<Counters>,
    pool: QueryPool,
    line: Arc<Line>,
    clock: Arc<dyn Clock>,
    received: Arc<Received>,
    watches: Arc<Watches>,
    store_id: u64,
    snapshot_interval: Option<Span>,
    memory: statistics::Measured,
    threads: Mutex<Option<Threads>>,
    stopped: latest::Sender<bool>,
}

struct Threads {
    commit: JoinHandle<()>,
    checkpoint: JoinHandle<()>,
    keeper: JoinHandle<()>,
    clock: JoinHandle<()>,
    commits: mpsc::Sender<Task>,
    checkpoints: SyncSender<Request>,
    stop_keeper: SyncSender<()>,
    stop_clock: SyncSender<()>,
}

/// Tells everyone who watches how far the store is and what it can do.
#[derive(Debug)]
struct Announcer {
    applied: latest::Sender<Revision>,
    state: latest::Sender<State>,
}

impl Announcer {
    /// Everything up to here is in every later answer.
    fn applied(&self, revision: Revision) {
        self.applied.send_replace(revision);
    }

    fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// What could not be done, if the disk is full.
    fn full(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Full { cause } => Some(cause.clone()),
            State::Serving | State::ReadOnly { .. } | State::Stopping => None,
        }
    }

    fn become_(&self, next: State) {
        self.state.send_if_modified(|state| {
            let becomes = state.may_become(&next);
            if becomes {
                match &next {
                    State::ReadOnly { cause } => {
                        tracing::error!(
                            cause,
                            "the disk failed: writes are refused until a restart"
                        );
                    }
                    State::Full { cause } => {
                        tracing::error!(
                            cause,
                            "the disk is full: writes are refused until there is space"
                        );
                    }
                    State::Serving => tracing::info!("there is space again: writes are served"),
                    State::Stopping => {}
                }
                *state = next;
            }
            becomes
        });
    }
}

/// A command in the queue. It is carried out whether or not anybody waits for the outcome, which
/// says what became of it once it is durable and applied.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Result<Committed, CommitError>>);

impl Future for Submitted {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.unwrap_or(Err(CommitError::Stopping)))
    }
}

/// Takes the answer to one request for a snapshot.
#[derive(Debug)]
struct Answer<T>(oneshot::Sender<Result<T, SnapshotError>>);

impl<T> Answer<T> {
    fn send(self, outcome: Result<T, SnapshotError>) {
        // Whoever asked may have gone.
        let _ = self.0.send(outcome);
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("store_id", &self.0.store_id)
            .field("state", &self.state())
            .field("applied", &self.applied())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens a data folder, creating it if there is none: takes the lock, reads the newest snapshot
    /// and the log after it. Blocks until the store can serve.
    ///
    /// # Errors
    /// [`OpenError`] if the folder is in use, is not a data folder, is damaged, or the disk fails.
    pub fn open(options: &EngineOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        Self::open_on(&disk, options, clock)
    }

    /// Opens a data folder on a disk of the caller's choice. See [`Engine::open`].
    ///
    /// # Errors
    /// See [`Engine::open`].
    pub fn open_on(
        disk: &Arc<dyn Disk>,
        options: &EngineOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let data = DataFolder::open(disk, &options.data, new_store_id)?;
        let log_options = LogOptions {
            file_bytes: options.log_file_bytes,
        };
        let mut recovered = recover::recover(disk, &data, log_options)?;
        record_limits(&mut recovered, options.limits)?;
        let newest = recovered.newest.as_ref().map(|(_, info)| *info);
        let counters = Arc::new(Counters {
            meters: Meters::new(newest),
            log_bytes: AtomicU64::new(recovered.replayed.log_bytes),
            last_erasure: AtomicU64::new(recovered.replayed.last_erasure),
            ..Counters::default()
        });
        let registry = Arc::new(recovered.registry);
        let applied = Revision::new(recovered.log.next_revision().number() - 1);
        let announcer = Arc::new(Announcer {
            applied: latest::Sender::new(applied),
            state: latest::Sender::new(State::Serving),
        });
        let received = Arc::new(Received::new());
        let watches = Arc::new(Watches::new(
            Arc::clone(&clock),
            Arc::clone(&received),
            applied,
            new_store_id(),
        ));
        let pool = QueryPool::start(options.query_threads)?;
        let line = Arc::new(Line::new(pool.threads()));
        let store_id = data.store_id();
        let (commits, commit_queue) = mpsc::channel(QUEUE);
        let (checkpoints, requests) = sync_channel(16);
        let snapshot_interval = options.snapshot_interval.and_then(span_of);
        let checkpointer = Checkpointer {
            requests,
            commits: commits.clone(),
            snapshots: recovered.snapshots,
            newest: recovered.newest,
            pinned: Vec::new(),
            trimmer: recovered.log.trimmer(),
            lacks_spare: false,
            clock: Arc::clone(&clock),
            schedule: Schedule {
                interval: snapshot_interval,
                log_bytes: options.snapshot_log_bytes,
            },
            announcer: Arc::clone(&announcer),
            counters: Arc::clone(&counters),
        };
        let committer = Committer {
            queue: commit_queue,
            log: recovered.log,
            registry: Arc::clone(&registry),
            watches: Arc::clone(&watches),
            announcer: Arc::clone(&announcer),
            counters: Arc::clone(&counters),
            data,
        };
        let commit = spawn("commit", move || committer.run())?;
        let checkpoint = spawn("checkpoint", move || checkpointer.run())?;
        let (stop_keeper, stop) = sync_channel(1);
        let windows = Keeper {
            registry: Arc::clone(&registry),
            clock: Arc::clone(&clock),
            stop,
        };
        let keeper = spawn("windows", move || windows.run())?;
        let (stop_clock, stop) = sync_channel(1);
        let followed = Arc::clone(&watches);
        let follow = spawn("clock", move || followed.follow_clock(&stop))?;
        Ok(Self(Arc::new(Shared {
            registry,
            announcer,
            counters,
            pool,
            line,
            clock,
            received,
            watches,
            store_id,
            snapshot_interval,
            memory: statistics::Measured::default(),
            threads: Mutex::new(Some(Threads {
                commit,
                checkpoint,
                keeper,
                clock: follow,
                commits: commits.clone(),
                checkpoints: checkpoints.clone(),
                stop_keeper,
                stop_clock,
            })),
            commits,
            checkpoints,
            stopped: latest::Sender::new(false),
        })))
    }

    /// Carries a command out. Returns once it is durable and applied; or at once, if too much waits.
    ///
    /// A caller that stops waiting does not take the command back.
    ///
    /// # Errors
    /// [`CommitError`] says why it was not.
    pub async fn commit(&self, command: Command) -> Result<Committed, CommitError> {
        self.takes(&command)?;
        let payload = record::encode(&command);
        let waiting = Waiting::begin_alone(&self.0.counters, payload.len());
        let waiting = waiting.map_err(CommitError::Overloaded)?;
        let (job, outcome) = job(payload, command, waiting);
        let sent = self.0.commits.try_send(Task::Commit(job));
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => self.overloaded(),
            mpsc::error::TrySendError::Closed(_) => CommitError::Stopping,
        })?;
        outcome.await
    }

    /// Puts a command of a stream into the queue and returns before it is carried out. Commands that
    /// one caller submits one after another are carried out in this order. While too much of streams
    /// waits it waits as well, so that who sends a stream is slowed down.
    ///
    /// # Errors
    /// [`CommitError`] if the queue does not take it.
    pub async fn submit(&self, command: Command) -> Result<Submitted, CommitError> {
        let counters = &self.0.counters;
        self.takes(&command)?;
        let payload = record::encode(&command);
        let taken = counters.rooms.batch(payload.len()).await;
        let taken = taken.ok_or(CommitError::Stopping)?;
        // It may have waited.
        self.takes(&command)?;
        let waiting = Waiting::begin(counters, payload.len(), taken);
        let (job, outcome) = job(payload, command, waiting);
        let sent = self.0.commits.send(Task::Commit(job)).await;
        sent.map_err(|_| CommitError::Stopping)?;
        Ok(outcome)
    }

    /// Whether the store takes a command at the moment.
    fn takes(&self, command: &Command) -> Result<(), CommitError> {
        match self.state() {
            State::Serving => Ok(()),
            State::Full { .. } if is_erasure(command) => Ok(()),
            State::Full { cause } => Err(CommitError::Full { cause }),
            State::ReadOnly { cause } => Err(CommitError::ReadOnly { cause }),
            State::Stopping => Err(CommitError::Stopping),
        }
    }

    fn overloaded(&self) -> CommitError {
        CommitError::Overloaded(self.0.counters.backlog.crowded())
    }

    /// Waits until the thread that carries commands out has done what waits now; returns whether it
    /// has, or has ended. It may take as long as the disk takes to sync.
    pub async fn is_alive(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.commits.send(Task::Answer(answer)).await;
        asked.is_ok() && answered.await.is_ok()
    }

    /// Whether the thread that carries commands out waits for the disk at the moment.
    #[must_use]
    pub fn waits_for_disk(&self) -> bool {
        self.0.counters.at_disk.load(Ordering::Relaxed)
    }

    /// The population of a name. `default` always exists.
    #[must_use]
    pub fn population(&self, name: &PopulationName) -> Option<Arc<Population>> {
        self.0.registry.get(name)
    }

    /// All populations, sorted by name.
    #[must_use]
    pub fn populations(&self) -> Vec<(PopulationName, Arc<Population>)> {
        self.0.registry.all()
    }

    /// The revision up to which everything is in every later answer.
    #[must_use]
    pub fn applied(&self) -> Revision {
        *self.0.announcer.applied.borrow()
    }

    /// Waits until everything up to a revision is in every later answer.
    ///
    /// # Errors
    /// [`CommitError::Stopping`] if the store shuts down before.
    pub async fn applied_at_least(&self, revision: Revision) -> Result<(), CommitError> {
        let mut applied = self.0.announcer.applied.subscribe();
        let mut state = self.watch_state();
        tokio::select! {
            biased;
            reached = applied.wait_for(|applied| *applied >= revision) => {
                reached.map(|_| ()).map_err(|_| CommitError::Stopping)
            }
            _ = state.wait_for(|state| *state == State::Stopping) => Err(CommitError::Stopping),
        }
    }

    /// Runs some work, which may take its time, on the query threads; what it splits by rayon
    /// stays on them. Work whose caller has gone before its turn is not done.
    ///
    /// # Errors
    /// [`QueryFailed`] if the work panicked.
    pub async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryFailed> {
        self.0.pool.run(work).await
    }

    /// How many threads run queries.
    #[must_use]
    pub fn query_threads(&self) -> usize {
        self.0.pool.threads()
    }

    /// How many queries wait for a thread or run on one.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.0.line.present()
    }

    /// Takes the place of a query among those that wait for a thread. To be held until it was run.
    ///
    /// # Errors
    /// [`Crowded`] if it would have to wait for too long.
    pub fn enter_query(&self) -> Result<Turn, Crowded> {
        self.0.line.enter()
    }

    /// Takes such a place for a step of work that was let in before, and is not refused.
    #[must_use]
    pub fn join_queries(&self) -> Turn {
        self.0.line.join()
    }

    /// Writes a snapshot while serving. Resolves when it is durable. If nothing was written since the
    /// newest one, that is the answer; and if anything was erased before it, all that is older is
    /// removed. So two snapshots in a row remove what was erased from disk.
    ///
    /// # Errors
    /// [`SnapshotError`] says why there is none.
    pub async fn snapshot(&self) -> Result<SnapshotInfo, SnapshotError> {
        let (answer, outcome) = oneshot::channel();
        self.ask(Request::Snapshot(Answer(answer))).await?;
        outcome.await.unwrap_or(Err(SnapshotError::Stopping))
    }

    /// Writes a snapshot while serving, unless the newest one holds everything, and keeps it for as
    /// long as the backup exists.
    ///
    /// # Errors
    /// [`SnapshotError`] says why there is none.
    pub async fn backup(&self) -> Result<Backup, SnapshotError> {
        let (answer, outcome) = oneshot::channel();
        self.ask(Request::Backup(Answer(answer))).await?;
        outcome.await.unwrap_or(Err(SnapshotError::Stopping))
    }

    async fn ask(&self, mut request: Request) -> Result<(), SnapshotError> {
        loop {
            match self.0.checkpoints.try_send(request) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(SnapshotError::Stopping),
                // A snapshot takes a while, and few ask for one.
                Err(TrySendError::Full(back)) => request = back,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// When what was erased just now will be gone from disk at the latest, if snapshots can be
    /// written; `None` if they are not written by themselves. See [`Engine::snapshot`].
    #[must_use]
    pub fn erased_by(&self) -> Option<Timestamp> {
        let interval = self.0.snapshot_interval?;
        let twice = interval.micros().saturating_mul(2);
        Some(self.now().saturating_add(Span::from_micros(twice).ok()?))
    }

    /// What the store can do at the moment.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.announcer.state()
    }

    /// Tells when [`Engine::state`] changes.
    #[must_use]
    pub fn watch_state(&self) -> latest::Receiver<State> {
        self.0.announcer.state.subscribe()
    }

    /// Which store this is: chosen at random when the data folder was made, and the same for good.
    #[must_use]
    pub fn store_id(&self) -> u64 {
        self.0.store_id
    }

    /// The limits by which writes are judged.
    #[must_use]
    pub fn limits(&self) -> StoreLimits {
        self.0.registry.limits().unwrap_or_default()
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// When what arrives now is received.
    #[must_use]
    pub fn received(&self) -> Timestamp {
        let now = self.now();
        self.0.received.note(now);
        now
    }

    /// The instant that questions are asked as of which name none: the present one, and after
    /// everything that was received since the start, also if the clock was set back since.
    #[must_use]
    pub fn as_of(&self) -> Timestamp {
        self.0.received.after(self.now())
    }

    /// Begins to watch who enters and leaves segments of a population: those of some names, or all
    /// that there are and come. Their members come first if `members`; with a cursor, what happened
    /// since instead.
    ///
    /// # Errors
    /// [`LimitExceeded`] if too many watch already.
    pub fn watch(
        &self,
        (name, population): (&PopulationName, &Arc<Population>),
        names: Option<Vec<SegmentName>>,
        members: bool,
        cursor: Option<Cursor>,
    ) -> Result<Watcher, LimitExceeded> {
        let watches = &self.0.watches;
        watches.watch((name, population), names, members, cursor)
    }

    /// Takes no more commands, gives up a snapshot that is being written, finishes the commands that
    /// wait, closes the log and frees the data folder.
    pub async fn shutdown(&self) {
        self.0.announcer.become_(State::Stopping);
        let mut stopped = self.0.stopped.subscribe();
        if let Some(threads) = self.0.take_threads() {
            let shared = Arc::clone(&self.0);
            // Not on this thread: others are served by it meanwhile.
            let joined = spawn("shutdown", move || {
                threads.stop();
                shared.stopped.send_replace(true);
            });
            if joined.is_err() {
                tracing::error!("can't start a thread to shut down with; the log is whole");
                return;
            }
        }
        // The sender lives as long as this handle.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

impl Shared {
    fn take_threads(&self) -> Option<Threads> {
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.announcer.become_(State::Stopping);
        if let Some(threads) = self.take_threads() {
            // On a thread of its own: this one may not wait for channels if it runs a runtime.
            if let Ok(stopping) = spawn("shutdown", || threads.stop()) {
                let _ = stopping.join();
            }
        }
    }
}

impl Threads {
    /// Stops the checkpoints first, since they need the commit thread.
    fn stop(self) {
        // Errors mean that a thread has ended already.
        let _ = self.stop_keeper.send(());
        let _ = self.keeper.join();
        let _ = self.stop_clock.send(());
        let _ = self.clock.join();
        let _ = self.checkpoints.send(Request::Stop);
        let _ = self.checkpoint.join();
        let _ = self.commits.blocking_send(Task::Stop);
        let _ = self.commit.join();
    }
}

/// What is put into the queue.
fn job(payload: Vec<u8>, command: Command, waiting: Waiting) -> (Job, Submitted) {
    let (answer, outcome) = oneshot::channel();
    let job = Job {
        payload,
        command,
        answer,
        waiting,
    };
    (job, Submitted(outcome))
}

/// Has it in the log by which limits commands are judged from now on, so that a later start judges by
/// those, not by its own.
fn record_limits(recovered: &mut recover::Recovered, limits: StoreLimits) -> Result<(), OpenError> {
    if recovered.registry.limits() == Some(limits) {
        return Ok(());
    }
    let command = Command::SetLimits(limits);
    let appended = recovered.log.append_in_reserve(&[record::encode(&command)]);
    let (revision, _) = appended.map_err(|error| StorageError::from(DiskError::from(error)))?;
    // Limits are never refused.
    let _ = recovered.registry.apply(revision, &command);
    Ok(())
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

/// `None` for what is longer than 10,000 years.
fn span_of(duration: Duration) -> Option<Span> {
    Span::from_micros(i64::try_from(duration.as_micros()).ok()?).ok()
}

/// A number that no other store has, as far as chance goes.
fn new_store_id() -> u64 {
    RandomState::new().hash_one("headcount")
}
