//! Messages within messages, deeper than any stack.

use crate::call::{self, nested};
use crate::process::Server;

const COUNT: &str = "/headcount.v1.QueryService/Count";
const BATCH_COUNT: &str = "/headcount.v1.QueryService/BatchCount";

/// An expression that is negated so often.
fn negated(levels: usize) -> Vec<u8> {
    let everyone = nested(6, &[]);
    // Each level is written around the one within it, from the inside.
    let mut lengths = vec![everyone.len()];
    for _ in 1..levels {
        let inner = lengths[lengths.len() - 1];
        lengths.push(inner + 1 + prost::encoding::encoded_len_varint(inner as u64));
    }
    let mut bytes = Vec::new();
    for inner in lengths.iter().rev().skip(1) {
        bytes.push((4 << 3) | 2);
        prost::encoding::encode_varint(*inner as u64, &mut bytes);
    }
    bytes.extend(everyone);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nesting_is_refused_at_any_depth() {
    let server = Server::start(&[]).await;
    let attack = async {
        let too_deep = ("LIMIT_EXCEEDED".to_owned(), "expression_depth".to_owned());
        for levels in [17, 100, 10_000, 60_000] {
            let tree = negated(levels);
            let refused = call::refused(server.address, COUNT, &nested(3, &tree)).await;
            assert_eq!(refused, too_deep, "{levels}");
            let message = nested(2, &nested(2, &tree));
            let refused = call::refused(server.address, BATCH_COUNT, &message).await;
            assert_eq!(refused, too_deep, "{levels}");
        }
        for levels in [17, 100, 10_000, 60_000] {
            let filter = format!("{}TRUE{}", "NOT (".repeat(levels), ")".repeat(levels));
            let filter = &filter[..filter.len().min(65_000)];
            let message = nested(2, filter.as_bytes());
            let refused = call::refused(server.address, COUNT, &message).await;
            assert_eq!(refused, too_deep, "{levels} in a text");
        }
        // Groups of a field that nobody knows: begun and never ended, and ended as well.
        for levels in [101, 10_000, 100_000] {
            let begun = [0xb3, 0x06].repeat(levels);
            let mut ended = begun.clone();
            ended.extend([0xb4, 0x06].repeat(levels));
            for message in [begun, ended] {
                if message.len() < 200_000 {
                    // Beyond what protobuf allows, or no end: both are the fault of the bytes.
                    call::refused(server.address, COUNT, &message).await;
                }
            }
        }
    };
    server
        .withstands("messages within messages", 48, attack)
        .await;
}
