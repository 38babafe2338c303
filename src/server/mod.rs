//! The process around the services: sockets, health, reflection, and an end within a bound.
//!
//! Invariant: once told to stop, the server takes no new call, ends open streams, and returns
//! after [`ServerConfig::drain`] at the latest, whatever clients do.

mod admin;
mod admission;
mod config;
mod edge;
mod guard;
mod health;
mod observe;
mod readiness;
pub mod telemetry;
mod wire;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

pub use admin::AdminPort;
pub use config::ServerConfig;
pub use observe::Observer;
#[cfg(feature = "otlp")]
pub use observe::SpansError;
pub use readiness::{Phase, Readiness};

use crate::api::Api;
use crate::engine::Engine;
use crate::proto::{
    FILE_DESCRIPTOR_SET, admin_service_server::AdminServiceServer,
    ingest_service_server::IngestServiceServer, query_service_server::QueryServiceServer,
    schema_service_server::SchemaServiceServer, segment_service_server::SegmentServiceServer,
    user_service_server::UserServiceServer,
};
use admission::Admission;
use edge::{Door, Edge};
use guard::Guard;
use health::Health;
use wire::BySize;

/// The most bytes of headers a call may have.
const HEADER_BYTES: u32 = 16 << 10;

/// Why the server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket failed.
    #[error("the server's socket failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors that reflection serves are broken, which is a fault of the program.
    #[error("the descriptors of the protocol can't be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves a store on a socket until `shutdown` resolves; then ends what is open and returns. The
/// store is left open.
///
/// # Errors
/// [`ServerError`] if the socket fails.
pub async fn run(
    engine: Engine,
    listener: TcpListener,
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let observer = Observer::new(config.slow_call);
    run_observed(engine, listener, config, &observer, shutdown).await
}

/// Serves as [`run`] does, and lets somebody see how it goes.
///
/// # Errors
/// [`ServerError`] if the socket fails.
pub async fn run_observed(
    engine: Engine,
    listener: TcpListener,
    config: ServerConfig,
    observer: &Observer,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let (close, closing) = watch::channel(false);
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health::new(reporter);
    let states = engine.watch_state();
    health.tell(&engine.state()).await;
    let follower = tokio::spawn(health.clone().follow(states));

    let api = Api::new(engine.clone(), closing.clone(), config.queries);
    let served = api.clone();
    let door = Arc::new(Door {
        guard: Guard,
        admission: Admission,
        meters: observer.meters(),
    });
    let query = QueryServiceServer::new(api.clone());
    let segment = SegmentServiceServer::new(api.clone());
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut incoming_closing = closing;
    let serving = Server::builder()
        .max_concurrent_streams(config.streams_per_connection)
        .http2_keepalive_interval(Some(config.keepalive_interval))
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
        .http2_max_header_list_size(HEADER_BYTES)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(behind(
            &door,
            IngestServiceServer::new(api.clone()).max_decoding_message_size(config.write_bytes),
        ))
        .add_service(behind(
            &door,
            BySize {
                batch: query
                    .clone()
                    .max_decoding_message_size(config.batch_query_bytes),
                other: query.max_decoding_message_size(config.query_bytes),
            },
        ))
        .add_service(behind(
            &door,
            UserServiceServer::new(api.clone()).max_decoding_message_size(config.other_bytes),
        ))
        .add_service(behind(
            &door,
            SchemaServiceServer::new(api.clone()).max_decoding_message_size(config.other_bytes),
        ))
        .add_service(behind(
            &door,
            BySize {
                batch: segment
                    .clone()
                    .max_decoding_message_size(config.batch_query_bytes),
                other: segment.max_decoding_message_size(config.query_bytes),
            },
        ))
        .add_service(behind(
            &door,
            AdminServiceServer::new(api).max_decoding_message_size(config.other_bytes),
        ))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            async move {
                let _ = incoming_closing.wait_for(|closing| *closing).await;
            },
        );

    tokio::pin!(serving);
    let _served = observer.serving(engine, served);
    let ended = tokio::select! {
        ended = &mut serving => Some(ended),
        () = shutdown => None,
    };
    follower.abort();
    observer.readiness().ending();
    let _ = close.send(true);
    if let Some(ended) = ended {
        return Ok(ended?);
    }
    health.end().await;
    if let Ok(ended) = tokio::time::timeout(config.drain, serving).await {
        return Ok(ended?);
    }
    tracing::warn!(
        "some calls did not end within {} s; their connections are dropped",
        config.drain.as_secs()
    );
    Ok(())
}

fn behind<S>(door: &Arc<Door>, inner: S) -> Edge<S> {
    Edge {
        inner,
        door: Arc::clone(door),
    }
}
