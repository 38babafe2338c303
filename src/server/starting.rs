//! What the port answers while the store is being opened: that it is not there yet.
//!
//! Invariant: nobody waits. Health is `NOT_SERVING`, and every method of the protocol is refused with
//! `NOT_SERVING`, so that clients and load balancers tell a service that starts from one that hangs.
//! That is all that anybody is told, so that nobody is asked who calls; TLS is spoken where it is later.

use std::convert::Infallible;
use std::future::Ready;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::transport::Server;

use super::admission::Admission;
use super::config::ServerConfig;
use super::connection::connections;
use super::foreign;
use super::health::Health;
use super::seats::Seats;
use super::security::Security;
use super::{HEADER_BYTES, ServerError};
use crate::api::{Api, not_serving_yet};
use crate::engine::State;
use crate::proto::{
    admin_service_server::AdminServiceServer, ingest_service_server::IngestServiceServer,
    query_service_server::QueryServiceServer, schema_service_server::SchemaServiceServer,
    segment_service_server::SegmentServiceServer, user_service_server::UserServiceServer,
};

/// How long it may take clients to go.
const GO: Duration = Duration::from_secs(1);

/// Answers on a socket until `opened` resolves. Its connections are told to go then, so that clients
/// come back; returns when they are gone, or after a second. New ones wait for whoever else has the
/// socket.
///
/// # Errors
/// [`ServerError`] if the socket fails.
pub async fn run_until(
    listener: TcpListener,
    config: &ServerConfig,
    opened: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let address = listener.local_addr()?;
    let security = Security::open(&config.security, address).map_err(ServerError::Security)?;
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health::new(reporter);
    health.tell(&State::Stopping).await;
    let (close, mut closing) = tokio::sync::watch::channel(false);
    let incoming = Seats::of(
        connections(listener, security.tls.clone(), closing.clone()),
        config,
    );
    let admission = Arc::new(Admission::new(config));
    let serving = Server::builder()
        .max_concurrent_streams(config.streams_per_connection)
        .http2_keepalive_interval(Some(config.keepalive_interval))
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
        .http2_max_header_list_size(HEADER_BYTES)
        .add_service(foreign::health(health_service, &admission))
        .add_service(NotYet::<IngestServiceServer<Api>>::new())
        .add_service(NotYet::<QueryServiceServer<Api>>::new())
        .add_service(NotYet::<UserServiceServer<Api>>::new())
        .add_service(NotYet::<SchemaServiceServer<Api>>::new())
        .add_service(NotYet::<SegmentServiceServer<Api>>::new())
        .add_service(NotYet::<AdminServiceServer<Api>>::new())
        .serve_with_incoming_shutdown(incoming, async move {
            let _ = closing.wait_for(|closing| *closing).await;
        });
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = opened => {}
    }
    let _ = close.send(true);
    // Who watches is told to look again, by the end of the stream.
    health.end().await;
    match tokio::time::timeout(GO, serving).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Ok(()),
    }
}

/// Stands for a service that is not there yet.
struct NotYet<S>(PhantomData<fn() -> S>);

impl<S> NotYet<S> {
    fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S> Clone for NotYet<S> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<S: NamedService> NamedService for NotYet<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for NotYet<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::ready(Ok(not_serving_yet().into_http()))
    }
}
