//! The order of things: first the log, then the index, then the answer.
//!
//! Invariants: what is acknowledged is durable and in every later answer; there is one writer;
//! no query runs on the threads that serve requests. Clients see a cheap handle.

mod commit;
mod pool;
pub mod record;
mod registry;
mod state;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use commit::{CommitError, Committed};
pub use pool::{PoolError, QueryFailed};
pub use state::State;

use crate::clock::Clock;
use crate::model::{Command, PopulationName, Revision, StoreLimits, Timestamp};
use crate::population::Population;
use commit::{Log, QUEUE, Task, Writer};
use pool::QueryPool;
use registry::Registry;

/// How long a command may wait to be taken into the queue.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

/// How to open a store.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The data folder; made if it does not exist.
    pub data: PathBuf,
    /// The limits by which commands are judged from now on.
    pub limits: StoreLimits,
    /// Threads for queries; as many as there are processors if 0.
    pub query_threads: usize,
}

impl EngineOptions {
    /// A store in a data folder, with defaults for all else.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            limits: StoreLimits::default(),
            query_threads: 0,
        }
    }
}

/// A store: a cheap handle that all requests share.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    tasks: Mutex<Option<mpsc::Sender<Task>>>,
    populations: Arc<Registry>,
    applied: watch::Receiver<Revision>,
    state: watch::Sender<State>,
    queries: QueryPool,
    clock: Arc<dyn Clock>,
    store_id: u64,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// A command in the queue: resolves to what became of it, once it is durable and applied. It is
/// carried out whether or not anybody waits.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Result<Committed, CommitError>>);

impl Future for Submitted {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = Pin::new(&mut self.0).poll(context);
        outcome.map(|outcome| outcome.unwrap_or(Err(CommitError::Stopping)))
    }
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The query threads can't be started.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The writer can't be started.
    #[error("can't start the writer thread: {0}")]
    Thread(std::io::Error),
}

impl Engine {
    /// Opens a store: takes the data folder for this process and builds the index from what is in
    /// it. Blocks until all of it is there.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the folder and what to do.
    pub fn open(options: &EngineOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let populations = Arc::new(Registry::default());
        let limits = options.limits;
        populations.insert(PopulationName::default(), Arc::new(Population::new(limits)));
        Self::start(
            options,
            clock,
            Box::new(Nowhere),
            populations,
            limits,
            Revision::ZERO,
            0,
        )
    }

    fn start(
        options: &EngineOptions,
        clock: Arc<dyn Clock>,
        log: Box<dyn Log>,
        populations: Arc<Registry>,
        limits: StoreLimits,
        revision: Revision,
        store_id: u64,
    ) -> Result<Self, OpenError> {
        let queries = QueryPool::start(options.query_threads)?;
        let (tasks, receiver) = mpsc::channel(QUEUE);
        let (applied_sender, applied) = watch::channel(revision);
        let (state, _) = watch::channel(State::Serving);
        let writer = Writer {
            log,
            populations: Arc::clone(&populations),
            limits,
            revision,
            applied: applied_sender,
            state: state.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || {
                // The log is whole, and a restart replays it; a half applied command must not be
                // read.
                let run = std::panic::AssertUnwindSafe(|| writer.run(receiver));
                if std::panic::catch_unwind(run).is_err() {
                    tracing::error!("the writer failed unexpectedly; ending the process");
                    std::process::abort();
                }
            })
            .map_err(OpenError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner {
                tasks: Mutex::new(Some(tasks)),
                populations,
                applied,
                state,
                queries,
                clock,
                store_id,
                writer: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Carries a command out. Returns once it is durable and applied.
    ///
    /// # Errors
    /// [`CommitError`] says why it was not.
    pub async fn commit(&self, command: Command) -> Result<Committed, CommitError> {
        self.submit(command).await?.await
    }

    /// Puts a command into the queue and returns before it is carried out. Commands that one
    /// caller submits one after another are carried out in this order.
    ///
    /// # Errors
    /// [`CommitError`] if the queue does not take it.
    pub async fn submit(&self, command: Command) -> Result<Submitted, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Task::Commit { command, reply }).await?;
        Ok(Submitted(answer))
    }

    async fn send(&self, task: Task) -> Result<(), CommitError> {
        let tasks = self
            .inner
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let tasks = tasks.ok_or(CommitError::Stopping)?;
        match tasks.try_send(task) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(CommitError::Stopping),
            Err(mpsc::error::TrySendError::Full(task)) => {
                match tasks.send_timeout(task, QUEUE_WAIT).await {
                    Ok(()) => Ok(()),
                    Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(CommitError::Overloaded),
                    Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(CommitError::Stopping),
                }
            }
        }
    }

    /// The population of a name. `default` always exists.
    #[must_use]
    pub fn population(&self, name: &PopulationName) -> Option<Arc<Population>> {
        self.inner.populations.get(name)
    }

    /// All populations, in the order of their names.
    #[must_use]
    pub fn populations(&self) -> Vec<(PopulationName, Arc<Population>)> {
        self.inner.populations.sorted()
    }

    /// The revision up to which everything is in every answer from now on.
    #[must_use]
    pub fn applied(&self) -> Revision {
        *self.inner.applied.borrow()
    }

    /// Waits until everything up to a revision is in every answer.
    ///
    /// # Errors
    /// [`CommitError::Stopping`] if the store shuts down before.
    pub async fn applied_at_least(&self, revision: Revision) -> Result<(), CommitError> {
        let mut applied = self.inner.applied.clone();
        match applied.wait_for(|applied| *applied >= revision).await {
            Ok(_) => Ok(()),
            Err(_) => Err(CommitError::Stopping),
        }
    }

    /// Runs some work, which may take its time, on the query threads.
    ///
    /// # Errors
    /// [`QueryFailed`] if the work panicked.
    pub async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryFailed> {
        self.inner.queries.run(work).await
    }

    /// What the store does.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.state.borrow().clone()
    }

    /// Tells of changes of what the store does.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.inner.state.subscribe()
    }

    /// The present instant, by the store's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// A number that no other store has, as far as chance allows; for revision tokens.
    #[must_use]
    pub fn store_id(&self) -> u64 {
        self.inner.store_id
    }

    /// Takes no more commands, finishes those taken, and ends the writer.
    pub async fn shutdown(&self) {
        self.inner.state.send_replace(State::Stopping);
        let tasks = self
            .inner
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(tasks);
        let writer = self
            .inner
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // The writer ends by itself once the last command in the queue is answered.
            let (sender, ended) = oneshot::channel();
            let joined = std::thread::Builder::new()
                .name("shutdown".into())
                .spawn(move || {
                    let _ = writer.join();
                    let _ = sender.send(());
                });
            if joined.is_ok() {
                let _ = ended.await;
            }
        }
    }
}

/// A log that keeps nothing.
struct Nowhere;

impl Log for Nowhere {
    fn append(&mut self, _: Revision, _: &[Vec<u8>]) -> Result<(), String> {
        Ok(())
    }
}
