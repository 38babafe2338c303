//! Exports: what they hold, how they go on, and what they never hand out.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "what is sent is read by others"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use croaring::{Bitmap, Portable};
use headcount::api::RpcStatus;
use headcount::proto::{
    DeleteUserRequest, ExportFormat, ExportHeader, ExportMembersRequest, ExportMembersResponse,
    Selection, export_members_response::Part, selection,
};
use tonic::{Code, Streaming};

use crate::harness::{Service, expect_error, fact, instant, int, set};

const USERS: i64 = 10_000;

async fn service() -> Service {
    let service = Service::start().await;
    fill(&service, 0..USERS).await;
    service
}

fn id(n: i64) -> String {
    format!("u{n}")
}

async fn fill(service: &Service, numbers: std::ops::Range<i64>) {
    let users: Vec<_> = numbers.map(|n| set(&id(n), &[("n", int(n))])).collect();
    for part in users.chunks(5_000) {
        service.write(part.to_vec()).await;
    }
}

async fn erase(service: &Service, n: i64) {
    let request = DeleteUserRequest {
        user_id: id(n),
        ..Default::default()
    };
    service.user().delete_user(request).await.unwrap();
}

fn export(filters: &[&str], format: ExportFormat) -> ExportMembersRequest {
    let selections = filters.iter().map(|text| Selection {
        selection: Some(selection::Selection::Filter((*text).into())),
    });
    ExportMembersRequest {
        selections: selections.collect(),
        format: format.into(),
        ..Default::default()
    }
}

fn from(request: &ExportMembersRequest, token: &str) -> ExportMembersRequest {
    ExportMembersRequest {
        resume_token: token.into(),
        ..request.clone()
    }
}

async fn open(
    service: &Service,
    request: ExportMembersRequest,
) -> Result<Streaming<ExportMembersResponse>, RpcStatus> {
    let answer = service.query().export_members(request).await?;
    Ok(answer.into_inner())
}

async fn all(service: &Service, request: ExportMembersRequest) -> Vec<ExportMembersResponse> {
    let mut stream = open(service, request).await.unwrap();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(!message.resume_token.is_empty());
        messages.push(message);
    }
    messages
}

/// An export put together.
#[derive(Debug, Default, PartialEq)]
struct Exported {
    header: Option<ExportHeader>,
    ids: Vec<String>,
    bitmaps: BTreeMap<u32, Vec<u8>>,
}

fn together(messages: &[ExportMembersResponse]) -> Exported {
    let mut exported = Exported::default();
    let mut ended = BTreeSet::new();
    for message in messages {
        match message.part.clone().unwrap() {
            Part::Header(header) => {
                assert!(exported.header.is_none());
                exported.header = Some(header);
            }
            Part::Ids(ids) => exported.ids.extend(ids.user_ids),
            Part::Bitmap(part) => {
                assert!(!ended.contains(&part.selection));
                if part.is_last {
                    ended.insert(part.selection);
                }
                let bytes = exported.bitmaps.entry(part.selection).or_default();
                bytes.extend(part.data);
            }
        }
    }
    assert_eq!(ended.len(), exported.bitmaps.len());
    exported
}

/// The ids that a bitmap stands for.
fn members(exported: &Exported, selection: u32) -> Vec<String> {
    let bytes = &exported.bitmaps[&selection];
    let bitmap = Bitmap::try_deserialize::<Portable>(bytes).unwrap();
    assert_eq!(
        bitmap.get_serialized_size_in_bytes::<Portable>(),
        bytes.len()
    );
    let numbers = bitmap.iter();
    numbers
        .map(|number| exported.ids[number as usize].clone())
        .collect()
}

#[tokio::test]
async fn ids_are_those_that_list_members_has() {
    let service = service().await;
    for filter in ["TRUE", "n < 4000", "n >= 9999", "FALSE"] {
        let messages = all(&service, export(&[filter], ExportFormat::Ids)).await;
        let exported = together(&messages);
        let expected = service.members(filter).await;
        assert_eq!(exported.ids, expected, "{filter}");
        let header = exported.header.unwrap();
        assert_eq!(header.users, expected.len() as u64);
        assert_eq!(header.counts, [expected.len() as u64]);
        assert!(!header.revision.is_empty() && header.as_of.is_some());
        assert!(exported.bitmaps.is_empty());
    }
}

