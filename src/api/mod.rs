//! The services: protobuf in, protobuf out.
//!
//! Invariants: protobuf stops here, nothing below has heard of it; what is passed on is
//! well-formed; every answer holds at least the revision that it names; nothing that may take long
//! runs on the threads that serve requests.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod access;
mod admin;
mod analysis;
mod backup;
mod codec;
mod compare;
pub(crate) mod convert;
mod deadline;
mod elements;
mod error;
mod events;
mod export;
mod exports;
mod filters;
mod ingest;
mod lists;
mod methods;
mod notes;
mod parts;
mod preview;
mod query;
mod schema;
mod segments;
mod statistics;
mod status;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod token;
mod user;
mod verify;
mod watch;
mod write_stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use access::{Caller, EVERYWHERE, Grants, Term, over, unauthenticated};
pub use codec::Codec;
pub use methods::{Cost, METHODS, Messages, Method, Role, method};
pub use notes::{Notes, Shown};
pub use statistics::Load;
pub use status::{
    RpcStatus, not_serving_yet, of_transport, overloaded, reason_name, reason_of, too_slow, unread,
};

use crate::engine::{Engine, Turn};
use crate::model::{PopulationName, Reason, Revision, Timestamp};
use crate::population::{Population, nearest};
use crate::query::Stop;
use convert::Path;
use deadline::Deadline;
use error::ApiError;
use filters::Filters;
use token::Tokens;

/// How long a read waits for its `min_revision`, whatever its deadline: what was handed out is
/// there at once, so that only one that was made up, or is of a store that was since restored from a
/// backup, is waited for longer, and the request is held in memory meanwhile.
const REVISION_WAIT: Duration = Duration::from_secs(5);

/// How many small steps wait for a thread or run on one at once.
const SMALL_STEPS: usize = 2;

/// All services of one store.
#[derive(Clone)]
pub struct Api {
    engine: Engine,
    tokens: Tokens,
    filters: Filters,
    checkers: Arc<segments::Checkers>,
    exports: Arc<exports::Exports>,
    closing: Receiver<bool>,
    /// A permit for each step of something long that waits for a thread or runs on one.
    steps: Arc<Semaphore>,
    /// The same for what is small, so that it does not wait behind thousands of such steps.
    small_steps: Arc<Semaphore>,
    /// How long a stream is kept of which nothing is read.
    patience: Duration,
}

impl Api {
    /// The services of a store, which keep a stream of which nothing is read for so long. Streams
    /// end soon after `closing` turns true.
    #[must_use]
    pub fn new(engine: Engine, closing: Receiver<bool>, patience: Duration) -> Self {
        let steps = (engine.query_threads() / 2).max(1);
        Self {
            tokens: Tokens::new(engine.store_id()),
            filters: Filters::new(),
            checkers: Arc::default(),
            exports: Arc::default(),
            engine,
            closing,
            steps: Arc::new(Semaphore::new(steps)),
            small_steps: Arc::new(Semaphore::new(SMALL_STEPS)),
            patience,
        }
    }

    /// Resolves when streams are to end.
    async fn closed(&self) {
        let mut closing = self.closing.clone();
        // A sender that is gone closes, too.
        let _ = closing.wait_for(|closing| *closing).await;
    }

    fn revision(&self, revision: Revision) -> String {
        self.tokens.revision(revision)
    }

    /// The revision up to which everything is in an answer that is worked out from now on.
    fn applied(&self) -> String {
        self.revision(self.engine.applied())
    }

    /// Waits until everything up to a revision is in every answer.
    async fn reach(&self, min_revision: &str, deadline: Deadline) -> Result<(), ApiError> {
        if min_revision.is_empty() {
            return Ok(());
        }
        let revision = self.tokens.read_revision(min_revision)?;
        // In a box, so that calls that do not wait do not carry what waiting needs.
        let reached = async { Ok(self.engine.applied_at_least(revision).await?) };
        let reached = Box::pin(deadline.within(REVISION_WAIT).bound(reached)).await;
        reached.map_err(|error| {
            if error.reason != Reason::DeadlineExceeded {
                return error;
            }
            error.saying(format!(
                "the service did not reach min_revision in the time given for the call, or in {REVISION_WAIT:?}; it may never reach one of before a restore from a backup"
            ))
        })
    }

    fn population(&self, name: &PopulationName) -> Result<Arc<Population>, ApiError> {
        let population = self.engine.population(name);
        let population = population.ok_or_else(|| {
            let known = self.engine.populations();
            let known = known.iter().map(|(name, _)| name);
            let near = nearest(
                name.as_str(),
                known.filter(|known| notes::may_learn_of(known)),
                PopulationName::as_str,
            );
            let quoted: Vec<String> = near.iter().map(|name| format!("{name:?}")).collect();
            let help = if quoted.is_empty() {
                "it is created by its first write".into()
            } else {
                format!("did you mean {}?", quoted.join(" or "))
            };
            ApiError::new(
                Reason::PopulationNotFound,
                format!("population {name:?} does not exist; {help}"),
            )
            .fact("population", name)
            .suggesting(&near)
        })?;
        notes::population(&population);
        Ok(population)
    }

    /// The instant that `now()` stands for.
    fn as_of(&self, given: Option<prost_types::Timestamp>) -> Result<Timestamp, ApiError> {
        match given {
            None => Ok(self.engine.as_of()),
            Some(given) => convert::timestamp(given, &Path::Field(&Path::Root, "as_of")),
        }
    }

    /// Runs work that may take long on the query threads, unless too many wait for them. It is told
    /// to stop at the deadline, and when nobody waits for it any more.
    async fn evaluate<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&Stop) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        // Refused at once while there is time to ask elsewhere, rather than late.
        let turn = self.engine.enter_query()?;
        self.run(turn, deadline, work).await
    }

    /// Runs a step of something that was begun already on the query threads. It is never refused,
    /// but waits until few others like it run, so that however many there are, most of the threads
    /// are for queries.
    async fn step<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&Stop) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = permit(&self.steps, deadline).await?;
        self.step_with(permit, deadline, work).await
    }

    /// Runs work that is small and seldom in the same way, but for the steps of what is long.
    async fn small_step<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&Stop) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = permit(&self.small_steps, deadline).await?;
        self.step_with(permit, deadline, work).await
    }

    /// Runs a step that has its permit.
    async fn step_with<T: Send + 'static>(
        &self,
        permit: impl Send + 'static,
        deadline: Deadline,
        work: impl FnOnce(&Stop) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.engine.join_queries();
        let work = move |stop: &Stop| {
            let _permit = permit;
            work(stop)
        };
        self.run(turn, deadline, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        mut turn: Turn,
        deadline: Deadline,
        work: impl FnOnce(&Stop) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let stop = Stop::at(deadline.instant());
        let guard = StopOnDrop(stop.clone());
        let result = deadline
            .bound(async {
                self.engine
                    .query(move || {
                        // Who gave up while this waited for a thread costs nothing more.
                        stop.check()?;
                        turn.begin()?;
                        work(&stop)
                    })
                    .await?
            })
            .await;
        drop(guard);
        result
    }
}

/// Waits for the permit of a step.
async fn permit(
    steps: &Arc<Semaphore>,
    deadline: Deadline,
) -> Result<OwnedSemaphorePermit, ApiError> {
    let permit = async {
        let permit = Arc::clone(steps).acquire_owned().await;
        // Nobody closes it.
        permit.map_err(|_| ApiError::stopping())
    };
    deadline.bound(permit).await
}

/// Stops an evaluation whose caller is gone.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
