//! Messages within their size that hold millions of elements of two bytes.

use crate::call::{self, nested};
use crate::process::Server;

const BATCH: usize = (4 << 20) - 64;
const WRITE: usize = (1 << 20) - 64;
const QUESTION: usize = (256 << 10) - 64;

/// As many empty elements of a field as fit.
fn empty(number: u32, bytes: usize) -> Vec<u8> {
    nested(number, &[]).repeat(bytes / 2)
}

/// An expression that combines what is given: the list in `any_of`.
fn any_of(list: &[u8]) -> Vec<u8> {
    nested(3, list)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn millions_of_empty_elements_are_counted_before_they_are_made() {
    let server = Server::start(&[]).await;
    let query = "/headcount.v1.QueryService/";
    let segment = "/headcount.v1.SegmentService/";
    let ingest = "/headcount.v1.IngestService/";
    let updates = "updates_per_request";
    let selections = "selections_per_request";
    let members = "members_per_request";
    let expressions = empty(1, BATCH - 64);
    let values = nested(1, &empty(3, BATCH - 64));
    let events = nested(2, &empty(9, WRITE - 64));
    // Parts of one expression, none of which has too many nodes.
    let part = nested(2, &any_of(&empty(1, 400)));
    let freeze = nested(4, &part);
    let definition = nested(2, &nested(3, &any_of(&empty(1, 400))));
    let alternating = [freeze.clone(), definition.clone()].concat();
    let parts = |part: &[u8], bytes: usize| part.repeat(bytes / part.len());
    let nodes = "expression_nodes";
    let history = nested(2, &empty(10, BATCH - 64));
    let cases = [
        (query, "BatchCount", empty(2, BATCH), selections),
        (query, "BatchCheck", empty(2, BATCH), "users_per_request"),
        (query, "BatchCheck", empty(3, BATCH), selections),
        (query, "BatchCheck", empty(4, BATCH), selections),
        (query, "BatchCheck", empty(7, BATCH), selections),
        (
            query,
            "BatchCheck",
            nested(4, &any_of(&expressions)),
            "expression_nodes",
        ),
        (
            query,
            "BatchCount",
            nested(2, &nested(2, &any_of(&expressions))),
            "expression_nodes",
        ),
        (
            query,
            "BatchCount",
            nested(2, &nested(2, &values)),
            "list_values",
        ),
        (segment, "AddSegmentMembers", empty(3, BATCH), members),
        (segment, "RemoveSegmentMembers", empty(3, BATCH), members),
        (segment, "CreateSegment", empty(3, BATCH), members),
        (segment, "CreateSegment", history, "segment_history"),
        (segment, "CreateSegment", parts(&freeze, BATCH), nodes),
        (segment, "CreateSegment", parts(&definition, BATCH), nodes),
        (segment, "CreateSegment", parts(&alternating, BATCH), nodes),
        (
            segment,
            "UpdateSegment",
            parts(&definition, QUESTION),
            nodes,
        ),
        (
            segment,
            "PreviewSegment",
            parts(&nested(4, &any_of(&empty(1, 400))), QUESTION),
            nodes,
        ),
        (
            query,
            "Count",
            parts(&nested(3, &any_of(&empty(1, 400))), QUESTION),
            nodes,
        ),
        (query, "Compare", parts(&nested(5, &part), QUESTION), nodes),
        (
            query,
            "BatchCount",
            nested(2, &parts(&part, BATCH - 64)),
            nodes,
        ),
        (ingest, "Write", empty(2, WRITE), updates),
        (ingest, "WriteStream", empty(3, WRITE), updates),
        (ingest, "Write", events, "events_per_request"),
    ];
    let attack = async {
        for (service, method, message, limit) in &cases {
            let path = format!("{service}{method}");
            let refused = call::refused(server.address, &path, message).await;
            assert_eq!(
                refused,
                ("LIMIT_EXCEEDED".into(), (*limit).into()),
                "{path}"
            );
        }
    };
    // A few times the largest message, and not a hundred times.
    server
        .withstands("millions of empty elements", 64, attack)
        .await;
}

/// The largest message that is decoded, of lists as long as they may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_as_long_as_they_may_be() {
    let server = Server::start(&[]).await;
    let list = nested(1, &nested(1, &empty(3, 20_000)));
    let lists = |count| nested(2, &nested(2, &any_of(&list.repeat(count))));
    let path = "/headcount.v1.QueryService/BatchCount";
    let attack = async {
        let refused = call::refused(server.address, path, &lists(200)).await;
        assert_eq!(
            refused,
            ("LIMIT_EXCEEDED".into(), "values_per_request".into())
        );
        // Here the first list has no operator.
        let refused = call::refused(server.address, path, &lists(50)).await;
        assert_eq!(refused, ("INVALID_FIELD".into(), String::new()));
    };
    server
        .withstands("lists as long as they may be", 96, attack)
        .await;
}
