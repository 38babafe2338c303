//! Connections, in the clear or by TLS, and who is at the other end.
//!
//! Invariant: a handshake has a bounded time, and so many at once; however slow some are, others are
//! accepted beside them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::rustls;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::{Connected, TcpIncoming};

use super::tokens::Hash;
use crate::model::sha256;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many may be under way. Of one more, the oldest gives way: an honest one takes milliseconds.
const HANDSHAKES: usize = 512;
/// Connections that wait to be served.
const WAITING: usize = 64;
/// How long nothing is accepted after that failed, as it does where files are short.
const PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The hash of the certificate that the client showed and was checked.
    pub(super) certificate: Option<Hash>,
}

/// A connection with a client.
pub(super) enum Connection {
    Plain(TcpStream),
    Secure {
        stream: Box<TlsStream<TcpStream>>,
        certificate: Option<Hash>,
    },
}

/// The connections that come in on a socket until `closing` turns true.
pub(super) fn connections(
    listener: TcpListener,
    tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    closing: watch::Receiver<bool>,
) -> Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>> {
    match tls {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Box::pin(incoming.map(|accepted| accepted.map(Connection::Plain)))
        }
        Some(tls) => {
            let (secure, receiver) = mpsc::channel(WAITING);
            tokio::spawn(accept(listener, tls, closing, secure));
            Box::pin(ReceiverStream::new(receiver))
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Arc<ArcSwap<rustls::ServerConfig>>,
    mut closing: watch::Receiver<bool>,
    secure: mpsc::Sender<io::Result<Connection>>,
) {
    let mut handshakes = Handshakes::default();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            () = secure.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (tls, secure) = (tls.load_full(), secure.clone());
        handshakes.begin(async move {
            if let Ok(Ok(connection)) = timeout(HANDSHAKE, handshake(stream, tls)).await {
                let _ = secure.send(Ok(connection)).await;
            }
        });
    }
}

/// Becomes of a connection what is said in secret, if the client can.
async fn handshake(stream: TcpStream, tls: Arc<rustls::ServerConfig>) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let stream = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await?;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(|chain| chain.first());
    Ok(Connection::Secure {
        certificate: certificate.map(|certificate| sha256(certificate)),
        stream: Box::new(stream),
    })
}

/// The handshakes that are under way; all end when this is dropped.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<()>,
    /// From the oldest on.
    begun: VecDeque<AbortHandle>,
}

impl Handshakes {
    fn begin(&mut self, handshake: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        if self.begun.len() >= HANDSHAKES {
            self.begun.retain(|task| !task.is_finished());
        }
        if self.begun.len() >= HANDSHAKES
            && let Some(oldest) = self.begun.pop_front()
        {
            oldest.abort();
        }
        self.begun.push_back(self.tasks.spawn(handshake));
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        let certificate = match self {
            Self::Plain(_) => None,
            Self::Secure { certificate, .. } => *certificate,
        };
        Peer { certificate }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secure { stream, .. } => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secure { stream, .. } => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Secure { stream, .. } => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secure { stream, .. } => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secure { stream, .. } => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secure { stream, .. } => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn the_oldest_handshake_gives_way_and_no_more_than_so_many_are_under_way() {
        let under_way = Arc::new(AtomicUsize::new(0));
        let mut handshakes = Handshakes::default();
        for _ in 0..3 * HANDSHAKES {
            under_way.fetch_add(1, Ordering::SeqCst);
            let counted = Counted(Arc::clone(&under_way));
            handshakes.begin(async move {
                let _counted = counted;
                std::future::pending::<()>().await;
            });
            tokio::task::yield_now().await;
            assert!(under_way.load(Ordering::SeqCst) <= HANDSHAKES + 1);
            assert!(handshakes.tasks.len() <= HANDSHAKES + 2);
        }
        let honest = tokio::sync::oneshot::channel();
        handshakes.begin(async move {
            let _ = honest.0.send(());
        });
        honest.1.await.unwrap();
        drop(handshakes);
        let ended = timeout(HANDSHAKE, async {
            while under_way.load(Ordering::SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        });
        ended.await.expect("all end with what they belong to");
    }
}
