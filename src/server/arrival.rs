//! Large messages are handed on once they are whole.
//!
//! The transport makes room for a message as soon as its length is announced: five bytes that announce
//! 4 MiB took 2 MiB of memory each, whether anything followed or not.
//!
//! Invariant: what is held of a message is what came of it, and no more.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Frame, SizeHint};
use tonic::codegen::http::Request;
use tonic::codegen::{Body as HttpBody, Bytes, Service};
use tonic::server::NamedService;

use super::framing::Framing;

/// A message of no more bytes is handed on as it comes.
const SMALL: usize = 16 << 10;

/// A service that takes messages up to a size.
#[derive(Clone)]
pub(super) struct Arriving<S> {
    pub(super) inner: S,
    /// What is longer is refused by the service, so that nobody waits for it.
    pub(super) most: usize,
}

impl<S: NamedService> NamedService for Arriving<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Arriving<S>
where
    S: Service<Request<Whole<B>>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let most = self.most;
        self.inner.call(request.map(|body| Whole::new(body, most)))
    }
}

/// A body of which large messages come whole.
pub(super) struct Whole<B> {
    body: B,
    most: usize,
    /// How far it came.
    framing: Framing,
    /// What came of a message that is not whole.
    held: Vec<u8>,
    /// What came behind what is held.
    after: Option<Frame<Bytes>>,
    has_ended: bool,
}

impl<B> Whole<B> {
    fn new(body: B, most: usize) -> Self {
        Self {
            body,
            most,
            framing: Framing::default(),
            held: Vec::new(),
            after: None,
            has_ended: false,
        }
    }

    /// Whether the rest of a large message is awaited.
    fn awaits_rest(&self) -> bool {
        let length = self.framing.announced();
        length.is_some_and(|length| length > SMALL && length <= self.most)
    }

    fn take_held(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Whole<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if let Some(after) = this.after.take() {
            return Poll::Ready(Some(Ok(after)));
        }
        while !this.has_ended {
            let Some(next) = ready!(Pin::new(&mut this.body).poll_frame(context)) else {
                this.has_ended = true;
                break;
            };
            match next?.into_data() {
                Ok(data) => {
                    this.framing.pass(&data);
                    if this.awaits_rest() {
                        this.held.extend_from_slice(&data);
                        continue;
                    }
                    if this.held.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    this.held.extend_from_slice(&data);
                }
                Err(other) if this.held.is_empty() => return Poll::Ready(Some(Ok(other))),
                Err(other) => this.after = Some(other),
            }
            return Poll::Ready(Some(Ok(Frame::data(this.take_held()))));
        }
        if this.held.is_empty() {
            return Poll::Ready(None);
        }
        // Whoever reads it says that the rest is missing.
        Poll::Ready(Some(Ok(Frame::data(this.take_held()))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.after.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// What came, part by part.
    struct Parts(VecDeque<Vec<u8>>);

    impl HttpBody for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let part = self.0.pop_front();
            Poll::Ready(part.map(|part| Ok(Frame::data(part.into()))))
        }
    }

    /// How many bytes are handed on at once of a body that comes in parts.
    async fn handed_on(bytes: &[u8], part: usize, most: usize) -> Vec<usize> {
        let parts = bytes.chunks(part).map(<[u8]>::to_vec).collect();
        let mut body = Whole::new(Parts(parts), most);
        let mut all = Vec::new();
        let mut lengths = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            let data = frame.unwrap().into_data().unwrap();
            lengths.push(data.len());
            all.extend(data);
        }
        assert_eq!(all, bytes);
        lengths
    }

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.extend((0..=250_u8).cycle().take(length));
        bytes
    }

    #[tokio::test]
    async fn a_large_message_is_handed_on_whole() {
        let bytes = message(100_000);
        assert_eq!(handed_on(&bytes, 1_000, 200_000).await, [100_005]);
        assert_eq!(handed_on(&bytes, 200_000, 200_000).await, [100_005]);
        // Its header may come byte by byte, which costs nothing.
        assert_eq!(handed_on(&bytes, 1, 200_000).await, [1, 1, 1, 1, 100_001]);
    }

    #[tokio::test]
    async fn what_is_small_and_what_is_refused_is_handed_on_as_it_comes() {
        assert_eq!(handed_on(&message(95), 50, 200_000).await, [50, 50]);
        assert_eq!(handed_on(&message(SMALL), 10_000, 200_000).await.len(), 2);
        assert_eq!(
            handed_on(&message(SMALL + 1), 10_000, 200_000).await.len(),
            1
        );
        assert_eq!(handed_on(&message(99_995), 50_000, 99_995).await.len(), 1);
        assert_eq!(handed_on(&message(99_995), 50_000, 99_994).await.len(), 2);
    }

    #[tokio::test]
    async fn messages_of_a_stream_come_in_their_order() {
        let bytes = [
            message(10),
            message(50_000),
            message(0),
            message(60_000),
            message(3),
        ];
        let bytes = bytes.concat();
        for part in [1, 3, 7, 1_000, 50_020, 1 << 20] {
            handed_on(&bytes, part, 1 << 20).await;
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_noticed_by_whoever_reads() {
        let bytes = &message(100_000)[..70_000];
        assert_eq!(handed_on(bytes, 1_000, 200_000).await, [70_000]);
    }
}
