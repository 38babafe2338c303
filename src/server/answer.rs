//! Large answers with one message, on their way to a client that may read slowly, or not at all.
//!
//! Invariants: a large answer keeps the place of its call until it was sent or the client has gone, so
//! that no more of them wait to be read than there may be calls. One of which nothing is read for as long
//! as the service is patient is forgotten, but for the part that the transport has already. A small
//! one goes as it is: it takes no more than an open stream does anyway.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Frame;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Response};
use tonic::codegen::{Body as HttpBody, Bytes};

use super::admission::Place;
use crate::api::{RpcStatus, unread};

/// An answer of no more bytes is small.
const SMALL: usize = 1_024;
/// How much the transport is given at once. It keeps that until there is room on the connection, and
/// it can't be taken back.
const PART: usize = 16 << 10;

/// Has an answer keep the place of its call for as long as the answer takes memory.
pub(super) async fn keep(
    response: Response<Body>,
    mut place: Place,
    patience: Duration,
) -> Response<Body> {
    let (head, mut body) = response.into_parts();
    // The transport asks for the first part only once there is room for it, which may be never.
    let first = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
    let body = match first {
        Some(Ok(frame)) if frame.data_ref().is_some_and(|data| data.len() > SMALL) => {
            place.answered();
            let rest = frame.into_data().unwrap_or_default();
            Body::new(Large::new(rest, body, place, patience))
        }
        first => Body::new(Small {
            first: Some(first),
            body,
        }),
    };
    Response::from_parts(head, body)
}

type Polled = Option<Result<Frame<Bytes>, RpcStatus>>;

/// An answer of which the first part is known.
struct Small {
    first: Option<Polled>,
    body: Body,
}

impl HttpBody for Small {
    type Data = Bytes;
    type Error = RpcStatus;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Polled> {
        let this = self.get_mut();
        match this.first.take() {
            Some(first) => Poll::Ready(first),
            None => Pin::new(&mut this.body).poll_frame(context),
        }
    }
}

/// An answer that keeps its place.
struct Large {
    sending: Arc<Mutex<Sending>>,
    watchdog: AbortHandle,
}

/// What of an answer was not sent yet.
struct Sending {
    /// Of its message.
    rest: Bytes,
    /// What comes behind the message.
    body: Body,
    /// Nothing once all was sent, or nobody read it.
    place: Option<Place>,
    /// When something of it was taken last.
    moved: Instant,
    /// What it ends with where nobody read it.
    end: Option<HeaderMap>,
}

impl Large {
    fn new(rest: Bytes, body: Body, place: Place, patience: Duration) -> Self {
        let sending = Arc::new(Mutex::new(Sending {
            rest,
            body,
            place: Some(place),
            moved: Instant::now(),
            end: None,
        }));
        // The answer itself is looked at only where there is room on the connection.
        let watched = tokio::spawn(watch(Arc::downgrade(&sending), patience));
        Self {
            sending,
            watchdog: watched.abort_handle(),
        }
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.watchdog.abort();
    }
}

/// Gives an answer up once nothing was taken of it for so long.
async fn watch(sending: Weak<Mutex<Sending>>, patience: Duration) {
    let mut until = Instant::now() + patience;
    loop {
        sleep_until(until).await;
        let Some(sending) = sending.upgrade() else {
            return;
        };
        let mut sending = lock(&sending);
        until = sending.moved + patience;
        if sending.place.is_none() {
            return;
        }
        if until <= Instant::now() {
            sending.give_up(patience);
            return;
        }
    }
}

fn lock(sending: &Mutex<Sending>) -> MutexGuard<'_, Sending> {
    // Each change is one step, so that nothing is half done.
    sending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sending {
    fn give_up(&mut self, patience: Duration) {
        self.rest = Bytes::new();
        self.body = Body::empty();
        self.place = None;
        let mut trailers = HeaderMap::new();
        // Without a status the client takes it for an answer that broke off, which it is.
        if unread(patience).add_header(&mut trailers).is_ok() {
            self.end = Some(trailers);
        }
    }
}

