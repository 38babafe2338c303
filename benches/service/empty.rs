//! A call that does nothing, over the same transport: what any call costs before its service
//! begins. And one that is sent what a `Check` is sent, and answers as much without looking at it:
//! what a `Check` costs that its service can't save.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use headcount::proto::{CheckRequest, CheckResponse};
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

const CALL: &str = "/bench.Empty/Call";
const UNCHECKED: &str = "/bench.Empty/Check";

#[derive(Clone)]
pub struct EmptyServer;

impl NamedService for EmptyServer {
    const NAME: &'static str = "bench.Empty";
}

impl Service<Request<Body>> for EmptyServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() == UNCHECKED {
                let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
                return Ok(tonic::server::Grpc::new(codec).unary(Answer, request).await);
            }
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<(), ()>::default());
            Ok(grpc.unary(Answer, request).await)
        })
    }
}

struct Answer;

impl UnaryService<()> for Answer {
    type Response = ();
    type Future = Ready<Result<tonic::Response<()>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<()>) -> Self::Future {
        ready(Ok(tonic::Response::new(())))
    }
}

impl UnaryService<CheckRequest> for Answer {
    type Response = CheckResponse;
    type Future = Ready<Result<tonic::Response<CheckResponse>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        ready(Ok(tonic::Response::new(CheckResponse {
            time_resolution: None,
            members: vec![true; request.get_ref().filters.len()],
            user_exists: true,
            // As long as the text of a revision.
            revision: "0".repeat(24),
            ..CheckResponse::default()
        })))
    }
}

#[derive(Clone)]
pub struct EmptyClient(tonic::client::Grpc<Channel>);

impl EmptyClient {
    pub fn new(channel: Channel) -> Self {
        Self(tonic::client::Grpc::new(channel))
    }

    pub async fn call(&mut self) {
        self.0.ready().await.expect("a connection");
        let path = PathAndQuery::from_static(CALL);
        let codec = ProstCodec::<(), ()>::default();
        let answer = self.0.unary(tonic::Request::new(()), path, codec).await;
        answer.expect("an empty answer");
    }

    pub async fn check_nothing(&mut self, request: CheckRequest) {
        self.0.ready().await.expect("a connection");
        let path = PathAndQuery::from_static(UNCHECKED);
        let codec = ProstCodec::<CheckRequest, CheckResponse>::default();
        let answer = self
            .0
            .unary(tonic::Request::new(request), path, codec)
            .await;
        assert!(answer.expect("an answer").into_inner().user_exists);
    }
}
