//! The messages of a stream on their way to a client that may read slowly, or not at all.
//!
//! Invariants: no more than a few messages wait. A stream of which nothing is read for as long as the
//! service is patient is ended, what waited is forgotten, and whoever made it is told to stop, so
//! that nothing is kept for it. A stream that is not whole ends with an error, whenever it is read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_stream::Stream;

use super::RpcStatus;
use super::error::ApiError;

/// Both ends of a stream of which so many messages may wait for so long.
pub(super) fn parts<T>(most: usize, patience: Duration) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            waiting: VecDeque::new(),
            end: None,
            is_read: true,
            reader: None,
        }),
        room: Notify::new(),
        left: Notify::new(),
    });
    let sender = Sender {
        shared: Arc::clone(&shared),
        most,
        patience,
    };
    (sender, Receiver(shared))
}

/// Nobody reads any more: who asked has gone, or was given up.
#[derive(Debug)]
pub(super) struct Gone;

/// The end that messages are put into. One that is dropped ends the stream well.
pub(super) struct Sender<T> {
    shared: Arc<Shared<T>>,
    most: usize,
    patience: Duration,
}

/// The end that the transport reads.
pub struct Receiver<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    /// A message was taken, or nobody takes any more.
    room: Notify,
    /// Nobody takes any more.
    left: Notify,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// How the stream ends, behind what waits.
    end: Option<Result<(), RpcStatus>>,
    is_read: bool,
    reader: Option<Waker>,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Each change is one step, so that nothing is half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn end(&mut self, end: Result<(), RpcStatus>) {
        self.end.get_or_insert(end);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl<T> Sender<T> {
    /// Waits until there is room for a message, and gives up a client that makes none.
    ///
    /// # Errors
    /// [`Gone`] if nobody reads any more.
    pub(super) async fn room(&self) -> Result<(), Gone> {
        let room = async {
            loop {
                {
                    let state = self.shared.state();
                    if !state.is_read || state.end.is_some() {
                        return Err(Gone);
                    }
                    if state.waiting.len() < self.most {
                        return Ok(());
                    }
                }
                self.shared.room.notified().await;
            }
        };
        if let Ok(room) = timeout(self.patience, room).await {
            return room;
        }
        let mut state = self.shared.state();
        state.waiting.clear();
        state.end(Err(ApiError::unread(self.patience).into()));
        Err(Gone)
    }

    /// Puts in a message for which there is room.
    pub(super) fn push(&self, message: T) {
        let mut state = self.shared.state();
        state.waiting.push_back(message);
        state.wake();
    }

    /// Puts in a message once there is room.
    ///
    /// # Errors
    /// [`Gone`] if nobody reads any more.
    pub(super) async fn send(&self, message: T) -> Result<(), Gone> {
        self.room().await?;
        self.push(message);
        Ok(())
    }

    /// Ends the stream with an error behind what waits, so that it is not taken for a whole one.
    pub(super) fn fail(self, error: impl Into<RpcStatus>) {
        self.shared.state().end(Err(error.into()));
    }

    /// Resolves when nobody reads any more.
    pub(super) async fn closed(&self) {
        while self.shared.state().is_read {
            self.shared.left.notified().await;
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.state().end(Ok(()));
    }
}

impl<T> Stream for Receiver<T> {
    type Item = Result<T, RpcStatus>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state();
        if let Some(message) = state.waiting.pop_front() {
            drop(state);
            self.0.room.notify_one();
            return Poll::Ready(Some(Ok(message)));
        }
        match &mut state.end {
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
            Some(end) => {
                let end = std::mem::replace(end, Ok(()));
                Poll::Ready(end.err().map(Err))
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_read = false;
        state.waiting.clear();
        drop(state);
        self.0.room.notify_one();
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);
    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn messages_come_in_order_and_wait_for_room() {
        let (sender, mut receiver) = parts(2, PATIENCE);
        sender.send(1).await.unwrap();
        sender.send(2).await.unwrap();
        let third = timeout(MOMENT, sender.send(3)).await;
        assert!(third.is_err(), "there is no room");
        assert_eq!(receiver.next().await.unwrap().unwrap(), 1);
        sender.send(3).await.unwrap();
        drop(sender);
        let mut rest = Vec::new();
        while let Some(message) = receiver.next().await {
            rest.push(message.unwrap());
        }
        assert_eq!(rest, [2, 3]);
    }

    #[tokio::test]
    async fn who_reads_nothing_is_given_up_and_told_when_they_read() {
        let (sender, mut receiver) = parts(2, PATIENCE);
        sender.send(1).await.unwrap();
        sender.send(2).await.unwrap();
        let began = Instant::now();
        assert!(sender.send(3).await.is_err());
        assert!(began.elapsed() >= PATIENCE);
        assert!(sender.send(4).await.is_err(), "given up for good");
        drop(sender);
        // What waited is gone, and the end is no good one.
        let end = receiver.next().await.unwrap().unwrap_err();
        assert_eq!(end.code(), Code::DeadlineExceeded);
        assert!(end.message().contains("for 200ms"), "{}", end.message());
        assert!(receiver.next().await.is_none());
    }

    #[tokio::test]
    async fn who_reads_now_and_then_is_not_given_up() {
        let (sender, mut receiver) = parts(1, PATIENCE);
        let reading = tokio::spawn(async move {
            let mut read = 0;
            while let Some(message) = receiver.next().await {
                message.unwrap();
                read += 1;
                tokio::time::sleep(PATIENCE / 5).await;
            }
            read
        });
        for message in 0..10 {
            sender.send(message).await.unwrap();
        }
        drop(sender);
        assert_eq!(reading.await.unwrap(), 10);
    }

    #[tokio::test]
    async fn an_error_comes_behind_what_waits() {
        let (sender, mut receiver) = parts(2, PATIENCE);
        sender.send(1).await.unwrap();
        sender.fail(ApiError::stopping());
        assert_eq!(receiver.next().await.unwrap().unwrap(), 1);
        let end = receiver.next().await.unwrap().unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn who_leaves_is_noticed() {
        let (sender, receiver) = parts(1, PATIENCE);
        sender.send(1).await.unwrap();
        let (sent, (), ()) = tokio::join!(sender.send(2), sender.closed(), async {
            tokio::time::sleep(MOMENT).await;
            drop(receiver);
        });
        assert!(sent.is_err());
    }
}
