//! Lists of members: pages and streams hold everybody once.

use std::collections::BTreeSet;
use std::time::Duration;

use headcount::model::Span;
use headcount::proto::{
    ListMembersRequest, StreamMembersRequest, StreamMembersResponse, list_members_request,
    stream_members_request, value::Kind,
};
use tonic::{Code, Streaming};

use crate::harness::{Service, expect_error, instant, int, set, value};

/// As many users as make several parts of a stream.
const USERS: usize = 4_321;

async fn service() -> Service {
    let service = Service::start().await;
    let users = (0..USERS).map(|n| {
        let n_value = int(i64::try_from(n).unwrap());
        let seen = value(Kind::TimestampValue(instant("2025-12-31")));
        set(&format!("user-{n}"), &[("n", n_value), ("seen", seen)])
    });
    service.write(users.collect()).await;
    service
}

fn listing(filter: &str, page_size: i32) -> ListMembersRequest {
    ListMembersRequest {
        selection: Some(list_members_request::Selection::Filter(filter.into())),
        page_size,
        ..Default::default()
    }
}

#[tokio::test]
async fn pages_hold_everybody_once() {
    let service = service().await;
    for (filter, size, expected) in [
        ("TRUE", 100, USERS),
        ("TRUE", 1_000, USERS),
        ("n >= 4000", 7, USERS - 4_000),
        ("n < 10", 10, 10),
        ("n < 10", 9, 10),
        ("FALSE", 5, 0),
    ] {
        let mut seen = BTreeSet::new();
        let mut request = listing(filter, size);
        loop {
            let page = service.query().list_members(request.clone()).await.unwrap();
            let page = page.into_inner();
            assert!(page.user_ids.len() <= usize::try_from(size).unwrap());
            assert!(!page.revision.is_empty());
            for user in page.user_ids {
                assert!(seen.insert(user), "somebody is listed twice");
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(seen.len(), expected, "{filter}");
    }
    service.stop().await;
}

#[tokio::test]
async fn sizes_have_a_default_and_a_bound() {
    let service = service().await;
    for (asked, given) in [(0, 100), (50_000, USERS)] {
        let page = service.query().list_members(listing("TRUE", asked)).await;
        assert_eq!(page.unwrap().into_inner().user_ids.len(), given);
    }
    expect_error(
        service.query().list_members(listing("TRUE", -1)).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("page_size"),
    );
    service.stop().await;
}

#[tokio::test]
async fn a_page_token_belongs_to_its_request() {
    let service = service().await;
    let first = service.query().list_members(listing("n >= 0", 10)).await;
    let token = first.unwrap().into_inner().next_page_token;
    let with_token = |request: ListMembersRequest| ListMembersRequest {
        page_token: token.clone(),
        ..request
    };
    // The size of the page may change; a text that means the same is the same.
    for fine in [listing("n >= 0", 20), listing(" n  >=  0 -- all", 20)] {
        assert!(service.query().list_members(with_token(fine)).await.is_ok());
    }
    let other_clock = ListMembersRequest {
        as_of: Some(instant("2020-01-01")),
        ..listing("n >= 0", 10)
    };
    for other in [listing("n >= 1", 10), other_clock] {
        expect_error(
            service.query().list_members(with_token(other)).await,
            Code::InvalidArgument,
            "PAGE_TOKEN_INVALID",
            Some("page_token"),
        );
    }
    service.stop().await;
}

#[tokio::test]
async fn the_clock_of_the_first_page_is_that_of_all() {
    let service = service().await;
    let mut request = listing("seen >= now() - 2d", 4_000);
    let first = service.query().list_members(request.clone()).await.unwrap();
    let first = first.into_inner();
    assert_eq!(first.user_ids.len(), 4_000);
    service
        .clock
        .advance(Span::from_micros(10 * 86_400_000_000).unwrap());
    assert_eq!(service.count("seen >= now() - 2d").await, 0);
    request.page_token = first.next_page_token;
    let second = service.query().list_members(request).await.unwrap();
    assert_eq!(second.into_inner().user_ids.len(), USERS - 4_000);
    service.stop().await;
}

fn streaming(filter: &str) -> StreamMembersRequest {
    StreamMembersRequest {
        selection: Some(stream_members_request::Selection::Filter(filter.into())),
        ..Default::default()
    }
}

async fn parts(mut stream: Streaming<StreamMembersResponse>) -> Vec<StreamMembersResponse> {
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        parts.push(part);
    }
    parts
}

#[tokio::test]
async fn a_stream_holds_everybody_once() {
    let service = service().await;
    for (filter, expected) in [("TRUE", USERS), ("n < 1000", 1_000), ("n = 1", 1)] {
        let stream = service.query().stream_members(streaming(filter)).await;
        let parts = parts(stream.unwrap().into_inner()).await;
        assert!(parts.iter().all(|part| !part.user_ids.is_empty()));
        assert!(parts.iter().all(|part| part.user_ids.len() <= 1_000));
        let users: Vec<String> = parts.into_iter().flat_map(|part| part.user_ids).collect();
        assert_eq!(users.len(), expected);
        assert_eq!(BTreeSet::from_iter(users).len(), expected);
    }
    // Nobody is one empty part.
    let stream = service.query().stream_members(streaming("FALSE")).await;
    let parts = parts(stream.unwrap().into_inner()).await;
    assert_eq!(parts.len(), 1);
    assert!(parts[0].user_ids.is_empty() && !parts[0].revision.is_empty());

    // What is wrong is said before the stream begins.
    expect_error(
        service.query().stream_members(streaming("nn = 1")).await,
        Code::InvalidArgument,
        "UNKNOWN_PROPERTY",
        Some("filter"),
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_reads_holds_nothing_up() {
    let service = service().await;
    let unread: Vec<_> = {
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(
                service
                    .query()
                    .stream_members(streaming("TRUE"))
                    .await
                    .unwrap(),
            );
        }
        streams
    };
    assert_eq!(service.count("n < 10").await, 10);
    drop(unread);
    let began = std::time::Instant::now();
    service.stop().await;
    assert!(began.elapsed() < Duration::from_secs(8));
}
