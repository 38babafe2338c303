//! What is noted about calls, and what the service tells of itself.
//!
//! Invariants: a call that is answered well and soon costs two looks at the clock and some atomic
//! additions, no lock and no memory. No metric and no line of the log holds a value, an id of a user,
//! or a text of an error; the labels that metrics can have are bounded in number.

mod calls;
mod context;
mod families;
mod process;
mod quota;
#[cfg(feature = "otlp")]
mod spans;
mod text;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request};

use crate::api::{Api, Messages, Method, Notes, reason_name, reason_of};
use crate::clock::{Clock, SystemClock};
use crate::engine::{Engine, State};
use crate::model::Timestamp;
use crate::proto::ErrorReason;
use calls::Calls;
use context::CallContext;
use quota::Quota;

use super::admission::Admission;
use super::heartbeat::Heartbeat;
use super::readiness::{Phase, Readiness};
use super::seats::SeatCount;

#[cfg(feature = "otlp")]
pub use spans::SpansError;
pub(super) use text::Format;

/// Lines about slow and failed calls in a second, at most.
const LINES: u64 = 10;
/// Lines about calls as such in a second, at most.
const CALL_LINES: u64 = 200;

/// A store that is served.
#[derive(Clone)]
struct Store {
    engine: Engine,
    api: Api,
    admission: Arc<Admission>,
    seats: SeatCount,
}

/// What is seen of a service from outside. A cheap handle, which is there before the store is.
#[derive(Clone)]
pub struct Observer(Arc<Shared>);

struct Shared {
    calls: Calls,
    readiness: Readiness,
    heartbeat: Heartbeat,
    store: Mutex<Option<Store>>,
    started: Timestamp,
    slow_call: Option<Duration>,
    slow_lines: Quota,
    failed_lines: Quota,
    call_lines: Quota,
    #[cfg(feature = "otlp")]
    spans: std::sync::OnceLock<spans::Spans>,
}

impl Observer {
    /// Nothing is served so far. Calls that take longer than `slow_call` are told of in the log.
    #[must_use]
    pub fn new(slow_call: Option<Duration>) -> Self {
        Self(Arc::new(Shared {
            calls: Calls::new(),
            readiness: Readiness::default(),
            heartbeat: Heartbeat::new(),
            store: Mutex::default(),
            started: SystemClock.now(),
            slow_call,
            slow_lines: Quota::new(LINES),
            failed_lines: Quota::new(LINES),
            call_lines: Quota::new(CALL_LINES),
            #[cfg(feature = "otlp")]
            spans: std::sync::OnceLock::new(),
        }))
    }

    /// Sends spans of calls that clients trace to a collector from now on, if none are sent yet. To be
    /// called within the runtime that is to send them.
    ///
    /// # Errors
    /// [`SpansError`] if the address is none.
    #[cfg(feature = "otlp")]
    pub fn trace_to(&self, endpoint: &str) -> Result<(), SpansError> {
        let spans = spans::Spans::to(endpoint)?;
        // Who came first stays.
        let _ = self.0.spans.set(spans);
        Ok(())
    }

    /// Sends the spans that were not sent yet, which may take seconds, and no more.
    #[cfg(feature = "otlp")]
    pub fn end_traces(&self) {
        if let Some(spans) = self.0.spans.get() {
            spans.end();
        }
    }

    /// How far the service is.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// Says each second that the runtime of the caller, which is to be the one that serves, gets round
    /// to something; does not end.
    pub async fn beat(&self) {
        self.0.heartbeat.beat().await;
    }

    /// Whether the runtime that serves gets round to anything. To be asked on another one.
    pub(super) async fn is_alive(&self) -> bool {
        self.0.heartbeat.is_alive().await
    }

    /// A store is served from now on, for as long as what is returned exists.
    pub(super) fn serving(
        &self,
        engine: Engine,
        api: Api,
        admission: Arc<Admission>,
        seats: SeatCount,
    ) -> Served<'_> {
        *self.lock() = Some(Store {
            engine,
            api,
            admission,
            seats,
        });
        self.0.readiness.serving();
        Served(self)
    }

    /// What counts and times calls.
    pub(super) fn meters(&self) -> Meters {
        Meters(Arc::clone(&self.0))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Store>> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Option<Store> {
        self.lock().clone()
    }

    /// Whether the service is to be asked, and in a few words why or why not. A store that refuses
    /// writes is asked: its answers are right.
    pub(super) fn ready(&self) -> (bool, String) {
        match (self.0.readiness.phase(), self.store()) {
            (Phase::Starting, _) => (false, "starting".into()),
            (Phase::Serving, Some(store)) => match store.engine.state() {
                State::Serving => (true, "ready".into()),
                State::Full { .. } => (true, "ready for reads: the disk is full".into()),
                State::ReadOnly { .. } => (true, "ready for reads: the disk failed".into()),
                State::Stopping => (false, "stopping".into()),
            },
            (Phase::Serving | Phase::Ending, _) => (false, "stopping".into()),
        }
    }

    /// All metrics. Takes time by the number of names in the schema, at times by the size of the
    /// store: not to be asked on a thread that serves.
    pub(super) fn metrics(&self, format: Format) -> String {
        let store = self.store();
        families::metrics(&self.0, self.ready().0, store.as_ref(), format)
    }
}

