//! Bytes that are not what they say.

use headcount::api::METHODS;
use headcount::testing::generate;
use prost::bytes::Bytes;
use tonic::Code;
use tonic_types::StatusExt;

use crate::call::{self, framed, nested};
use crate::process::Server;
use crate::raw::{CHECK, Raw};

/// Sends bytes and returns the code, and the reason if it is one of ours.
async fn sent(server: &Server, bytes: Vec<u8>) -> (Code, String) {
    let status = call::with(server.address, CHECK, &[], bytes.into()).await;
    let status = status.unwrap();
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    (status.code(), reason.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_and_flags_that_lie() {
    let server = Server::start(&[]).await;
    let attack = async {
        let invalid = || (Code::InvalidArgument, "INVALID_FIELD".to_owned());
        let too_large = (Code::InvalidArgument, "LIMIT_EXCEEDED".to_owned());
        // 4 GiB are announced, and none come.
        assert_eq!(
            sent(&server, vec![0, 0xff, 0xff, 0xff, 0xff]).await,
            too_large
        );
        // Fewer come than were announced, or less than the length.
        assert_eq!(sent(&server, vec![0, 0, 0, 0, 100, 1]).await, invalid());
        assert_eq!(sent(&server, vec![0, 0]).await, invalid());
        assert_eq!(sent(&server, Vec::new()).await, invalid());
        assert_eq!(sent(&server, vec![9, 0, 0, 0, 0]).await, invalid());
        // Lengths within the message that lie, wrong types of fields, a text that is none.
        for message in [
            vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
            vec![0x0a, 5, b'x'],
            vec![0x08, 1],
            vec![0x0d, 1, 2, 3, 4],
            vec![0x0f],
            vec![0x00, 0],
            vec![0xff; 11],
            nested(2, &[0xff, 0xfe]),
            nested(3, &[0xc0, 0x80]),
        ] {
            let answer = sent(&server, framed(&message).to_vec()).await;
            assert_eq!(answer, invalid(), "{message:?}");
        }
    };
    server
        .withstands("lengths and flags that lie", 32, attack)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_protocols() {
    let server = Server::start(&["--handshake-timeout", "2s"]).await;
    let attack = async {
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        let tls: Vec<u8> = hello.into_iter().chain([7; 500]).collect();
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(),
            b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
            tls,
            vec![0; 100_000],
        ] {
            let mut raw = Raw::connect(server.address).await;
            raw.send(&bytes).await;
            raw.is_closed().await;
        }
        let connection = call::connect(server.address, 1 << 20).await;
        let mut other = connection.clone().ready().await.unwrap();
        let request = tonic::codegen::http::Request::post(format!("http://localhost{CHECK}"))
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let (response, _) = other.send_request(request, true).unwrap();
        let answer = call::outcome(response).await;
        let is_refused = match &answer {
            Ok(status) => status.code() != Code::Ok,
            Err(http) => http.contains("415"),
        };
        assert!(is_refused, "{answer:?}");
    };
    server.withstands("other protocols", 32, attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_to_every_method() {
    let seed = std::env::var("HEADCOUNT_HOSTILE_SEED").ok();
    let seed: u64 = seed.map_or_else(
        || u64::from(std::process::id()),
        |seed| seed.parse().expect("a number"),
    );
    eprintln!("HEADCOUNT_HOSTILE_SEED={seed}");
    let server = Server::start(&[]).await;
    let attack = async {
        let mut number = seed;
        for method in METHODS {
            let path = method.path();
            for round in 0..12 {
                number += 1;
                let random = generate::bytes(number, 200);
                let body = match round % 3 {
                    // Bytes for a message, bytes for a text in it, bytes for all.
                    0 => framed(&random),
                    1 => framed(&nested(1 + round % 9, &random)),
                    _ => {
                        let mut bytes = random;
                        if let Some(flag) = bytes.first_mut() {
                            *flag = 0;
                        }
                        Bytes::from(bytes)
                    }
                };
                let connection = call::connect(server.address, 1 << 20).await;
                let (response, mut sender) = call::begin(&connection, &path, &[]).await;
                call::send(&mut sender, body, true).await;
                // What happens to be a message may be one of a stream that goes on.
                let soon = std::time::Duration::from_secs(3);
                let answer = tokio::time::timeout(soon, call::outcome(response)).await;
                if let Ok(answer) = answer {
                    let status = answer.unwrap_or_else(|error| panic!("{path} {number}: {error}"));
                    let is_ours = !matches!(status.code(), Code::Internal | Code::Unknown);
                    assert!(is_ours, "{path} {number}: {status:?}");
                }
            }
        }
    };
    server
        .withstands("random bytes to every method", 64, attack)
        .await;
}
