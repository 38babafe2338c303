//! A disk that failed, or is full: writes are refused, until a restart or until there is space,
//! reads go on, and health says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headcount::proto::{CreateSnapshotRequest, DeleteUserRequest};
use headcount::server::ServerConfig;
use headcount::storage::Disk;
use headcount::testing::disk::{Crash, Failure, LyingDisk};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::harness::{Service, expect_error, int, set, text, user};

async fn start(disk: &LyingDisk) -> Service {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Service::start_on(&disk, Path::new("/data"), ServerConfig::default()).await
}

/// The health of a service, once it is the expected one: it follows the store, a moment behind.
async fn health(service: &Service, name: &str, expected: ServingStatus) -> ServingStatus {
    let mut client = HealthClient::new(service.channel.clone());
    let mut found = ServingStatus::Unknown;
    for _ in 0..250 {
        let request = HealthCheckRequest {
            service: name.into(),
        };
        found = client.check(request).await.unwrap().into_inner().status();
        if found == expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    found
}

#[tokio::test]
async fn a_store_whose_disk_failed_is_read_only() {
    let disk = LyingDisk::new();
    let service = start(&disk).await;
    service.write(vec![set("u", &[("n", int(1))])]).await;
    disk.fail_at(disk.operations() + 1, Failure::PowerOut);
    let lost = service.try_write(vec![set("u", &[("n", int(2))])]).await;
    expect_error(lost, Code::Unavailable, "STORAGE_READ_ONLY", None);
    expect_error(
        service.try_write(vec![user("v")]).await,
        Code::Unavailable,
        "STORAGE_READ_ONLY",
        None,
    );
    let refused = service
        .admin()
        .create_snapshot(CreateSnapshotRequest {})
        .await;
    expect_error(refused, Code::Unavailable, "STORAGE_READ_ONLY", None);
    assert_eq!(service.count("TRUE").await, 1);

    for (name, expected) in [
        ("", ServingStatus::NotServing),
        ("headcount.v1.IngestService", ServingStatus::NotServing),
        ("headcount.v1.UserService", ServingStatus::NotServing),
        ("headcount.v1.QueryService", ServingStatus::Serving),
    ] {
        assert_eq!(health(&service, name, expected).await, expected, "{name:?}");
    }
    service.stop().await;

    let disk = disk.after_crash(Crash::KeepsAll);
    let service = start(&disk).await;
    service.write(vec![user("v")]).await;
    assert_eq!(service.count("TRUE").await, 2);
    service.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_writes_erases_and_serves_again_when_there_is_space() {
    let disk = LyingDisk::new();
    let service = start(&disk).await;
    service.write(vec![user("u"), user("v")]).await;
    disk.set_capacity(Some(disk.used()));
    // Large ones, so that the file that there is soon has no place for another.
    let large = || vec![set("w", &[("text", text(&"x".repeat(1_024)))]); 900];
    let refused = loop {
        if let Err(status) = service.try_write(large()).await {
            break status;
        }
    };
    expect_error(
        Err::<(), _>(refused),
        Code::ResourceExhausted,
        "STORAGE_FULL",
        None,
    );
    assert_eq!(service.count("TRUE").await, 3);
    let erased = service
        .user()
        .delete_user(DeleteUserRequest {
            user_id: "v".into(),
            ..Default::default()
        })
        .await;
    assert!(erased.unwrap().into_inner().existed);
    assert_eq!(service.count("TRUE").await, 2);
    let refused = service
        .admin()
        .create_snapshot(CreateSnapshotRequest {})
        .await;
    expect_error(refused, Code::ResourceExhausted, "STORAGE_FULL", None);
    for (name, expected) in [
        ("", ServingStatus::NotServing),
        ("headcount.v1.IngestService", ServingStatus::NotServing),
        ("headcount.v1.UserService", ServingStatus::Serving),
        ("headcount.v1.QueryService", ServingStatus::Serving),
    ] {
        assert_eq!(health(&service, name, expected).await, expected, "{name:?}");
    }

    disk.set_capacity(None);
    let serving = ServingStatus::Serving;
    assert_eq!(health(&service, "", serving).await, serving);
    service.write(vec![user("x")]).await;
    assert_eq!(service.count("TRUE").await, 3);
    service.stop().await;
}
