//! What every call passes on its way in and out: who calls, whether there is room, what is noted
//! about it, and in whose words it is refused.
//!
//! Invariant: nothing of a request's body is read before the caller is known and has room; what a
//! call holds is given back when its answer has ended or was given up.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{Body as HttpBody, BoxFuture, Bytes, Service};
use tonic::server::NamedService;

use super::admission::{Admission, Place, RequestBody};
use super::answer;
use super::guard::{Guard, Term, over};
use super::observe::{Meters, Observed};
use super::wire::in_our_words;
use crate::api::{Messages, Method, Notes, RpcStatus, method};

/// What all calls share.
pub(super) struct Door {
    pub(super) guard: Guard,
    pub(super) admission: Arc<Admission>,
    pub(super) meters: Meters,
    /// How long an answer is kept of which nothing is read.
    pub(super) patience: Duration,
}

impl Door {
    /// Lets a call in, or says why not.
    fn enter(
        &self,
        method: Option<&'static Method>,
        request: Request<Body>,
    ) -> Result<(Request<RequestBody>, Place, Option<Term>), RpcStatus> {
        let (request, term) = self.guard.check(method, request)?;
        let (request, place) = self.admission.enter(method, request)?;
        Ok((request, place, term))
    }
}

/// A service behind the door.
#[derive(Clone)]
pub(super) struct Edge<S> {
    pub(super) inner: S,
    pub(super) door: Arc<Door>,
}

impl<S: NamedService> NamedService for Edge<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Edge<S>
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
        let method = method(request.uri().path());
        let mut observed = self.door.meters.begin(method, &request);
        match self.door.enter(method, request) {
            Err(status) => {
                let code = status.code();
                let mut response = status.into_http();
                observed.end(code, Some(response.headers_mut()));
                Box::pin(std::future::ready(Ok(response)))
            }
            Ok((request, place, term)) => {
                let response = self.inner.call(request);
                let patience = self.door.patience;
                Box::pin(async move {
                    let response = Notes::of(response, observed.notes()).await?;
                    let response = in_our_words(response.headers()).unwrap_or(response);
                    let held = Held { observed, place };
                    Ok(answered(response, method, held, term, patience).await)
                })
            }
        }
    }
}

/// What a call holds until it has ended.
struct Held {
    observed: Observed,
    place: Place,
}

impl Held {
    /// The headers are those of the answer, or its trailers, if they can still be added to.
    fn end(self, code: Code, headers: Option<&mut HeaderMap>) {
        self.observed.end(code, headers);
        drop(self.place);
    }
}

/// Lets go of what is held once the answer has ended: now, unless it is a stream, or large.
async fn answered(
    mut response: Response<Body>,
    method: Option<&'static Method>,
    held: Held,
    term: Option<Term>,
    patience: Duration,
) -> Response<Body> {
    let refused = response.headers().get("grpc-status");
    if let Some(refused) = refused {
        let code = Code::from_bytes(refused.as_bytes());
        held.end(code, Some(response.headers_mut()));
        return response;
    }
    if method.is_some_and(|method| method.messages == Messages::Stream) {
        return response.map(|body| {
            Body::new(Answer {
                body,
                held: Some(held),
                term,
            })
        });
    }
    // Behind the one message of such an answer there is nothing but this.
    let Held { observed, place } = held;
    observed.end(Code::Ok, Some(response.headers_mut()));
    answer::keep(response, place, patience).await
}

/// The answers of a stream, and what the call holds.
struct Answer {
    body: Body,
    /// Nothing once the end was sent.
    held: Option<Held>,
    /// For how long the caller may have them.
    term: Option<Term>,
}

impl Answer {
    /// Ends the stream in the middle, in our words.
    fn cut(&mut self, status: &RpcStatus) -> Option<Result<http_body::Frame<Bytes>, RpcStatus>> {
        self.term = None;
        // Whoever makes the answers learns of it by this.
        self.body = Body::empty();
        let held = self.held.take()?;
        let mut trailers = HeaderMap::new();
        let sent = status.add_header(&mut trailers);
        held.end(status.code(), Some(&mut trailers));
        Some(sent.map(|()| http_body::Frame::trailers(trailers)))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = RpcStatus;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, RpcStatus>>> {
        let this = self.get_mut();
        let term = this.term.as_mut();
        if term.is_some_and(|term| term.as_mut().poll(context).is_ready()) {
            return Poll::Ready(this.cut(&over()));
        }
        let mut frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(context));
        let code = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(|trailers| {
                let status = trailers.get("grpc-status");
                status.map_or(Code::Unknown, |status| Code::from_bytes(status.as_bytes()))
            }),
            Some(Err(status)) => Some(status.code()),
            None => Some(Code::Unknown),
        };
        if code.is_some() {
            this.term = None;
        }
        if let Some((code, held)) = code.and_then(|code| Some((code, this.held.take()?))) {
            let frame = frame.as_mut().and_then(|frame| frame.as_mut().ok());
            held.end(code, frame.and_then(http_body::Frame::trailers_mut));
        }
        Poll::Ready(frame)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Given up by the client.
        if let Some(held) = self.held.take() {
            held.end(Code::Cancelled, None);
        }
    }
}
