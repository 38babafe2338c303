//! The admin port: HTTP for those who look after the service, beside the port for its clients.
//!
//! Invariants: it answers from before the store is opened until the process ends, on threads of its
//! own, also while those that serve are busy; what a client can make it do is bounded in connections,
//! bytes and time.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

use super::observe::{Format, Observer};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 16;
/// Bytes of the head of a request, at most: the least that hyper takes.
const HEAD_BYTES: usize = 8 << 10;
const HEADERS: usize = 64;
/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection may be open. Each has one request.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// How soon another connection is tried after one could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const PAGES: &str = "\
/livez    whether the threads that serve get round to anything
/readyz   whether the service is ready
/metrics  numbers, for Prometheus
";

/// The admin port of a service. It is closed when this is dropped.
#[derive(Debug)]
pub struct AdminPort {
    address: SocketAddr,
    _open: oneshot::Sender<()>,
}

/// A request for the metrics.
type Gathering = (Format, oneshot::Sender<String>);

impl AdminPort {
    /// Answers on a socket from now on.
    ///
    /// # Errors
    /// If the socket can't be used or no thread be started.
    pub fn open(listener: TcpListener, observer: Observer) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (open, closed) = oneshot::channel();
        let (gather, asked) = sync_channel(CONNECTIONS);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let gathering = observer.clone();
        std::thread::Builder::new()
            .name("metrics".into())
            .spawn(move || gather_metrics(&gathering, &asked))?;
        std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                runtime.block_on(async {
                    let listener = match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => listener,
                        Err(error) => {
                            tracing::error!(%error, "the admin port can't be used");
                            return;
                        }
                    };
                    tokio::select! {
                        () = accept(listener, observer, gather) => {}
                        _ = closed => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            _open: open,
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Gathers metrics, which may take a while, for as long as anybody can ask.
fn gather_metrics(observer: &Observer, asked: &Receiver<Gathering>) {
    while let Ok((format, answer)) = asked.recv() {
        if !answer.is_closed() {
            // Whoever asked may have gone.
            let _ = answer.send(observer.metrics(format));
        }
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    observer: Observer,
    gather: SyncSender<Gathering>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Most likely there are too many open files; it may pass.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (observer, gather) = (observer.clone(), gather.clone());
        tokio::spawn(async move {
            let _place = place;
            let answer = service_fn(|request| answer(&observer, &gather, request));
            let connection = http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(HEAD_BYTES)
                .max_headers(HEADERS)
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .serve_connection(TokioIo::new(stream), answer);
            // A client that goes away, or sends what is no HTTP, is nobody's fault.
            let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
        });
    }
}

/// Answers one request. Nothing is read but its head.
async fn answer(
    observer: &Observer,
    gather: &SyncSender<Gathering>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<String>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    Ok(match request.uri().path() {
        "/" => text(StatusCode::OK, PAGES),
        "/livez" if observer.is_alive().await => text(StatusCode::OK, "alive\n"),
        "/livez" => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "stuck: the threads that serve get round to nothing\n",
        ),
        "/readyz" => {
            let (is_ready, why) = observer.ready();
            let status = if is_ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            text(status, format!("{why}\n"))
        }
        "/metrics" => {
            let accept = request.headers().get(ACCEPT);
            let accept = accept.and_then(|accept| accept.to_str().ok());
            metrics(gather, Format::accepted(accept.unwrap_or_default())).await
        }
        _ => text(StatusCode::NOT_FOUND, format!("there is\n{PAGES}")),
    })
}

async fn metrics(gather: &SyncSender<Gathering>, format: Format) -> Response<String> {
    let (answer, gathered) = oneshot::channel();
    // There are no more that wait than connections.
    let is_asked = gather.try_send((format, answer)).is_ok();
    match gathered.await {
        Ok(metrics) if is_asked => {
            let mut response = text(StatusCode::OK, metrics);
            let content_type = HeaderValue::from_static(format.content_type());
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        Ok(_) | Err(_) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the metrics could not be gathered\n",
        ),
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<String> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
