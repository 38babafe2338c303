//! What `grpc.health.v1` says: it follows the state of the store.
//!
//! A store that is read-only answers queries, so these stay `SERVING`; all that writes, and the
//! service as a whole (the empty name), is `NOT_SERVING` until the restart that is needed. So it is
//! while the disk is full, save that users can be read and erased.
//!
//! That is readiness. Liveness is the name `live`: `SERVING` for as long as the process answers, also
//! while it starts, while it ends, and when its disk failed, which no restart by itself mends.

use tokio::sync::watch;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::api::Api;
use crate::engine::State;
use crate::proto::{
    admin_service_server::AdminServiceServer, ingest_service_server::IngestServiceServer,
    query_service_server::QueryServiceServer, schema_service_server::SchemaServiceServer,
    segment_service_server::SegmentServiceServer, user_service_server::UserServiceServer,
};

/// Names whose health is that of writes.
const WRITING: [&str; 5] = [
    "",
    IngestServiceServer::<Api>::NAME,
    SchemaServiceServer::<Api>::NAME,
    SegmentServiceServer::<Api>::NAME,
    AdminServiceServer::<Api>::NAME,
];
/// Names whose health is that of erasures.
const ERASING: [&str; 1] = [UserServiceServer::<Api>::NAME];
/// The name whose health is that of the process.
const LIVE: &str = "live";
/// Names whose health is that of reads.
const READING: [&str; 1] = [QueryServiceServer::<Api>::NAME];

/// Tells the health of all services.
#[derive(Clone)]
pub(super) struct Health(HealthReporter);

impl Health {
    pub(super) fn new(reporter: HealthReporter) -> Self {
        Self(reporter)
    }

    pub(super) async fn tell(&self, state: &State) {
        const YES: ServingStatus = ServingStatus::Serving;
        const NO: ServingStatus = ServingStatus::NotServing;
        let (writing, erasing, reading) = match state {
            State::Serving => (YES, YES, YES),
            State::Full { .. } => (NO, YES, YES),
            State::ReadOnly { .. } => (NO, NO, YES),
            State::Stopping => (NO, NO, NO),
        };
        for (names, status) in [
            (&[LIVE][..], YES),
            (&WRITING, writing),
            (&ERASING, erasing),
            (&READING, reading),
        ] {
            for name in names {
                self.0.set_service_status(name, status).await;
            }
        }
    }

    /// Tells of every change of state, for as long as the store is there.
    pub(super) async fn follow(self, mut states: watch::Receiver<State>) {
        loop {
            let state = states.borrow_and_update().clone();
            self.tell(&state).await;
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells that nothing is served any more, and ends the streams of those who watch.
    pub(super) async fn end(mut self) {
        self.tell(&State::Stopping).await;
        // A watcher sees a status only when it is polled before the next change.
        tokio::task::yield_now().await;
        let ready = WRITING.into_iter().chain(ERASING).chain(READING);
        for name in ready.chain([LIVE]) {
            self.0.clear_service_status(name).await;
        }
    }
}
