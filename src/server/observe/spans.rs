//! Spans of calls for those who trace, sent by OTLP: only in builds with the feature `otlp`.
//!
//! Invariant: a call has a span only if its client traces it; what can't be sent in time is dropped, so
//! that no call waits for a collector.

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use super::Line;
use super::context::Parent;
use crate::model::Timestamp;

/// How long the collector may take for what it is sent.
const EXPORT_TIME: Duration = Duration::from_secs(5);

/// Why spans can't be sent.
#[derive(Debug, thiserror::Error)]
#[error("spans can't be sent to {endpoint:?}: {cause}")]
pub struct SpansError {
    endpoint: String,
    cause: String,
}

/// Sends spans to a collector.
#[derive(Debug)]
pub(super) struct Spans {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Spans {
    /// Sends them to this address. To be called within a runtime, which sends them.
    pub(super) fn to(endpoint: &str) -> Result<Self, SpansError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIME)
            .build()
            .map_err(|error| SpansError {
                endpoint: endpoint.into(),
                cause: error.to_string(),
            })?;
        let resource = Resource::builder()
            .with_service_name("headcount")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // Who traces a call says so.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("headcount");
        Ok(Self { provider, tracer })
    }

    /// A call has ended just now.
    pub(super) fn call(
        &self,
        parent: &Parent<'_>,
        line: &Line<'_>,
        (took, now): (Duration, Timestamp),
    ) {
        let (Ok(trace), Ok(span)) = (
            TraceId::from_hex(parent.trace),
            SpanId::from_hex(parent.span),
        ) else {
            return;
        };
        let flags = TraceFlags::default().with_sampled(parent.is_sampled);
        let remote = SpanContext::new(trace, span, flags, true, TraceState::default());
        let context = Context::new().with_remote_span_context(remote);
        let ended = UNIX_EPOCH + Duration::from_micros(u64::try_from(now.micros()).unwrap_or(0));
        let attributes = [
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", line.method.to_owned()),
            KeyValue::new("rpc.response.status_code", line.code),
            KeyValue::new("headcount.reason", line.reason),
            KeyValue::new("headcount.request_id", line.request_id.to_owned()),
        ];
        let mut span = self
            .tracer
            .span_builder(line.method.to_owned())
            .with_kind(SpanKind::Server)
            .with_start_time(ended - took)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, &context);
        // What the client did wrong is no error of the server.
        if matches!(
            line.code,
            "UNKNOWN"
                | "DEADLINE_EXCEEDED"
                | "UNIMPLEMENTED"
                | "INTERNAL"
                | "UNAVAILABLE"
                | "DATA_LOSS"
        ) {
            span.set_status(Status::Error {
                description: Cow::Borrowed(line.reason),
            });
        }
        span.end_with_timestamp(ended);
    }

    /// Sends what was not sent yet, and nothing more.
    pub(super) fn end(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(EXPORT_TIME) {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::{Context as Task, Poll};

    use tokio::sync::mpsc;
    use tonic::Code;
    use tonic::body::Body;
    use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
    use tonic::codegen::{Body as _, BoxFuture, Service};
    use tonic::server::NamedService;

    use super::super::Observer;
    use crate::api::method;

    /// Takes whatever it is sent.
    #[derive(Clone)]
    struct Collector(mpsc::Sender<Vec<u8>>);

    impl NamedService for Collector {
        const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
    }

    impl Service<Request<Body>> for Collector {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Response<Body>, Infallible>;

        fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let taken = self.0.clone();
            Box::pin(async move {
                let mut body = Box::pin(request.into_body());
                let mut bytes = Vec::new();
                while let Some(Ok(frame)) =
                    std::future::poll_fn(|task| body.as_mut().poll_frame(task)).await
                {
                    bytes.extend(frame.into_data().unwrap_or_default());
                }
                taken.send(bytes).await.unwrap();
                let mut response = Response::new(Body::empty());
                let headers = response.headers_mut();
                headers.insert("content-type", HeaderValue::from_static("application/grpc"));
                headers.insert("grpc-status", HeaderValue::from_static("0"));
                Ok(response)
            })
        }
    }

    fn has(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn calls_that_are_traced_are_sent_to_the_collector() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut taken) = mpsc::channel(16);
        let serving = tonic::transport::Server::builder()
            .add_service(Collector(sender))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        tokio::spawn(serving);

        let observer = Observer::new(None);
        observer.trace_to(&format!("http://{address}")).unwrap();
        let call = |name: &str, trace: &str, flags: &str| {
            let mut request = Request::new(Body::empty());
            let parent = format!("00-{trace}-00f067aa0ba902b7-{flags}");
            let parent = HeaderValue::from_str(&parent).unwrap();
            request.headers_mut().insert("traceparent", parent);
            let path = format!("/headcount.v1.QueryService/{name}");
            observer.meters().begin(method(&path), &request)
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        call("Count", trace, "01").end(Code::Ok, Some(&mut HeaderMap::new()));
        call("Check", trace, "00").end(Code::Ok, Some(&mut HeaderMap::new()));
        let ending = observer.clone();
        std::thread::spawn(move || ending.end_traces())
            .join()
            .unwrap();
        let sent = taken.recv().await.unwrap();
        assert!(has(&sent, b"headcount.v1.QueryService/Count"));
        assert!(has(
            &sent,
            &0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()
        ));
        assert!(has(&sent, &0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()));
        // Who does not trace is not traced.
        assert!(!has(&sent, b"QueryService/Check"));
    }
}