#[tokio::test]
async fn bitmaps_are_of_the_numbers_of_the_ids() {
    let service = service().await;
    let filters = ["n < 100", "n >= 50 AND n < 6000", "FALSE", "n = 9999"];
    let messages = all(&service, export(&filters, ExportFormat::Bitmaps)).await;
    let exported = together(&messages);
    let union = service.members("n < 6000 OR n = 9999").await;
    assert_eq!(exported.ids, union);
    for (position, filter) in (0..).zip(filters) {
        let expected = service.members(filter).await;
        assert_eq!(members(&exported, position), expected, "{filter}");
    }
    let header = exported.header.unwrap();
    assert_eq!(
        (header.users, header.counts),
        (6_001, vec![100, 5_950, 0, 1])
    );
}

#[tokio::test]
async fn an_export_goes_on_after_any_message_with_the_same_content() {
    let service = service().await;
    let request = export(&["n >= 10", "n < 5000"], ExportFormat::Bitmaps);
    let messages = all(&service, request.clone()).await;
    // What is written meanwhile does not change what was exported.
    fill(&service, 20_000..20_100).await;
    service
        .write((0..10).map(|n| set(&id(n), &[("n", int(100))])).collect())
        .await;
    for (position, message) in messages.iter().enumerate() {
        let rest = all(&service, from(&request, &message.resume_token)).await;
        assert_eq!(rest, messages[position + 1..]);
    }
    // Where the connection broke in the middle of reading.
    let mut stream = open(&service, request.clone()).await.unwrap();
    let mut read = vec![stream.message().await.unwrap().unwrap()];
    read.push(stream.message().await.unwrap().unwrap());
    drop(stream);
    fill(&service, 30_000..30_010).await;
    let rest = all(&service, from(&request, &read[1].resume_token)).await;
    read.extend(rest);
    assert_eq!(together(&read).ids.len(), 10_100);
}

#[tokio::test]
async fn who_is_erased_is_not_handed_out_and_nobody_is_in_the_place() {
    let service = service().await;
    for format in [ExportFormat::Ids, ExportFormat::Bitmaps] {
        let request = export(&["n < 9000"], format);
        let mut stream = open(&service, request.clone()).await.unwrap();
        let header = stream.message().await.unwrap().unwrap();
        drop(stream);
        for n in [0, 5_000, 8_999] {
            erase(&service, n).await;
        }
        // They are given the places of those who went.
        fill(&service, 40_000..40_003).await;
        let rest = all(&service, from(&request, &header.resume_token)).await;
        let exported = together(&rest);
        let expected = (0..9_000).map(|n| match n {
            0 | 5_000 | 8_999 => String::new(),
            n => id(n),
        });
        let expected: Vec<String> = if format == ExportFormat::Ids {
            expected.filter(|id| !id.is_empty()).collect()
        } else {
            expected.collect()
        };
        assert_eq!(exported.ids, expected);
        if format == ExportFormat::Bitmaps {
            // The numbers are those from before.
            assert_eq!(members(&exported, 0), expected);
        }
        // As it was, for the other format.
        for n in 40_000..40_003 {
            erase(&service, n).await;
        }
        fill(&service, 0..1).await;
        fill(&service, 5_000..5_001).await;
        fill(&service, 8_999..9_000).await;
    }
}

#[tokio::test]
async fn a_token_of_another_start_or_request_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path()).await;
    fill(&service, 0..10).await;
    let request = export(&["n < 5"], ExportFormat::Ids);
    let messages = all(&service, request.clone()).await;
    let token = &messages[0].resume_token;
    let other = export(&["n < 6"], ExportFormat::Ids);
    let others = [
        from(&other, token),
        from(&export(&["n < 5"], ExportFormat::Bitmaps), token),
        from(&request, "no token"),
        ExportMembersRequest {
            as_of: Some(instant("2026-01-01")),
            ..from(&request, token)
        },
    ];
    for other in others {
        let result = open(&service, other).await;
        let field = Some("resume_token");
        expect_error(result, Code::InvalidArgument, "INVALID_FIELD", field);
    }
    service.stop().await;
    let service = Service::start_in(folder.path()).await;
    let result = open(&service, from(&request, token)).await;
    let field = Some("resume_token");
    expect_error(result, Code::NotFound, "EXPORT_NOT_FOUND", field);
}

#[tokio::test]
async fn malformed_requests_name_their_field() {
    let service = service().await;
    let cases = [
        (export(&[], ExportFormat::Ids), "selections"),
        (export(&["TRUE", "TRUE"], ExportFormat::Ids), "selections"),
        (
            ExportMembersRequest {
                format: 9,
                ..export(&["TRUE"], ExportFormat::Ids)
            },
            "format",
        ),
        (
            ExportMembersRequest {
                selections: vec![Selection::default()],
                ..Default::default()
            },
            "selections[0].filter",
        ),
    ];
    for (request, field) in cases {
        let result = open(&service, request).await;
        expect_error(result, Code::InvalidArgument, "INVALID_FIELD", Some(field));
    }
    let many = export(&["TRUE"; 65], ExportFormat::Bitmaps);
    let error = expect_error(
        open(&service, many).await,
        Code::InvalidArgument,
        "LIMIT_EXCEEDED",
        Some("selections"),
    );
    assert_eq!(fact(&error, "limit"), "selections_per_export");
    let wrong = export(&["TRUE", "nn = 1"], ExportFormat::Bitmaps);
    expect_error(
        open(&service, wrong).await,
        Code::InvalidArgument,
        "UNKNOWN_PROPERTY",
        Some("selections[1].filter"),
    );
}

