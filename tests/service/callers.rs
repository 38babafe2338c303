//! What callers learn, and for how long they may go on.

use std::time::Duration;

use headcount::proto::{
    self, CountRequest, CreateSegmentRequest, Segment, WriteRequest, WriteStreamRequest,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::access::{Guarded, SHOP, entry, put, shows, until};
use crate::harness::{Service, counting, expect_error, user};

/// What the file of tokens says without an entry.
fn without(text: &str, name: &str) -> String {
    let name = format!("\"{name}\"");
    let entries = text.split("[[caller]]");
    let kept: Vec<&str> = entries.filter(|entry| !entry.contains(&name)).collect();
    kept.join("[[caller]]")
}

#[tokio::test]
async fn a_stream_of_writes_takes_no_batch_once_its_caller_may_not_go_on() {
    let guarded = Guarded::start().await;
    let path = guarded.folder.path().join("tokens.toml");
    let service = &guarded.service;
    let text = std::fs::read_to_string(&path).unwrap();
    let batch = |sequence: u64| WriteStreamRequest {
        population: SHOP.into(),
        updates: vec![user(&format!("s{sequence}"))],
        sequence,
        ..WriteStreamRequest::default()
    };
    let users = || async {
        let request = CountRequest {
            population: SHOP.into(),
            ..counting("TRUE")
        };
        let counted = service.query().count(guarded.by("read-all", request)).await;
        counted.unwrap().into_inner().count
    };
    for (round, reads) in [true, false].into_iter().enumerate() {
        put(&path, &text);
        let writer = &guarded.tokens["write-shop"];
        until_role(service, writer, true).await;
        let (batches, receiver) = tokio::sync::mpsc::channel(1);
        let messages = ReceiverStream::new(receiver);
        let request = guarded.by("write-shop", messages);
        let first = 10 * round as u64 + 1;
        batches.send(batch(first)).await.unwrap();
        let mut answers = service.ingest().write_stream(request).await.unwrap();
        // One there was, and one of each round.
        let expected = round as u64 + 2;
        while users().await < expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        put(&path, &without(&text, "write-shop"));
        until_role(service, writer, false).await;
        // It may have ended already.
        let _ = batches.send(batch(first + 1)).await;
        if reads {
            let answers = answers.get_mut();
            let end = loop {
                match answers.message().await {
                    Ok(Some(answer)) => assert_eq!(answer.sequence, first),
                    Ok(None) => panic!("it ended without a reason"),
                    Err(status) => break status,
                }
            };
            let ended: Result<(), _> = Err(end);
            expect_error(ended, Code::Unauthenticated, "UNAUTHENTICATED", None);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(users().await, expected, "reads: {reads}");
    }
    guarded.stop().await;
}

/// Waits until a token that may write is let in to do so, or is not any more.
async fn until_role(service: &Service, token: &str, is_let_in: bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let request = WriteRequest {
                population: SHOP.into(),
                ..WriteRequest::default()
            };
            let request = shows(&format!("Bearer {token}"), request);
            let outcome = service.ingest().write(request).await;
            let is_refused = outcome.is_err_and(|status| status.code() == Code::Unauthenticated);
            if is_refused != is_let_in {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the file is read again");
}

#[tokio::test]
async fn who_only_writes_is_told_nothing_of_what_is_kept() {
    let guarded = Guarded::start().await;
    let mut segments = guarded.service.segments();
    let create = |name: &str| CreateSegmentRequest {
        population: SHOP.into(),
        segment: Some(Segment {
            name: name.into(),
            definition: Some(proto::segment::Definition::Filter("TRUE".into())),
            description: "secret".into(),
            ..Segment::default()
        }),
        ..CreateSegmentRequest::default()
    };
    let update = |name: &str| proto::UpdateSegmentRequest {
        population: SHOP.into(),
        segment: Some(Segment {
            name: name.into(),
            ..Segment::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["labels".into()],
        }),
    };
    let bare = |segment: Option<Segment>| {
        let segment = segment.unwrap();
        assert!(!segment.etag.is_empty() && !segment.revision.is_empty());
        let expected = Segment {
            name: segment.name.clone(),
            etag: segment.etag.clone(),
            revision: segment.revision.clone(),
            ..Segment::default()
        };
        segment == expected
    };
    let request = guarded.by("write-shop", create("premium"));
    let created = segments.create_segment(request).await.unwrap();
    assert!(bare(created.into_inner().segment));
    for (caller, is_bare) in [("write-shop", true), ("admin-shop", false)] {
        let request = guarded.by(caller, update("premium"));
        let updated = segments.update_segment(request).await.unwrap();
        assert_eq!(bare(updated.into_inner().segment), is_bare, "{caller}");
        let request = guarded.by(caller, update("premiun"));
        let outcome = segments.update_segment(request).await;
        let status = expect_error(
            outcome,
            Code::NotFound,
            "SEGMENT_NOT_FOUND",
            Some("segment.name"),
        );
        assert_eq!(status.message().contains("did you mean"), !is_bare);
        let info = status.get_error_details().error_info().cloned().unwrap();
        assert_eq!(info.metadata.contains_key("suggestions"), !is_bare);
    }
    guarded.stop().await;
}

#[tokio::test]
async fn populations_that_a_caller_may_do_nothing_in_are_not_suggested() {
    let guarded = Guarded::start().await;
    let path = guarded.folder.path().join("tokens.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (token, more) = entry("near", "read = [\"shopp\", \"othe\", \"other\"]");
    put(&path, &format!("{text}{more}"));
    until(&guarded.service, &token, true).await;
    let mut query = guarded.service.query();
    let count = |population: &str| CountRequest {
        population: population.into(),
        ..counting("TRUE")
    };
    let asked = shows(&format!("Bearer {token}"), count("shopp"));
    let status = query.count(asked).await.unwrap_err();
    assert!(status.message().contains("does not exist; it is created"));
    assert!(!format!("{status:?}").contains("\"shop\""), "{status:?}");
    let asked = shows(&format!("Bearer {token}"), count("othe"));
    let status = query.count(asked).await.unwrap_err();
    assert!(
        status.message().contains("did you mean \"other\""),
        "{status:?}"
    );
    let asked = guarded.by("read-all", count("shopp"));
    let status = query.count(asked).await.unwrap_err();
    assert!(
        status.message().contains("did you mean \"shop\""),
        "{status:?}"
    );
    guarded.stop().await;
}
