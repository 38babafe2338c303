//! The body of a request, counted and timed while it comes in.
//!
//! Invariant: of each message so many bytes are counted as are held of it, but for the first
//! [`SMALL`], which the number of calls bounds; and each has so long to arrive, so that no sender
//! holds what it takes for ever. Time in which the service itself does not read is none of the sender's.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes};

use super::super::framing::Framing;
use super::bytes::{LIMIT, Share};
use crate::api::{RpcStatus, overloaded, too_slow};

/// A message of no more bytes is not counted: a check, which is smaller, pays nothing.
const SMALL: usize = 1_024;

/// How often who waits for a message is woken while it waits, in the time that the message has.
const LOOKS: u32 = 16;

/// The body of a request.
pub(crate) struct RequestBody {
    body: Body,
    share: Share,
    /// Bytes that came and were not taken by the service yet; of a call with one message, all.
    arrived: usize,
    /// Where messages end; one message ends with its call.
    messages: Option<Framing>,
    timeout: Duration,
    /// Nothing where a message came whole.
    wait: Option<Wait>,
}

/// How long the rest of a message is awaited. Who waits looks again every so often, so that a longer
/// time in which nobody looked is one in which nobody read.
struct Wait {
    waited: Duration,
    looked: Instant,
    timer: Pin<Box<Sleep>>,
}

impl RequestBody {
    pub(super) fn new(body: Body, share: Share, is_stream: bool, timeout: Duration) -> Self {
        Self {
            body,
            share,
            arrived: 0,
            messages: is_stream.then(Framing::default),
            timeout,
            wait: None,
        }
    }

    /// Notes that somebody asks for more: what was whole has been taken.
    fn taken(&mut self) {
        let Some(messages) = &self.messages else {
            return;
        };
        if self.arrived > messages.partial() {
            self.arrived = messages.partial();
            self.share.keep(if self.arrived > SMALL {
                self.arrived
            } else {
                0
            });
            // The next message has its own time.
            self.wait = None;
        }
    }

    /// Notes that something came.
    fn came(&mut self, data: &Bytes) -> Result<(), RpcStatus> {
        let before = self.arrived;
        self.arrived += data.len();
        if let Some(messages) = &mut self.messages {
            messages.pass(data);
        }
        if self.arrived <= SMALL {
            return Ok(());
        }
        let counted = if before > SMALL { before } else { 0 };
        if self.share.more(self.arrived - counted) {
            Ok(())
        } else {
            Err(overloaded(LIMIT, self.share.budget().most()))
        }
    }

