//! How many connections there may be, and how long one may take to say what it is.
//!
//! Invariant: connections never take the last files that the process may open, which the store needs
//! for its log; a seat is free again as soon as its connection is gone.
//!
//! A connection that is one too many is accepted and closed at once. One that was not accepted would
//! look to its client like a service that is slow: the system completes the connection, and the call
//! waits until its deadline. One that is closed is an error at once, on which clients try elsewhere,
//! and wait longer each time before they come back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::config::ServerConfig;

/// Files that are kept for what is no connection with a seat: log and snapshots, backups of them, and
/// connections that are not secure yet.
const FILES_KEPT: u64 = 1_024;
/// How many bytes every client of HTTP/2 begins with.
const PREFACE: usize = 24;
/// How long nothing is accepted once the system refused to: it most likely will again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is said that connections are refused.
const TOLD: Duration = Duration::from_mins(1);

/// How many connections there may be where so many are wanted: fewer if the process can't open as
/// many files.
fn affordable(wanted: usize) -> usize {
    let most = files((wanted as u64).saturating_add(FILES_KEPT)).map_or(wanted, |files| {
        let kept = FILES_KEPT.min(files / 2);
        usize::try_from(files - kept).unwrap_or(usize::MAX)
    });
    if most < wanted {
        tracing::warn!(
            "no more than {most} connections are served instead of {wanted}, since this process may not open more files"
        );
    }
    wanted.min(most)
}

/// How many files the process may open, once it has asked for as many as it needs. `None` if any
/// number, or where nobody knows.
#[cfg(target_os = "linux")]
fn files(needed: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    let raised = maximum.map_or(needed, |maximum| needed.min(maximum));
    let limit = Rlimit {
        current: Some(raised),
        maximum,
    };
    if raised > current && setrlimit(Resource::Nofile, limit).is_ok() {
        return Some(raised);
    }
    Some(current)
}

#[cfg(not(target_os = "linux"))]
fn files(_needed: u64) -> Option<u64> {
    None
}

/// How many seats there are, and are taken. Clones count the same seats.
#[derive(Clone, Debug)]
pub(super) struct SeatCount {
    free: Arc<Semaphore>,
    limit: usize,
    refused: Arc<AtomicU64>,
}

impl SeatCount {
    fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(limit)),
            limit,
            refused: Arc::default(),
        }
    }

    /// How many connections have a seat.
    pub(super) fn taken(&self) -> u64 {
        self.limit.saturating_sub(self.free.available_permits()) as u64
    }

    /// How many there may be.
    pub(super) fn limit(&self) -> u64 {
        self.limit as u64
    }

    /// How many connections were not let in since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The connections that come in, as far as there are seats for them.
pub(super) struct Seats<S> {
    incoming: S,
    count: SeatCount,
    /// How long a connection may take to begin.
    patience: Duration,
    /// Until when nothing is accepted.
    pause: Option<Pin<Box<Sleep>>>,
    refused: Refused,
}

impl<S> Seats<S> {
    /// Lets in as many connections as a server is to have.
    pub(super) fn of(incoming: S, config: &ServerConfig) -> Self {
        let most = affordable(config.connections);
        Self::new(incoming, most, config.handshake_timeout)
    }

    /// What counts them.
    pub(super) fn count(&self) -> SeatCount {
        self.count.clone()
    }

    /// Lets in so many connections at once, which may take so long to begin.
    fn new(incoming: S, most: usize, patience: Duration) -> Self {
        Self {
            incoming,
            count: SeatCount::new(most),
            patience,
            pause: None,
            refused: Refused {
                count: 0,
                told: None,
            },
        }
    }
}

impl<S, T> Stream for Seats<S>
where
    S: Stream<Item = io::Result<T>> + Unpin,
{
    type Item = io::Result<Seated<T>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(context));
                this.pause = None;
            }
            match ready!(Pin::new(&mut this.incoming).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Ok(io)) => {
                    if let Ok(seat) = Arc::clone(&this.count.free).try_acquire_owned() {
                        return Poll::Ready(Some(Ok(Seated {
                            io,
                            beginning: Some(Beginning {
                                missing: PREFACE,
                                end: Box::pin(sleep(this.patience)),
                            }),
                            _seat: seat,
                        })));
                    }
                    drop(io);
                    this.count.refused.fetch_add(1, Ordering::Relaxed);
                    this.refused.tell("all seats are taken");
                }
                Some(Err(error)) => {
                    this.count.refused.fetch_add(1, Ordering::Relaxed);
                    this.refused.tell(&error.to_string());
                    this.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}

