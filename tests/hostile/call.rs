//! Calls whose bytes are given as they are, and what is answered.

use std::net::SocketAddr;
use std::time::Duration;

use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use headcount::api::RpcStatus;
use prost::Message;
use prost::bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;
use tonic::codegen::http::{HeaderMap, Request};
use tonic_types::StatusExt;

use crate::process::SOON;

/// A connection, on which streams may have a window of their own.
pub(crate) async fn connect(address: SocketAddr, window: u32) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let handshake = builder.initial_window_size(window).handshake(socket);
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(async move {
        // It ends with an error where the service is through with it.
        let _ = connection.await;
    });
    sender
}

/// Begins a call.
pub(crate) async fn begin(
    connection: &SendRequest<Bytes>,
    path: &str,
    more: &[(&'static str, &str)],
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let mut connection = connection.clone().ready().await.unwrap();
    connection
        .send_request(request.body(()).unwrap(), false)
        .unwrap()
}

/// Sends bytes as the windows allow. `false` if the service takes no more.
pub(crate) async fn send(body: &mut SendStream<Bytes>, bytes: Bytes, is_last: bool) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        body.reserve_capacity(rest.len());
        let capacity = std::future::poll_fn(|context| body.poll_capacity(context)).await;
        let Some(Ok(capacity)) = capacity else {
            return false;
        };
        let part = rest.split_to(capacity.min(rest.len()));
        if body.send_data(part, false).is_err() {
            return false;
        }
    }
    !is_last || body.send_data(Bytes::new(), true).is_ok()
}

/// What a call ended with.
pub(crate) async fn outcome(response: ResponseFuture) -> Result<RpcStatus, String> {
    let status = async {
        let response = response.await.map_err(|error| error.to_string())?;
        let http = response.status();
        if let Some(status) = from(response.headers()) {
            return Ok(status);
        }
        if !http.is_success() {
            return Err(format!("HTTP {http}"));
        }
        let mut body = response.into_body();
        read(&mut body).await
    };
    timeout(SOON, status).await.expect("an answer")
}

async fn read(body: &mut RecvStream) -> Result<RpcStatus, String> {
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| error.to_string())?;
        let _ = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await.map_err(|error| error.to_string())?;
    let trailers = trailers.ok_or("no trailers")?;
    from(&trailers).ok_or_else(|| "no status".to_owned())
}

fn from(headers: &HeaderMap) -> Option<RpcStatus> {
    RpcStatus::from_header_map(headers)
}

/// A message as it is framed.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

/// Makes a call with these bytes as its body, on a connection of its own.
pub(crate) async fn with(
    address: SocketAddr,
    path: &str,
    more: &[(&'static str, &str)],
    body: Bytes,
) -> Result<RpcStatus, String> {
    let connection = connect(address, 1 << 20).await;
    let (response, mut sender) = begin(&connection, path, more).await;
    let sending = async {
        // It may be answered before all was sent.
        let _ = timeout(Duration::from_secs(20), send(&mut sender, body, true)).await;
    };
    let (answer, ()) = tokio::join!(outcome(response), sending);
    answer
}

/// Sends a message and returns how it was refused: the reason, and the limit or nothing.
pub(crate) async fn refused(address: SocketAddr, path: &str, message: &[u8]) -> (String, String) {
    let status = with(address, path, &[], framed(message)).await.unwrap();
    assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message());
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    let limit = info.metadata.get("limit").cloned().unwrap_or_default();
    (info.reason.clone(), limit)
}

/// A field with a content, as bytes.
pub(crate) fn nested(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(
        number,
        prost::encoding::WireType::LengthDelimited,
        &mut bytes,
    );
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}

/// A message that is well-formed, as it is framed.
pub(crate) fn message(message: &impl Message) -> Bytes {
    framed(&message.encode_to_vec())
}