/// Says that a store is served for as long as it exists.
pub(super) struct Served<'a>(&'a Observer);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.0.readiness.ending();
        *self.0.lock() = None;
    }
}

/// Counts and times calls.
pub(super) struct Meters(Arc<Shared>);

impl Meters {
    /// Notes that a call begins.
    pub(super) fn begin(
        &self,
        method: Option<&'static Method>,
        request: &Request<Body>,
    ) -> Observed {
        let row = self.0.calls.begin(method);
        Observed {
            shared: Arc::clone(&self.0),
            method,
            row,
            context: CallContext::of(request.headers()),
            begun: Instant::now(),
            notes: Notes::default(),
            is_ended: false,
        }
    }
}

/// A call under way.
pub(super) struct Observed {
    shared: Arc<Shared>,
    method: Option<&'static Method>,
    row: usize,
    context: CallContext,
    begun: Instant,
    notes: Notes,
    is_ended: bool,
}

impl Observed {
    /// Where what is noted while the call is served is kept.
    pub(super) fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// Notes that the call has ended, and puts into the headers or trailers of its answer by which id
    /// the log knows it, if the log may.
    pub(super) fn end(mut self, code: Code, headers: Option<&mut HeaderMap>) {
        self.count(code, headers);
    }

    fn count(&mut self, code: Code, headers: Option<&mut HeaderMap>) {
        if self.is_ended {
            return;
        }
        self.is_ended = true;
        let panicked = code == Code::Cancelled && std::thread::panicking();
        let code = if panicked { Code::Internal } else { code };
        let took = self.begun.elapsed();
        let shared = Arc::clone(&self.shared);
        shared.calls.end(self.row, code, took);
        // How long a stream lasts is up to its client.
        let is_stream = self
            .method
            .is_some_and(|method| method.messages == Messages::Stream);
        let is_slow = !is_stream && shared.slow_call.is_some_and(|slow| took >= slow);
        let is_told = tracing::enabled!(target: "headcount::calls", tracing::Level::DEBUG);
        #[cfg(feature = "otlp")]
        let is_told = is_told || self.is_traced();
        if code != Code::Ok || is_slow || is_told {
            self.tell(&shared, (code, took, is_slow), panicked, headers);
        }
    }

    #[cfg(feature = "otlp")]
    fn is_traced(&self) -> bool {
        let traced = self.shared.spans.get().and(self.context.parent());
        traced.is_some_and(|parent| parent.is_sampled)
    }

    #[cold]
    fn tell(
        &mut self,
        shared: &Shared,
        (code, took, is_slow): (Code, Duration, bool),
        panicked: bool,
        headers: Option<&mut HeaderMap>,
    ) {
        let mut reason = "";
        let id = self.context.request_id();
        if code != Code::Ok {
            let known = match &headers {
                None if panicked => Some(ErrorReason::Internal),
                None => None,
                Some(headers) => reason_of(headers),
            };
            // Who gave up was not refused.
            if headers.is_some() || panicked {
                shared.calls.refused(known);
            }
            reason = known.map_or("", reason_name);
        }
        if let Some(headers) = headers
            && (code != Code::Ok || is_slow)
        {
            headers.insert(context::REQUEST_ID, id.clone());
        }
        let line = Line {
            method: shared.calls.label(self.row),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            code: calls::code_name(code),
            reason,
            request_id: id.to_str().unwrap_or_default(),
            trace_id: self.context.trace_id().unwrap_or_default(),
        };
        #[cfg(feature = "otlp")]
        if let Some((spans, parent)) = shared.spans.get().zip(self.context.parent()) {
            spans.call(&parent, &line, (took, SystemClock.now()));
        }
        if is_slow {
            shared.calls.slow(self.row);
            shared.slow_lines.line(|| self.tell_slow(shared, &line));
        }
        if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
            shared.failed_lines.line(|| line.failed());
        }
        if tracing::enabled!(target: "headcount::calls", tracing::Level::DEBUG) {
            shared.call_lines.line(|| line.ended());
        }
    }

    fn tell_slow(&self, shared: &Shared, line: &Line<'_>) {
        let store = shared.store.lock().unwrap_or_else(PoisonError::into_inner);
        let api = store.as_ref().map(|store| store.api.clone());
        drop(store);
        let shown = api.map(|api| self.notes.shown(&api));
        let shown = shown.unwrap_or_default();
        tracing::warn!(
            target: "headcount::calls",
            method = line.method,
            milliseconds = line.milliseconds,
            code = line.code,
            reason = line.reason,
            request_id = line.request_id,
            trace_id = line.trace_id,
            population = shown.population,
            users = shown.users,
            shards = shown.shards,
            selections = shown.selections,
            shape = shown.shape,
            fingerprint = format!("{:016x}", shown.fingerprint),
            "a call was slow"
        );
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // Given up by the client before there was an answer, or ended by a panic.
        self.count(Code::Cancelled, None);
    }
}

