//! A disk that failed: writes are refused until a restart, reads go on, and health says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headcount::proto::CreateSnapshotRequest;
use headcount::server::ServerConfig;
use headcount::storage::Disk;
use headcount::testing::disk::{Crash, Failure, LyingDisk};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::harness::{Service, expect_error, int, set, user};

async fn start(disk: &LyingDisk) -> Service {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Service::start_on(&disk, Path::new("/data"), ServerConfig::default()).await
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

    let mut client = HealthClient::new(service.channel.clone());
    for (name, expected) in [
        ("", ServingStatus::NotServing),
        ("headcount.v1.IngestService", ServingStatus::NotServing),
        ("headcount.v1.QueryService", ServingStatus::Serving),
    ] {
        let request = HealthCheckRequest {
            service: name.into(),
        };
        let mut found = client
            .check(request.clone())
            .await
            .unwrap()
            .into_inner()
            .status();
        // Health follows the store, a moment behind it.
        for _ in 0..100 {
            if found == expected {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            found = client
                .check(request.clone())
                .await
                .unwrap()
                .into_inner()
                .status();
        }
        assert_eq!(found, expected, "{name:?}");
    }
    service.stop().await;

    let disk = disk.after_crash(Crash::KeepsAll);
    let service = start(&disk).await;
    service.write(vec![user("v")]).await;
    assert_eq!(service.count("TRUE").await, 2);
    service.stop().await;
}
