//! A restart changes no answer.

use headcount::proto::{CreateSnapshotRequest, ListMembersRequest, list_members_request};

use crate::harness::{Service, counting, int, set, set_of, text, user};

async fn fill(service: &Service, from: usize, to: usize) {
    let users = (from..to).map(|n| {
        let tag = format!("t{}", n % 7);
        set(
            &format!("u{n}"),
            &[
                ("n", int(i64::try_from(n).unwrap())),
                ("plan", text(["free", "pro", "team"][n % 3])),
                ("tags", set_of(&[&tag, "all"])),
            ],
        )
    });
    service.write(users.collect()).await;
}

const FILTERS: [&str; 5] = [
    "TRUE",
    "plan = 'pro' AND n > 100",
    "tags HAS ANY ('t1', 't2')",
    "NOT plan IN ('free', 'team')",
    "AT LEAST 2 OF (plan = 'pro', n < 500, tags HAS ALL ('t3', 'all'))",
];

async fn answers(service: &Service) -> Vec<(u64, Vec<String>)> {
    let mut answers = Vec::new();
    for filter in FILTERS {
        answers.push((service.count(filter).await, service.members(filter).await));
    }
    answers
}

#[tokio::test]
async fn a_restart_gives_the_same_answers() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path()).await;
    fill(&service, 0, 800).await;
    service
        .admin()
        .create_snapshot(CreateSnapshotRequest {})
        .await
        .unwrap();
    fill(&service, 600, 1_000).await;
    let request = headcount::proto::DeleteUserRequest {
        user_id: "u5".into(),
        ..Default::default()
    };
    service.user().delete_user(request).await.unwrap();
    let revision = service.write(vec![user("last")]).await;
    let before = answers(&service).await;
    let everything = service.everything().await;
    assert_eq!(before[0].0, 1_000);
    service.stop().await;

    for _ in 0..2 {
        let service = Service::start_in(folder.path()).await;
        assert_eq!(answers(&service).await, before);
        assert_eq!(service.everything().await, everything);
        // Revisions go on where they were.
        let mut request = counting("TRUE");
        request.min_revision = revision.clone();
        assert_eq!(
            service
                .query()
                .count(request)
                .await
                .unwrap()
                .into_inner()
                .count,
            1_000
        );
        service.stop().await;
    }
}

#[tokio::test]
async fn pages_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_in(folder.path()).await;
    fill(&service, 0, 30).await;
    let mut request = ListMembersRequest {
        selection: Some(list_members_request::Selection::Filter("TRUE".into())),
        page_size: 20,
        ..Default::default()
    };
    let first = service
        .query()
        .list_members(request.clone())
        .await
        .unwrap()
        .into_inner();
    service.stop().await;

    let service = Service::start_in(folder.path()).await;
    request.page_token = first.next_page_token;
    let second = service
        .query()
        .list_members(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(second.user_ids.len(), 10);
    assert!(
        second
            .user_ids
            .iter()
            .all(|user| !first.user_ids.contains(user))
    );
    service.stop().await;
}