/// The connections that were not let in.
struct Refused {
    /// Those that were not told of.
    count: u64,
    told: Option<Instant>,
}

impl Refused {
    /// Says so, but not for each of many.
    fn tell(&mut self, cause: &str) {
        self.count += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TOLD) {
            self.told = Some(Instant::now());
            tracing::warn!("{} connections were not let in: {cause}", self.count);
            self.count = 0;
        }
    }
}

/// A connection with its seat.
pub(super) struct Seated<T> {
    io: T,
    /// Nothing once it has begun.
    beginning: Option<Beginning>,
    _seat: OwnedSemaphorePermit,
}

/// What a connection has to send, and until when.
struct Beginning {
    missing: usize,
    end: Pin<Box<Sleep>>,
}

impl<T: Connected> Connected for Seated<T> {
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Seated<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(beginning) = &mut this.beginning else {
            return Pin::new(&mut this.io).poll_read(context, buffer);
        };
        if beginning.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        beginning.missing = beginning.missing.saturating_sub(read);
        if beginning.missing == 0 {
            this.beginning = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Seated<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_stream::StreamExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    type Coming = io::Result<DuplexStream>;

    fn connections(
        incoming: Vec<Coming>,
        most: usize,
    ) -> Seats<impl Stream<Item = Coming> + Unpin> {
        Seats::new(tokio_stream::iter(incoming), most, PATIENCE)
    }

    #[tokio::test]
    async fn one_too_many_is_closed_at_once_and_a_seat_is_free_again() {
        let (first, _kept) = duplex(64);
        let (second, mut refused) = duplex(64);
        let mut connections = connections(vec![Ok(first), Ok(second)], 1);
        let seated = connections.next().await.unwrap().unwrap();
        assert!(connections.next().await.is_none(), "there is one seat");
        assert_eq!(refused.read(&mut [0; 8]).await.unwrap(), 0, "it is closed");
        let count = connections.count();
        assert_eq!((count.taken(), count.limit(), count.refused()), (1, 1, 1));
        drop(seated);
        assert_eq!((count.taken(), count.refused()), (0, 1));
    }

    #[tokio::test]
    async fn an_error_of_the_system_is_no_reason_to_spin_or_to_end() {
        let (io, _kept) = duplex(64);
        let error = || Err(io::Error::other("too many files"));
        let mut connections = connections(vec![error(), error(), Ok(io)], 1);
        let began = Instant::now();
        assert!(connections.next().await.unwrap().is_ok());
        assert!(began.elapsed() >= 2 * PAUSE);
    }

    #[tokio::test]
    async fn who_does_not_begin_is_given_up() {
        let (io, mut client) = duplex(64);
        let mut connection = connections(vec![Ok(io)], 1).next().await.unwrap().unwrap();
        client.write_all(&[0; PREFACE - 1]).await.unwrap();
        let mut bytes = [0; 64];
        let read = connection.read(&mut bytes).await.unwrap();
        assert_eq!(read, PREFACE - 1);
        let began = Instant::now();
        let error = connection.read(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < 50 * PATIENCE);
    }

    #[tokio::test]
    async fn who_has_begun_may_take_any_time() {
        let (io, mut client) = duplex(64);
        let mut connection = connections(vec![Ok(io)], 1).next().await.unwrap().unwrap();
        client.write_all(&[0; PREFACE]).await.unwrap();
        let mut bytes = [0; 64];
        assert_eq!(connection.read(&mut bytes).await.unwrap(), PREFACE);
        sleep(2 * PATIENCE).await;
        client.write_all(b"more").await.unwrap();
        assert_eq!(connection.read(&mut bytes).await.unwrap(), 4);
    }

    #[test]
    fn files_are_kept_for_the_store() {
        assert_eq!(affordable(10), 10);
        #[cfg(target_os = "linux")]
        {
            let files = files(0).unwrap();
            let most = usize::try_from(files).unwrap();
            assert!(affordable(10 * most) < 10 * most);
        }
    }
}
