//! The threads that evaluate queries, so that none is evaluated on a thread that serves requests.
//!
//! Invariants: a panic in a query is that query's error and nobody else's; of a query that nobody waits
//! for any more nothing is kept until a thread is free.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// A query could not be answered: it panicked, which is a fault of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the query failed unexpectedly; this is a fault of the service")]
pub struct QueryFailed;

/// Why the query threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("can't start {threads} query threads: {source}")]
pub struct PoolError {
    threads: usize,
    source: rayon::ThreadPoolBuildError,
}

/// How much less of a processor a query thread gets than one that serves calls, where both want
/// it: about a tenth, as nice values go. A query takes milliseconds and can wait as long; a call
/// that takes microseconds can't.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lets other threads go first.
fn stand_back() {
    // On Linux a thread has a nice value of its own (against POSIX), by its thread id.
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS)
    {
        tracing::debug!(%error, "query threads run at the priority of all others");
    }
}

/// Threads for queries.
#[derive(Debug)]
pub(super) struct QueryPool {
    threads: rayon::ThreadPool,
    waiting: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
}

/// Counts one for as long as it exists.
struct One(Arc<AtomicUsize>);

impl One {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Work that waits for a thread, and is forgotten with all that it holds when this is dropped before.
struct Wanted<W>(Arc<Mutex<Option<W>>>);

impl<W> Drop for Wanted<W> {
    fn drop(&mut self) {
        drop(take(&self.0));
    }
}

/// Takes work out, so that it is dropped or done without the lock.
fn take<W>(waiting: &Mutex<Option<W>>) -> Option<W> {
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
}

impl QueryPool {
    /// Starts the threads; as many as there are processors if `threads` is 0.
    pub(super) fn start(threads: usize) -> Result<Self, PoolError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("query-{number}"))
            .start_handler(|_| stand_back())
            .build()
            .map(|threads| Self {
                threads,
                waiting: Arc::default(),
                running: Arc::default(),
            })
            .map_err(|source| PoolError { threads, source })
    }

    /// How many threads there are.
    pub(super) fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// How many queries wait for a thread, and how many run.
    pub(super) fn load(&self) -> (usize, usize) {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (read(&self.waiting), read(&self.running))
    }

    /// Runs some work on the threads. What it does in parallel stays on them.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryFailed> {
        let (sender, receiver) = oneshot::channel();
        let wanted = Wanted(Arc::new(Mutex::new(Some((work, One::of(&self.waiting))))));
        let waiting = Arc::clone(&wanted.0);
        let running = Arc::clone(&self.running);
        self.threads.spawn_fifo(move || {
            let Some((work, one)) = take(&waiting) else {
                return;
            };
            drop(one);
            let _running = One::of(&running);
            // Queries change nothing, so that nothing is left half done behind a panic.
            let result = catch_unwind(AssertUnwindSafe(work));
            // Nobody may wait any more.
            let _ = sender.send(result);
        });
        match receiver.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) | Err(_) => Err(QueryFailed),
        }
    }
}
