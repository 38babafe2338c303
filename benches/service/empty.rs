//! A call that does nothing, over the same transport: what any call costs before its service
//! begins.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

const CALL: &str = "/bench.Empty/Call";

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
}
