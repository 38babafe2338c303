//! How much one request can ask for with all segments in it.

use headcount::api::RpcStatus;
use headcount::proto::{CheckRequest, CountRequest, count_request};
use tonic::Code;

use crate::harness::{expect_error, fact};
use crate::segments::{count, create, named, service, try_create, try_update};

/// So that no request takes more than it seems to, however often segments are repeated in it.
#[tokio::test]
async fn what_is_asked_is_bounded_with_all_segments_in_it() {
    let service = service().await;
    let listed = |count: usize| {
        let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        format!("n IN ({})", numbers.join(","))
    };
    let repeated = |text: &str, times: usize| vec![text; times].join(" OR ");
    let bad = Code::InvalidArgument;
    let refused = |refused: RpcStatus, field: &str, limit: &str| {
        let status = expect_error::<()>(Err(refused), bad, "LIMIT_EXCEEDED", Some(field));
        assert_eq!(fact(&status, "limit"), limit);
    };
    create(&service, "listed", &listed(8_000)).await;
    create(&service, "lists", &repeated("segment('listed')", 12)).await;
    create(&service, "wide", &repeated("n = 1", 255)).await;
    // As much as can be saved: 4,096 nodes.
    let parts = [repeated("segment('wide')", 15), repeated("n = 2", 240)];
    create(&service, "whole", &parts.join(" OR ")).await;
    assert_eq!(count(&service, "lists").await.unwrap(), 10);
    assert_eq!(count(&service, "whole").await.unwrap(), 2);

    for (text, limit) in [
        (
            "segment('lists') AND NOT segment('listed')",
            "selection_values",
        ),
        (
            "segment('whole') AND NOT segment('wide')",
            "selection_nodes",
        ),
    ] {
        let request = CountRequest {
            selection: Some(count_request::Selection::Filter(text.into())),
            ..CountRequest::default()
        };
        let counted = service.query().count(request).await;
        refused(counted.unwrap_err(), "filter", limit);
    }
    let text = "segment('lists') AND NOT segment('listed')";
    let created = try_create(&service, named("more", text)).await;
    refused(created.unwrap_err(), "segment.filter", "selection_values");
    let changed = try_update(&service, named("listed", &listed(8_400)), &[]).await;
    refused(changed.unwrap_err(), "segment.filter", "selection_values");
    // Nor is an explanation made that would be too large, not even of nobody.
    let request = CheckRequest {
        user_id: "nobody".into(),
        filters: vec!["segment('lists')".into(); 8],
        explain: true,
        ..CheckRequest::default()
    };
    let checked = service.query().check(request).await;
    refused(checked.unwrap_err(), "explain", "answer_bytes");
    service.stop().await;
}
