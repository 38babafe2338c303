//! Backups and verifications over the protocol.

use std::time::Duration;

use headcount::proto::backup_response::Part;
use headcount::proto::{BackupFile, BackupRequest, VerifyRequest};
use headcount::storage::checksum;
use tonic::Code;

use crate::harness::{Service, expect_error, set, text};

/// Users whose texts are more than 2 MiB together, so that files are sent in pieces.
async fn write_much(service: &Service) {
    for batch in 0..10 {
        let updates = (0..500).map(|number| {
            let user = format!("u{batch}-{number}");
            let note = format!("{user} {}", "x".repeat(500));
            set(&user, &[("note", text(&note))])
        });
        service.write(updates.collect()).await;
    }
}

#[tokio::test]
async fn a_backup_is_sent_in_pieces_and_says_when_it_is_whole() {
    let service = Service::start().await;
    write_much(&service).await;
    let mut parts = service
        .admin()
        .backup(BackupRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut files: Vec<(BackupFile, Vec<u8>)> = Vec::new();
    let (mut summary, mut completion, mut pieces) = (None, None, 0);
    while let Some(part) = parts.message().await.unwrap() {
        assert!(completion.is_none(), "something follows the completion");
        match part.part.unwrap() {
            Part::Summary(told) => {
                assert!(files.is_empty());
                summary = Some(told);
            }
            Part::File(file) => files.push((file, Vec::new())),
            Part::Content(content) => {
                assert!(!content.is_empty() && content.len() <= 1 << 20);
                pieces += 1;
                files.last_mut().unwrap().1.extend(content);
            }
            Part::Completion(told) => completion = Some(told),
        }
    }
    let summary = summary.unwrap();
    assert_eq!(summary.users, 5_000);
    assert_eq!(completion.unwrap().files, files.len() as u64);
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    assert_eq!(summary.bytes, bytes as u64);
    assert!(pieces > files.len(), "no file was sent in pieces");
    for (file, content) in &files {
        assert_eq!(file.length, content.len() as u64, "{}", file.name);
        assert_eq!(file.checksum, checksum(content), "{}", file.name);
    }
    // What makes it a data folder comes last.
    assert_eq!(files.last().unwrap().0.name, "headcount");
}

#[tokio::test]
async fn a_service_stops_also_while_nobody_reads_a_backup() {
    let service = Service::start().await;
    write_much(&service).await;
    let mut parts = service
        .admin()
        .backup(BackupRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(parts.message().await.unwrap().is_some());
    // Fails if it takes long.
    service.stop().await;
}

#[tokio::test]
async fn a_verification_names_its_population_and_ends_in_time() {
    let service = Service::start().await;
    write_much(&service).await;
    let request = |population: &str| VerifyRequest {
        population: population.into(),
        ..VerifyRequest::default()
    };
    let found = service
        .admin()
        .verify(request(""))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.populations.len(), 1);
    let population = &found.populations[0];
    assert_eq!(population.population, "default");
    assert_eq!((population.shards, population.compared_shards), (1, 1));
    assert_eq!(
        (population.compared_users, population.compared_values),
        (5_000, 5_000)
    );
    assert_eq!(
        (population.mismatch_count, population.skipped_counts),
        (0, 0)
    );

    expect_error(
        service.admin().verify(request("drivers")).await,
        Code::NotFound,
        "POPULATION_NOT_FOUND",
        None,
    );
    let mut late = tonic::Request::new(request(""));
    late.set_timeout(Duration::from_micros(1));
    let error = service.admin().verify(late).await.unwrap_err();
    assert!(
        [Code::DeadlineExceeded, Code::Cancelled].contains(&error.code()),
        "{error}"
    );
}