    /// Notes that somebody waits for the rest of a message. Resolves when that took too long.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let look = self.timeout / LOOKS;
        let wait = self.wait.get_or_insert_with(|| Wait {
            waited: Duration::ZERO,
            looked: Instant::now(),
            timer: Box::pin(sleep(look)),
        });
        let now = Instant::now();
        wait.waited += now.duration_since(wait.looked).min(look);
        wait.looked = now;
        if wait.waited >= self.timeout {
            return Poll::Ready(());
        }
        // A message has at least so long, so that this is over only where that is next to nothing.
        wait.timer.as_mut().reset(now + look);
        wait.timer.as_mut().poll(context)
    }

    /// Whether a message is awaited, or its rest. Between two messages a stream may be silent.
    fn awaits_message(&self) -> bool {
        self.messages.as_ref().is_none_or(|m| m.partial() > 0)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = RpcStatus;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RpcStatus>>> {
        let this = self.get_mut();
        this.taken();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let came = frame.data_ref().map_or(Ok(()), |data| this.came(data));
                Poll::Ready(Some(came.map(|()| frame)))
            }
            Poll::Pending if this.awaits_message() => {
                let timeout = this.timeout;
                this.wait(context)
                    .map(|()| Some(Err(too_slow("body_timeout", timeout))))
            }
            other @ (Poll::Ready(_) | Poll::Pending) => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::super::bytes::{Budget, Taken};
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.resize(5 + length as usize, 7);
        bytes
    }

    /// A body that is sent by hand.
    struct Sent(mpsc::Receiver<Vec<u8>>);

    impl HttpBody for Sent {
        type Data = Bytes;
        type Error = RpcStatus;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, RpcStatus>>> {
            let polled = self.0.poll_recv(context);
            polled.map(|data| data.map(|data| Ok(Frame::data(data.into()))))
        }
    }

    fn body(
        budget: &Arc<Budget>,
        is_stream: bool,
    ) -> (mpsc::Sender<Vec<u8>>, Pin<Box<RequestBody>>) {
        let (sender, receiver) = mpsc::channel(4);
        let share = Share::OfBody(Taken::of(budget));
        let timeout = Duration::from_millis(50);
        let body = RequestBody::new(Body::new(Sent(receiver)), share, is_stream, timeout);
        (sender, Box::pin(body))
    }

    async fn next(body: &mut Pin<Box<RequestBody>>) -> Option<Result<usize, RpcStatus>> {
        let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await;
        frame.map(|frame| frame.map(|frame| frame.data_ref().map_or(0, Bytes::len)))
    }

    #[tokio::test]
    async fn bytes_are_counted_until_the_body_is_gone() {
        let budget = Arc::new(Budget::new(10_000));
        let taken = || budget.fullness().taken;
        let (sender, mut first) = body(&budget, false);
        for (sent, counted) in [(SMALL, 0), (1, SMALL + 1), (4_000, SMALL + 4_001)] {
            sender.try_send(vec![0; sent]).unwrap();
            assert_eq!(next(&mut first).await.unwrap().unwrap(), sent);
            assert_eq!(taken(), counted);
        }
        let (other, mut second) = body(&budget, false);
        other.try_send(vec![0; 10_000 - SMALL - 4_000]).unwrap();
        let refused = next(&mut second).await.unwrap().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        drop(first);
        assert_eq!(taken(), 0);
    }

    #[tokio::test]
    async fn of_a_stream_only_what_is_not_whole_is_counted() {
        let budget = Arc::new(Budget::new(1 << 20));
        let taken = || budget.fullness().taken;
        let (sender, mut stream) = body(&budget, true);
        let whole = message(5_000);
        sender.try_send(whole.clone()).unwrap();
        next(&mut stream).await.unwrap().unwrap();
        assert_eq!(taken(), whole.len());
        // With the next one, what came before is given back.
        sender.try_send(whole[..2_000].to_vec()).unwrap();
        next(&mut stream).await.unwrap().unwrap();
        assert_eq!(taken(), 2_000);
        sender.try_send(whole[2_000..].to_vec()).unwrap();
        next(&mut stream).await.unwrap().unwrap();
        assert_eq!(taken(), whole.len());
        drop(sender);
        assert!(next(&mut stream).await.is_none());
        assert_eq!(taken(), 0);
    }

    #[tokio::test]
    async fn a_message_has_so_long_to_arrive_and_a_silent_stream_has_for_ever() {
        let budget = Arc::new(Budget::new(1 << 20));
        let (_nothing, mut unary) = body(&budget, false);
        let slow = next(&mut unary).await.unwrap().unwrap_err();
        assert_eq!(slow.code(), tonic::Code::DeadlineExceeded);

        let (sender, mut stream) = body(&budget, true);
        let silent = tokio::time::timeout(Duration::from_millis(200), next(&mut stream));
        assert!(silent.await.is_err());
        sender.try_send(message(100)).unwrap();
        next(&mut stream).await.unwrap().unwrap();
        let silent = tokio::time::timeout(Duration::from_millis(200), next(&mut stream));
        assert!(silent.await.is_err());
        sender.try_send(message(100)[..50].to_vec()).unwrap();
        next(&mut stream).await.unwrap().unwrap();
        let slow = next(&mut stream).await.unwrap().unwrap_err();
        assert_eq!(slow.code(), tonic::Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn while_the_service_does_not_read_the_time_of_a_message_stands_still() {
        let budget = Arc::new(Budget::new(1 << 20));
        let (sender, mut stream) = body(&budget, true);
        let whole = message(100);
        sender.try_send(whole[..50].to_vec()).unwrap();
        next(&mut stream).await.unwrap().unwrap();
        // Somebody waits for the rest, and does something else then.
        for _ in 0..3 {
            let waiting = std::future::poll_fn(|context| {
                Poll::Ready(stream.as_mut().poll_frame(context).is_pending())
            });
            assert!(waiting.await);
            sleep(Duration::from_millis(100)).await;
        }
        sender.try_send(whole[50..80].to_vec()).unwrap();
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), 30);
        // Who sends bit by bit is too slow all the same.
        let trickle = async {
            for byte in &whole[80..] {
                sleep(Duration::from_millis(10)).await;
                if sender.send(vec![*byte]).await.is_err() {
                    return;
                }
            }
        };
        let reading = async {
            loop {
                if let Err(slow) = next(&mut stream).await.unwrap() {
                    return slow;
                }
            }
        };
        let slow = tokio::select! {
            slow = reading => slow,
            () = trickle => panic!("all of it was taken"),
        };
        assert_eq!(slow.code(), tonic::Code::DeadlineExceeded);
    }
}
