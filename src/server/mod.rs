//! The process around the services: sockets, health, reflection, and an end within a bound.
//!
//! Invariant: once told to stop, the server says so in its health, serves on for
//! [`ServerConfig::drain_grace`], takes no new call then, ends open streams, and returns after
//! [`ServerConfig::drain`] more at the latest, whatever clients do.

mod admin;
mod admission;
mod answer;
mod arrival;
mod config;
mod connection;
mod edge;
mod foreign;
mod framing;
mod guard;
mod health;
mod heartbeat;
pub mod notify;
mod observe;
mod readiness;
mod seats;
mod security;
mod starting;
pub mod telemetry;
mod tls;
mod tokens;
mod watched;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::Router;

pub use admin::AdminPort;
pub use config::ServerConfig;
pub use observe::Observer;
#[cfg(feature = "otlp")]
pub use observe::SpansError;
pub use readiness::{Phase, Readiness};
pub use security::SecurityConfig;
pub use starting::run_until as run_starting;
pub use tokens::{NewToken, is_name};

use crate::api::Api;
use crate::engine::{Engine, State};
use crate::proto::{
    FILE_DESCRIPTOR_SET, admin_service_server::AdminServiceServer,
    ingest_service_server::IngestServiceServer, query_service_server::QueryServiceServer,
    schema_service_server::SchemaServiceServer, segment_service_server::SegmentServiceServer,
    user_service_server::UserServiceServer,
};
use admission::{Admission, Fullness};
use arrival::Arriving;
use connection::connections;
use edge::{Door, Edge};
use foreign::{Few, REFLECTION};
use guard::Guard;
use health::Health;
use seats::Seats;
use security::Security;
use wire::BySize;

/// The most bytes of headers a call may have.
const HEADER_BYTES: u32 = 16 << 10;

/// A service that takes messages of up to so many bytes.
macro_rules! limited {
    ($service:expr, $most:expr) => {
        Arriving {
            inner: $service.max_decoding_message_size($most),
            most: $most,
        }
    };
}

/// Why the server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The socket failed.
    #[error("the server's socket failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The socket does not say where it listens, or a thread can't be started.
    #[error("the server can't start: {0}")]
    Start(#[from] std::io::Error),
    /// What is to protect the server can't be used, or is not enough.
    #[error("{0}")]
    Security(String),
    /// The descriptors that reflection serves are broken, which is a fault of the program.
    #[error("the descriptors of the protocol can't be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Whether a server with these settings could start on an address, as far as what protects it goes.
///
/// # Errors
/// [`ServerError::Security`] says what is missing or can't be read.
pub fn check(config: &ServerConfig, address: SocketAddr) -> Result<(), ServerError> {
    Security::open(&config.security, address)
        .map(drop)
        .map_err(ServerError::Security)
}

/// Serves a store on a socket until `shutdown` resolves; then ends what is open and returns. The
/// store is left open.
///
/// # Errors
/// [`ServerError`] if the socket fails, or may not be listened on with what protects it.
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
    let address = listener.local_addr()?;
    let security = Security::open(&config.security, address).map_err(ServerError::Security)?;
    security.tell(address, engine.as_of());
    let (tokens, tls) = (security.tokens.clone(), security.tls.clone());
    let reload = security.follow(config.security.reload_interval)?;
    let reloader = reload.map(|tell| tokio::spawn(told_by_signal(tell)));
    let (close, closing) = watch::channel(false);
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health::new(reporter);
    let states = engine.watch_state();
    health.tell(&engine.state()).await;
    let follower = tokio::spawn(health.clone().follow(states));

    let guard = Guard::new(tokens, config.security.reload_interval, engine.clone());
    let api = Api::new(engine.clone(), closing.clone(), config.unread_timeout);
    let served = api.clone();
    let admission = Arc::new(Admission::new(&config));
    let door = Arc::new(Door {
        guard,
        admission: Arc::clone(&admission),
        meters: observer.meters(),
        patience: config.unread_timeout,
    });
    let incoming = Seats::of(connections(listener, tls, closing.clone()), &config);
    let seats = incoming.count();
    let mut incoming_closing = closing;
    let serving = services(&door, api, &config)?
        .add_service(foreign::health(health_service, &admission))
        .serve_with_incoming_shutdown(incoming, async move {
            let _ = incoming_closing.wait_for(|closing| *closing).await;
        });

    tokio::pin!(serving);
    let _served = observer.serving(engine, served, admission, seats);
    let ended = tokio::select! {
        ended = &mut serving => Some(ended),
        () = shutdown => None,
    };
    follower.abort();
    if let Some(ended) = ended {
        return Ok(ended?);
    }
    // Readiness first: who is told by it where to call goes elsewhere while calls are still served.
    observer.readiness().ending();
    health.tell(&State::Stopping).await;
    if let Ok(ended) = tokio::time::timeout(config.drain_grace, &mut serving).await {
        return Ok(ended?);
    }
    if let Some(reloader) = reloader {
        reloader.abort();
    }
    let _ = close.send(true);
    for room in door.admission.fullness().filter(|room| room.refused > 0) {
        let Fullness { limit, refused, .. } = room;
        tracing::info!(limit, refused, "calls were refused for want of room");
    }
    health.end().await;
    if let Ok(ended) = tokio::time::timeout(config.drain, serving).await {
        return Ok(ended?);
    }
    let left = door.admission.calls();
    tracing::warn!(
        "{left} calls did not end within {} s; their connections are dropped",
        config.drain.as_secs()
    );
    Ok(())
}

