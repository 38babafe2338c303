//! Single users: reading and erasing.

use headcount::proto::{DeleteUserRequest, GetUserRequest, ListPopulationsRequest};
use tonic::Code;

use crate::harness::{Service, expect_error, instant, int, set, text};

fn getting(user_id: &str) -> GetUserRequest {
    GetUserRequest {
        user_id: user_id.into(),
        ..Default::default()
    }
}

fn deleting(user_id: &str) -> DeleteUserRequest {
    DeleteUserRequest {
        user_id: user_id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_erased_user_is_in_no_answer() {
    let service = Service::start().await;
    service
        .write(vec![
            set("u", &[("email", text("u@example.org"))]),
            set("v", &[("email", text("v@example.org"))]),
        ])
        .await;
    let response = service.user().delete_user(deleting("u")).await.unwrap();
    let response = response.into_inner();
    assert!(response.existed);
    assert_eq!(response.erase_time, Some(instant("2026-01-01")));
    let mut request = getting("u");
    request.min_revision = response.revision;
    expect_error(
        service.user().get_user(request).await,
        Code::NotFound,
        "USER_NOT_FOUND",
        None,
    );
    assert_eq!(service.count("TRUE").await, 1);
    assert_eq!(service.count("email = 'u@example.org'").await, 0);
    assert_eq!(service.members("TRUE").await, ["v"]);

    // A later write begins a new user.
    service.write(vec![set("u", &[("n", int(1))])]).await;
    let user = service.user().get_user(getting("u")).await.unwrap();
    let properties = user.into_inner().user.unwrap().properties;
    assert_eq!(properties.keys().collect::<Vec<_>>(), ["n"]);
    service.stop().await;
}

#[tokio::test]
async fn erasing_nobody_is_an_error_unless_allowed() {
    let service = Service::start().await;
    for population in ["", "nothing"] {
        let mut request = DeleteUserRequest {
            population: population.into(),
            ..deleting("nobody")
        };
        let refused = service.user().delete_user(request.clone()).await;
        let reason = if population.is_empty() {
            "USER_NOT_FOUND"
        } else {
            "POPULATION_NOT_FOUND"
        };
        expect_error(refused, Code::NotFound, reason, None);
        request.allow_missing = true;
        let response = service.user().delete_user(request).await.unwrap();
        let response = response.into_inner();
        assert!(!response.existed && !response.revision.is_empty());
    }
    // Nor has the question made a population.
    let response = service
        .admin()
        .list_populations(ListPopulationsRequest::default())
        .await;
    assert_eq!(response.unwrap().into_inner().populations.len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn a_malformed_user_id_is_refused() {
    let service = Service::start().await;
    for (user_id, reason) in [("", "INVALID_FIELD"), (&*"x".repeat(257), "LIMIT_EXCEEDED")] {
        let refused = service.user().get_user(getting(user_id)).await;
        expect_error(refused, Code::InvalidArgument, reason, Some("user_id"));
        let refused = service.user().delete_user(deleting(user_id)).await;
        expect_error(refused, Code::InvalidArgument, reason, Some("user_id"));
    }
    service.stop().await;
}
