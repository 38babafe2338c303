//! A client that writes frames by hand, whatever the protocol says.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::SOON;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const CHECK: &str = "/headcount.v1.QueryService/Check";

/// Kinds of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RESET: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GO_AWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// The error of a connection that asks too much.
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header field that is indexed nowhere.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The headers of a call.
pub(crate) fn headers(path: &str) -> Vec<u8> {
    // POST, http.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.extend(field(name, value));
    }
    block
}

/// The frame that begins a call.
pub(crate) fn call(stream: u32, path: &str, flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS | flags, stream, &headers(path))
}

/// A connection.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    /// Connects and says what every client says first.
    pub(crate) async fn begin(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        raw.send(PREFACE).await;
        raw.send(&frame(kind::SETTINGS, 0, 0, &[])).await;
        raw
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Sends bytes; `false` if the service takes no more.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(Duration::from_secs(2), self.0.write_all(bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// The next frame: its kind, its stream and its content. `None` if the connection is closed.
    pub(crate) async fn read(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut content = vec![0; length as usize];
            self.0.read_exact(&mut content).await.ok()?;
            Some((head[3], stream, content))
        };
        timeout(SOON, read).await.expect("a frame, or the end")
    }

    /// Waits until the service closes the connection.
    pub(crate) async fn is_closed(&mut self) {
        let mut bytes = [0; 4_096];
        let closed = async { while matches!(self.0.read(&mut bytes).await, Ok(1..)) {} };
        timeout(SOON, closed).await.expect("it is closed");
    }
}
