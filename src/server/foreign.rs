//! The services that are not of our protocol: health, which nobody is asked a token for, and
//! reflection.
//!
//! Invariant: they hold as little of the machine as ours do. So many calls of each may be under way,
//! a request is a few bytes, counted and timed as any other, and a call has its place until its
//! answer was sent or given up.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, BoxFuture, Bytes, Service};
use tonic::server::NamedService;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::admission::{Admission, RequestBody};
use super::arrival::Arriving;
use crate::api::{RpcStatus, overloaded};

/// Bytes of one request: the name of a service, or of a symbol of the protocol.
pub(super) const REQUEST_BYTES: usize = 4 << 10;

/// How many calls of a service may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// What it is called in errors.
    limit: &'static str,
    calls: usize,
}

/// Of health. Who watches it keeps a place for hours.
const HEALTH: Most = Most {
    limit: "health_calls",
    calls: 1_024,
};
/// Of reflection, each version: people use it, for a moment.
pub(super) const REFLECTION: Most = Most {
    limit: "reflection_calls",
    calls: 64,
};

/// The health service, as far as anybody may ask it.
pub(super) fn health<T: Health>(
    service: HealthServer<T>,
    admission: &Arc<Admission>,
) -> Open<Few<Arriving<HealthServer<T>>>> {
    let inner = Arriving {
        inner: service.max_decoding_message_size(REQUEST_BYTES),
        most: REQUEST_BYTES,
    };
    Open {
        inner: Few::new(inner, HEALTH),
        admission: Arc::clone(admission),
    }
}

/// A service of which so many calls may be under way.
#[derive(Clone)]
pub(super) struct Few<S> {
    inner: S,
    most: Most,
    room: Arc<Semaphore>,
}

impl<S> Few<S> {
    pub(super) fn new(inner: S, most: Most) -> Self {
        Self {
            inner,
            most,
            room: Arc::new(Semaphore::new(most.calls)),
        }
    }
}

impl<S: NamedService> NamedService for Few<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Few<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            let refused = overloaded(self.most.limit, self.most.calls).into_http();
            return Box::pin(std::future::ready(Ok(refused)));
        };
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            Ok(response.map(|body| {
                Body::new(Answer {
                    body,
                    place: Some(place),
                })
            }))
        })
    }
}

/// An answer, and the place of its call.
struct Answer {
    body: Body,
    place: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = RpcStatus;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RpcStatus>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if this.body.is_end_stream() || frame.is_none() {
            this.place = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A service that anybody may call: its requests are counted and timed, and nobody is asked who they
/// are.
#[derive(Clone)]
pub(super) struct Open<S> {
    pub(super) inner: S,
    pub(super) admission: Arc<Admission>,
}

impl<S: NamedService> NamedService for Open<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Open<S>
where
    S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.admission.enter(None, request) {
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
            Ok((request, place)) => {
                let response = self.inner.call(request);
                Box::pin(async move {
                    let response = response.await;
                    // What came is taken by now.
                    drop(place);
                    response
                })
            }
        }
    }
}
