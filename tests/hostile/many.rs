//! More streams and more connections than anybody needs.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::{SOON, Server};
use crate::raw::{CHECK, PREFACE, Raw, call, kind};

/// The error of a stream that was not begun.
const REFUSED: [u8; 4] = [0, 0, 0, 7];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_connection() {
    const STREAMS: u32 = 5_000;
    let server = Server::start(&[]).await;
    let attack = async {
        let mut raw = Raw::begin(server.address).await;
        let calls: Vec<u8> = (0..STREAMS)
            .flat_map(|number| call(2 * number + 1, CHECK, 0))
            .collect();
        raw.send(&calls).await;
        // All that are too many are refused, each by itself.
        let mut refused = 0;
        while refused < STREAMS - 1_024 {
            let (kind, _, content) = raw.read().await.expect("it is not ended");
            if kind == kind::RESET {
                assert_eq!(content, REFUSED);
                refused += 1;
            }
        }
    };
    server
        .withstands("streams of one connection", 48, attack)
        .await;
}

async fn is_closed(socket: &mut TcpStream) -> bool {
    let read = timeout(Duration::from_millis(1), socket.read(&mut [0; 1_024])).await;
    match read {
        Err(_) => false,
        Ok(Ok(read)) => read == 0,
        Ok(Err(_)) => true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit() {
    // Room for those of the test and the honest client.
    let server = Server::start(&["--max-connections", "100", "--handshake-timeout", "3s"]).await;
    let attack = async {
        let mut sockets = Vec::new();
        for _ in 0..1_000 {
            sockets.push(TcpStream::connect(server.address).await.unwrap());
        }
        // Those that are too many are closed at once, while the others may still begin.
        let began = Instant::now();
        let mut open = sockets.len();
        while open >= 100 {
            assert!(began.elapsed() < SOON, "{open} are open");
            let mut kept = Vec::new();
            for mut socket in sockets {
                if !is_closed(&mut socket).await {
                    kept.push(socket);
                }
            }
            sockets = kept;
            open = sockets.len();
        }
        assert!(server.files() <= server.idle_files() + 110);
        // Those that send nothing are closed before long.
        let began = Instant::now();
        for socket in &mut sockets {
            while !is_closed(socket).await {
                assert!(began.elapsed() < SOON, "some are open");
            }
        }
    };
    server
        .withstands("connections beyond the limit", 32, attack)
        .await;
    assert!(server.log().contains("connections were not let in"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_connections() {
    const CONNECTIONS: usize = 2_000;
    let server = Server::start(&["--handshake-timeout", "2s"]).await;
    let attack = async {
        let mut sockets = Vec::new();
        for number in 0..CONNECTIONS {
            let mut raw = Raw::connect(server.address).await;
            // Some never end to begin.
            raw.send(&PREFACE[..number % PREFACE.len()]).await;
            sockets.push(raw);
        }
        for mut raw in sockets {
            raw.is_closed().await;
        }
    };
    server
        .withstands("thousands of connections", 64, attack)
        .await;
}