/// What lines about a call have in common.
struct Line<'a> {
    method: &'a str,
    milliseconds: u64,
    code: &'static str,
    reason: &'static str,
    request_id: &'a str,
    trace_id: &'a str,
}

impl Line<'_> {
    fn failed(&self) {
        tracing::error!(
            target: "headcount::calls",
            method = self.method,
            milliseconds = self.milliseconds,
            code = self.code,
            reason = self.reason,
            request_id = self.request_id,
            trace_id = self.trace_id,
            "a call failed by a fault of the service"
        );
    }

    fn ended(&self) {
        tracing::debug!(
            target: "headcount::calls",
            method = self.method,
            milliseconds = self.milliseconds,
            code = self.code,
            reason = self.reason,
            request_id = self.request_id,
            trace_id = self.trace_id,
            "a call ended"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::method;

    fn call(observer: &Observer) -> Observed {
        let count = method("/headcount.v1.QueryService/Count");
        observer.meters().begin(count, &Request::new(Body::empty()))
    }

    #[test]
    fn a_call_that_is_given_up_is_counted_as_such() {
        let observer = Observer::new(None);
        drop(call(&observer));
        let metrics = observer.metrics(Format::Prometheus);
        let count = "rpc_server_call_duration_seconds_count{rpc_system_name=\"grpc\",rpc_method=\"headcount.v1.QueryService/Count\",rpc_response_status_code=\"CANCELLED\"} 1\n";
        assert!(metrics.contains(count), "{metrics}");
        let in_flight =
            "headcount_calls_in_flight{rpc_method=\"headcount.v1.QueryService/Count\"} 0\n";
        assert!(metrics.contains(in_flight), "{metrics}");
        // Nobody was refused.
        assert!(metrics.contains("headcount_errors_total{reason=\"UNSPECIFIED\"} 0\n"));
    }

    #[test]
    fn a_call_that_panics_is_a_fault() {
        let observer = Observer::new(None);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _call = call(&observer);
            panic!("as a handler may");
        }));
        assert!(panicked.is_err());
        let metrics = observer.metrics(Format::Prometheus);
        let count = "rpc_server_call_duration_seconds_count{rpc_system_name=\"grpc\",rpc_method=\"headcount.v1.QueryService/Count\",rpc_response_status_code=\"INTERNAL\"} 1\n";
        assert!(metrics.contains(count), "{metrics}");
        assert!(metrics.contains("headcount_errors_total{reason=\"INTERNAL\"} 1\n"));
        assert!(!metrics.contains("CANCELLED"), "{metrics}");
    }

    #[test]
    fn only_calls_that_fail_or_are_slow_are_given_an_id() {
        let observer = Observer::new(Some(Duration::from_hours(1)));
        let mut headers = HeaderMap::new();
        call(&observer).end(Code::Ok, Some(&mut headers));
        assert!(headers.is_empty());
        call(&observer).end(Code::NotFound, Some(&mut headers));
        assert!(headers.contains_key(context::REQUEST_ID));
        let metrics = observer.metrics(Format::Prometheus);
        assert!(metrics.contains("headcount_errors_total{reason=\"UNSPECIFIED\"} 1\n"));

        let observer = Observer::new(Some(Duration::ZERO));
        let mut headers = HeaderMap::new();
        call(&observer).end(Code::Ok, Some(&mut headers));
        assert!(headers.contains_key(context::REQUEST_ID));
        let slow = "headcount_slow_calls_total{rpc_method=\"headcount.v1.QueryService/Count\"} 1\n";
        assert!(observer.metrics(Format::Prometheus).contains(slow));
    }
}