/// Has the files read again whenever the process is told to, as it is the custom, by SIGHUP.
async fn told_by_signal(tell: SyncSender<()>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        // They are looked at every so often anyway.
        return std::future::pending().await;
    };
    while hangups.recv().await.is_some() {
        // Where one waits already, that is enough.
        let _ = tell.try_send(());
    }
}

/// All services but health, each behind the door.
fn services(door: &Arc<Door>, api: Api, config: &ServerConfig) -> Result<Router, ServerError> {
    let query = QueryServiceServer::new(api.clone());
    let segment = SegmentServiceServer::new(api.clone());
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Server::builder()
        .max_concurrent_streams(config.streams_per_connection)
        .http2_keepalive_interval(Some(config.keepalive_interval))
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
        .http2_max_header_list_size(HEADER_BYTES)
        .add_service(behind(
            door,
            Few::new(
                limited!(reflection().build_v1()?, foreign::REQUEST_BYTES),
                REFLECTION,
            ),
        ))
        .add_service(behind(
            door,
            Few::new(
                limited!(reflection().build_v1alpha()?, foreign::REQUEST_BYTES),
                REFLECTION,
            ),
        ))
        .add_service(behind(
            door,
            limited!(IngestServiceServer::new(api.clone()), config.write_bytes),
        ))
        .add_service(behind(
            door,
            BySize {
                batch: limited!(query.clone(), config.batch_query_bytes),
                other: limited!(query, config.query_bytes),
            },
        ))
        .add_service(behind(
            door,
            limited!(UserServiceServer::new(api.clone()), config.other_bytes),
        ))
        .add_service(behind(
            door,
            limited!(SchemaServiceServer::new(api.clone()), config.other_bytes),
        ))
        .add_service(behind(
            door,
            BySize {
                batch: limited!(segment.clone(), config.batch_query_bytes),
                other: limited!(segment, config.query_bytes),
            },
        ))
        .add_service(behind(
            door,
            limited!(AdminServiceServer::new(api), config.other_bytes),
        )))
}

fn behind<S>(door: &Arc<Door>, inner: S) -> Edge<S> {
    Edge {
        inner,
        door: Arc::clone(door),
    }
}
