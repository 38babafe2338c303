//! Erased users leave the data folder to the last byte, by when the receipt says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headcount::engine::EngineOptions;
use headcount::model::{Span, Timestamp};
use headcount::proto::{
    CreatePropertyRequest, CreateSnapshotRequest, DeleteUserRequest, DeleteUserResponse, Property,
    StringSet, UserUpdate, ValueType, WriteRequest, WriteStreamRequest,
};
use headcount::server::ServerConfig;
use headcount::storage::Disk;
use headcount::testing::disk::{Crash, LyingDisk};

use crate::harness::{Service, int, set, text, user};

const USER: &str = "marker-7f3a-user@example.com";
/// All that is known of the user, in the forms in which it might be stored.
const TEXTS: [&str; 7] = [
    "marker-7f3a-user",
    "marker-7f3a-name",
    "marker-7f3a-tag",
    "marker-7f3a-refused",
    "Marker-7F3A-Folded",
    "marker-7f3a-folded",
    "marker-7f3a-stale",
];
const NUMBER: i64 = 0x7f3a_5d91_c42b_680e;

async fn start(disk: &LyingDisk) -> Service {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut options = EngineOptions::new("/data");
    // Every byte on disk is searched, many times over.
    options.log_file_bytes = 65_536;
    Service::start_engine(&disk, options, ServerConfig::default()).await
}

/// Which markers are in which files.
fn found(disk: &LyingDisk) -> Vec<String> {
    let number = NUMBER.to_le_bytes();
    let markers = TEXTS.iter().map(|text| text.as_bytes());
    let markers: Vec<&[u8]> = markers.chain([&number[..]]).collect();
    let mut found = Vec::new();
    for (path, bytes) in disk.files() {
        for marker in &markers {
            if bytes.windows(marker.len()).any(|window| window == *marker) {
                found.push(format!("{marker:?} in {}", path.display()));
            }
        }
    }
    found
}

async fn snapshot(service: &Service) {
    let request = CreateSnapshotRequest {};
    service.admin().create_snapshot(request).await.unwrap();
}

/// Writes the user in every way there is, among others who stay.
async fn write_user(service: &Service) {
    let property = Property {
        name: "folded".into(),
        r#type: ValueType::String.into(),
        case_insensitive: true,
        ..Property::default()
    };
    let request = CreatePropertyRequest {
        property: Some(property),
        ..CreatePropertyRequest::default()
    };
    service.schema().create_property(request).await.unwrap();
    service
        .write(vec![
            set(
                "other",
                &[
                    ("name", text("stays")),
                    ("number", int(1)),
                    ("folded", text("Stays")),
                ],
            ),
            set(
                USER,
                &[
                    ("name", text("marker-7f3a-name")),
                    ("number", int(NUMBER)),
                    ("folded", text("Marker-7F3A-Folded")),
                ],
            ),
        ])
        .await;
    let tags = UserUpdate {
        add_to_set: BTreeMap::from([(
            "tags".to_owned(),
            StringSet {
                elements: vec!["marker-7f3a-tag".into()],
            },
        )]),
        ..user(USER)
    };
    let with_id = WriteRequest {
        updates: vec![tags],
        request_id: "r1".into(),
        ..WriteRequest::default()
    };
    service.ingest().write(with_id).await.unwrap();
    // Refused, and remembered as refused.
    let refused = WriteRequest {
        updates: vec![set(USER, &[("number", text("marker-7f3a-refused"))])],
        request_id: "r2".into(),
        ..WriteRequest::default()
    };
    service.ingest().write(refused).await.unwrap_err();
    for (time, value) in [(2, "newer"), (1, "marker-7f3a-stale")] {
        let timed = UserUpdate {
            value_time: Some(prost_types::Timestamp {
                seconds: time,
                nanos: 0,
            }),
            ..set(USER, &[("timed", text(value))])
        };
        service.write(vec![timed]).await;
    }
    let batch = WriteStreamRequest {
        sequence: 1,
        stream_id: "s1".into(),
        updates: vec![set(USER, &[("name", text("marker-7f3a-name"))])],
        ..WriteStreamRequest::default()
    };
    let mut ingest = service.ingest();
    let responses = ingest.write_stream(tokio_stream::iter([batch])).await;
    let mut responses = responses.unwrap().into_inner();
    while responses.message().await.unwrap().is_some() {}
}

async fn erase(service: &Service) -> DeleteUserResponse {
    let request = DeleteUserRequest {
        user_id: USER.into(),
        ..DeleteUserRequest::default()
    };
    let response = service.user().delete_user(request).await;
    response.unwrap().into_inner()
}

#[tokio::test]
async fn two_snapshots_take_the_last_byte_of_an_erased_user() {
    for (restart, writes_between) in [(false, false), (false, true), (true, false), (true, true)] {
        let disk = LyingDisk::new();
        let mut service = start(&disk).await;
        write_user(&service).await;
        snapshot(&service).await;
        service.write(vec![set(USER, &[("visits", int(3))])]).await;
        let here = found(&disk);
        for text in &TEXTS[..4] {
            let marker = format!("{:?} in ", text.as_bytes());
            assert!(here.iter().any(|found| found.starts_with(&marker)));
        }
        assert!(erase(&service).await.existed);
        if restart {
            service.stop().await;
            service = start(&disk).await;
        }
        for _ in 0..2 {
            if writes_between {
                service.write(vec![user("other")]).await;
            }
            snapshot(&service).await;
        }
        // What is on disk now, and what would be found there after a crash.
        assert_eq!(
            found(&disk),
            Vec::<String>::new(),
            "{restart} {writes_between}"
        );
        let crashed = disk.after_crash(Crash::LosesAll);
        assert_eq!(found(&crashed), Vec::<String>::new());
        service.stop().await;
        let service = start(&crashed).await;
        assert_eq!(service.count("TRUE").await, 1);
        service.stop().await;
    }
}

#[tokio::test]
async fn the_schedule_takes_an_erased_user_off_the_disk_by_when_the_receipt_says() {
    let disk = LyingDisk::new();
    let service = start(&disk).await;
    write_user(&service).await;
    snapshot(&service).await;
    let receipt = erase(&service).await;
    let instant = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
    let promised = instant(receipt.erased_from_disk_by) - instant(receipt.erase_time);
    // Two intervals of an hour.
    assert_eq!(promised, 2 * 3_600);
    let hour = Span::hours(1);
    for _ in 0..2 {
        assert!(!found(&disk).is_empty());
        service.clock.advance(hour);
        // The schedule is looked at each second.
        let before = disk.operations();
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if disk.operations() > before && found(&disk).is_empty() {
                break;
            }
        }
        if found(&disk).is_empty() {
            break;
        }
    }
    assert_eq!(found(&disk), Vec::<String>::new());
    assert!(instant(receipt.erased_from_disk_by) * 1_000_000 >= now(&service).micros());
    // Nothing is written for the sake of an erasure that is done.
    let before = disk.operations();
    service.clock.advance(hour);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(disk.operations(), before);
    service.stop().await;
}

fn now(service: &Service) -> Timestamp {
    use headcount::clock::Clock;
    service.clock.now()
}
