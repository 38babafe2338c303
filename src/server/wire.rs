//! What happens to calls before and after the services: large messages are let in only where they
//! are needed, and what the transport refuses is said in our words.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::server::NamedService;

use crate::api::{RpcStatus, of_transport};

/// Paths of the methods that take many users or selections at once.
const BATCH_METHODS: [&str; 5] = [
    "/headcount.v1.QueryService/BatchCheck",
    "/headcount.v1.QueryService/BatchCount",
    "/headcount.v1.SegmentService/CreateSegment",
    "/headcount.v1.SegmentService/AddSegmentMembers",
    "/headcount.v1.SegmentService/RemoveSegmentMembers",
];

/// Two servers of one service that differ in how large a message may be.
#[derive(Clone)]
pub(super) struct BySize<S> {
    pub(super) batch: S,
    pub(super) other: S,
}

impl<S: NamedService> NamedService for BySize<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for BySize<S>
where
    S: Service<Request<B>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        std::task::ready!(self.batch.poll_ready(context))?;
        self.other.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        if BATCH_METHODS.contains(&request.uri().path()) {
            self.batch.call(request)
        } else {
            self.other.call(request)
        }
    }
}

/// A better answer, if the headers are those of an error that is not ours.
pub(super) fn in_our_words(headers: &HeaderMap) -> Option<Response<Body>> {
    // All answers but errors that come at once have their status behind the answer.
    headers.get("grpc-status")?;
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    let status = RpcStatus::from_header_map(headers)?;
    of_transport(status.code().into(), status.message()).map(RpcStatus::into_http)
}