/// Users with ids so long that no stream of all of them is on its way at once.
async fn long_ids(count: i64) -> Service {
    let service = Service::start().await;
    let long = "x".repeat(240);
    let users: Vec<_> = (0..count)
        .map(|n| set(&format!("{long}-{n}"), &[("n", int(n))]))
        .collect();
    for part in users.chunks(2_500) {
        service.write(part.to_vec()).await;
    }
    service
}

#[tokio::test]
async fn no_more_than_sixteen_are_kept_for_those_who_read_on() {
    let service = long_ids(20_000).await;
    let request = export(&["TRUE"], ExportFormat::Ids);
    // Those that were read to their end give way.
    for _ in 0..20 {
        all(&service, request.clone()).await;
    }
    let mut tokens = Vec::new();
    for _ in 0..16 {
        let mut stream = open(&service, request.clone()).await.unwrap();
        tokens.push(stream.message().await.unwrap().unwrap().resume_token);
    }
    let error = expect_error(
        open(&service, request.clone()).await,
        Code::ResourceExhausted,
        "LIMIT_EXCEEDED",
        None,
    );
    assert_eq!(fact(&error, "limit"), "exports");
    // One is read to its end, and makes room.
    let rest = all(&service, from(&request, &tokens[7])).await;
    assert_eq!(together(&rest).ids.len(), 20_000);
    all(&service, request.clone()).await;
    let result = open(&service, from(&request, &tokens[7])).await;
    let field = Some("resume_token");
    expect_error(result, Code::NotFound, "EXPORT_NOT_FOUND", field);
    assert!(open(&service, from(&request, &tokens[0])).await.is_ok());
}

#[tokio::test]
async fn an_export_ends_at_its_deadline_and_goes_on_in_another_call() {
    let service = long_ids(60_000).await;
    let asked = export(&["TRUE"], ExportFormat::Ids);
    let mut request = tonic::Request::new(asked.clone());
    request.set_timeout(Duration::from_secs(2));
    let answer = service.query().export_members(request).await;
    let mut stream = answer.unwrap().into_inner();
    let mut read = vec![stream.message().await.unwrap().unwrap()];
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    let ended = loop {
        match stream.message().await {
            Ok(message) => read.push(message.expect("it does not end as if it were complete")),
            Err(error) => break Err::<(), _>(error),
        }
    };
    expect_error(ended, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None);
    let token = &read.last().unwrap().resume_token;
    let rest = all(&service, from(&asked, token)).await;
    assert!(!rest.is_empty());
    read.extend(rest);
    assert_eq!(together(&read).ids, service.members("TRUE").await);
}

/// What was exported beside a reader of the format that shares nothing with what wrote it:
/// `tests/oracle/roaring.py`.
#[tokio::test]
async fn another_reader_reads_the_bitmaps() {
    let service = service().await;
    // Runs, a list, and bits: of every third user, of a few, and of nearly all.
    let thirds: Vec<_> = (0..USERS)
        .map(|n| set(&id(n), &[("third", int(n % 3))]))
        .collect();
    for part in thirds.chunks(5_000) {
        service.write(part.to_vec()).await;
    }
    let filters = [
        "TRUE",
        "n IN (1, 7, 300)",
        "third = 0",
        "third != 1",
        "FALSE",
    ];
    let messages = all(&service, export(&filters, ExportFormat::Bitmaps)).await;
    let exported = together(&messages);
    let folder = tempfile::tempdir().unwrap();
    for (position, filter) in (0..).zip(filters) {
        let file = folder.path().join(format!("{position}.roaring"));
        std::fs::write(&file, &exported.bitmaps[&position]).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/roaring.py");
        let read = std::process::Command::new("python3")
            .arg(script)
            .arg(&file)
            .output()
            .expect("python3 runs");
        assert!(read.status.success(), "{read:?}");
        let numbers = String::from_utf8(read.stdout).unwrap();
        let ids: Vec<String> = numbers
            .lines()
            .map(|number| exported.ids[number.parse::<usize>().unwrap()].clone())
            .collect();
        assert_eq!(ids, service.members(filter).await, "{filter}");
    }
}
