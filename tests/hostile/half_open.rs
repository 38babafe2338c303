//! Clients that are not there any more, and never said so.

use headcount::proto::WatchSegmentsRequest;

use crate::call;
use crate::process::{SEGMENT, Server};
use crate::raw::{CHECK, PREFACE, Raw, frame, kind};

const ARGUMENTS: [&str; 4] = ["--keepalive-interval", "1s", "--keepalive-timeout", "1s"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanish() {
    let server = Server::start(&ARGUMENTS).await;
    let attack = async {
        let mut raws = Vec::new();
        for number in 0..60 {
            let mut raw = Raw::connect(server.address).await;
            raw.send(PREFACE).await;
            // A third never says more, a third is in the middle of a call, a third watches.
            if number % 3 > 0 {
                raw.send(&frame(kind::SETTINGS, 0, 0, &[])).await;
            }
            match number % 3 {
                1 => {
                    raw.send(&crate::raw::call(1, CHECK, 0)).await;
                }
                2 => {
                    let path = "/headcount.v1.SegmentService/WatchSegments";
                    let request = WatchSegmentsRequest {
                        segments: vec![SEGMENT.into()],
                        include_members: true,
                        ..WatchSegmentsRequest::default()
                    };
                    raw.send(&crate::raw::call(1, path, 0)).await;
                    let message = call::message(&request);
                    raw.send(&frame(kind::DATA, 1, 1, &message)).await;
                }
                _ => {}
            }
            raws.push(raw);
        }
        // Nothing is read and no ping is answered.
        for mut raw in raws {
            raw.is_closed().await;
        }
    };
    server.withstands("clients that vanish", 48, attack).await;
}