impl HttpBody for Large {
    type Data = Bytes;
    type Error = RpcStatus;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Polled> {
        let mut sending = lock(&self.sending);
        sending.moved = Instant::now();
        if !sending.rest.is_empty() {
            let most = sending.rest.len().min(PART);
            // A copy, so that the part that waits in the transport does not hold the whole.
            let part = Bytes::copy_from_slice(&sending.rest.split_to(most));
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if let Some(trailers) = sending.end.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut sending.body).poll_frame(context));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            sending.place = None;
        }
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tonic::Code;

    use super::super::admission::Admission;
    use super::super::config::ServerConfig;
    use super::*;
    use crate::api::method;

    const PATIENCE: Duration = Duration::from_millis(100);

    /// A message of so many bytes, and trailers.
    struct Made(VecDeque<Frame<Bytes>>);

    impl HttpBody for Made {
        type Data = Bytes;
        type Error = RpcStatus;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Polled> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    fn message(bytes: usize) -> Vec<u8> {
        (0..=250).cycle().take(bytes).collect()
    }

    async fn answer(admission: &Admission, bytes: usize) -> Body {
        let method = method("/headcount.v1.QueryService/Count");
        assert!(method.is_some());
        let request = tonic::codegen::http::Request::new(Body::empty());
        let (_, place) = admission.enter(method, request).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [
            Frame::data(message(bytes).into()),
            Frame::trailers(trailers),
        ];
        let body = Body::new(Made(frames.into()));
        keep(Response::new(body), place, PATIENCE).await.into_body()
    }

    async fn next(body: &mut Body) -> Polled {
        std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    }

    #[tokio::test]
    async fn answers_arrive_as_they_are() {
        let admission = Admission::new(&ServerConfig::default());
        for bytes in [0, 1, SMALL, SMALL + 1, PART, PART + 1, 5 * PART + 7] {
            let mut body = answer(&admission, bytes).await;
            let is_large = bytes > SMALL;
            assert_eq!(admission.calls(), usize::from(is_large), "{bytes}");
            let mut read = Vec::new();
            loop {
                match next(&mut body).await.unwrap().unwrap().into_data() {
                    Ok(data) => read.extend(data),
                    Err(frame) => {
                        assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], "0");
                        break;
                    }
                }
            }
            assert!(read == message(bytes), "{bytes}");
            assert_eq!(admission.calls(), 0, "{bytes}");
            assert!(next(&mut body).await.is_none());
        }
    }

    #[tokio::test]
    async fn what_nobody_reads_is_forgotten_and_its_place_is_free() {
        let admission = Admission::new(&ServerConfig::default());
        let mut begun = answer(&admission, 5 * PART).await;
        let _untouched = answer(&admission, 5 * PART).await;
        assert_eq!(admission.calls(), 2);
        // Who reads now and then is not given up.
        for _ in 0..3 {
            tokio::time::sleep(PATIENCE * 3 / 5).await;
            assert!(next(&mut begun).await.unwrap().unwrap().is_data());
        }
        assert_eq!(admission.calls(), 1, "nothing was read of the other");
        tokio::time::sleep(PATIENCE * 2).await;
        assert_eq!(admission.calls(), 0);
        let end = next(&mut begun).await.unwrap().unwrap();
        let status = RpcStatus::from_header_map(end.trailers_ref().unwrap()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("100ms"), "{}", status.message());
        assert!(next(&mut begun).await.is_none());
    }

    #[tokio::test]
    async fn who_leaves_gives_the_place_back_at_once() {
        let admission = Admission::new(&ServerConfig::default());
        let body = answer(&admission, 5 * PART).await;
        assert_eq!(admission.calls(), 1);
        drop(body);
        assert_eq!(admission.calls(), 0);
    }
}
