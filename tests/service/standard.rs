//! What every gRPC service has: reflection, health, deadlines, an end.

use std::time::{Duration, Instant};

use headcount::proto::{CheckRequest, StreamMembersRequest};
use headcount::server::ServerConfig;
use prost::Message;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus as Health;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;

use crate::harness::{Service, expect_error, int, set, user};

const SERVICES: [&str; 6] = [
    "headcount.v1.AdminService",
    "headcount.v1.IngestService",
    "headcount.v1.QueryService",
    "headcount.v1.SchemaService",
    "headcount.v1.SegmentService",
    "headcount.v1.UserService",
];

/// The comments of a service, from the file that reflection serves.
fn comments(file: &[u8]) -> String {
    let file = prost_types::FileDescriptorProto::decode(file).unwrap();
    let locations = file.source_code_info.unwrap().location;
    locations
        .iter()
        .filter_map(|location| location.leading_comments.clone())
        .collect()
}

#[tokio::test]
async fn reflection_v1_lists_and_describes_the_services() {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let service = Service::start().await;
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("headcount.v1.QueryService".into()),
        MessageRequest::FileContainingSymbol("headcount.v1.ErrorReason".into()),
        MessageRequest::FileContainingSymbol("grpc.health.v1.Health".into()),
    ];
    let asked = asked.map(|message| v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    });
    let answers = client
        .server_reflection_info(tokio_stream::iter(asked))
        .await;
    let mut answers = answers.unwrap().into_inner();
    let mut names = Vec::new();
    let mut files = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        match answer.message_response.unwrap() {
            MessageResponse::ListServicesResponse(list) => {
                names.extend(list.service.into_iter().map(|service| service.name));
            }
            MessageResponse::FileDescriptorResponse(file) => {
                files.extend(file.file_descriptor_proto);
            }
            other @ (MessageResponse::AllExtensionNumbersResponse(_)
            | MessageResponse::ErrorResponse(_)) => panic!("{other:?}"),
        }
    }
    for name in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    assert_eq!(files.len(), 3);
    assert!(comments(&files[0]).contains("Answers questions about segments"));
    service.stop().await;
}

#[tokio::test]
async fn reflection_v1alpha_lists_the_services() {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let service = Service::start().await;
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let asked = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client
        .server_reflection_info(tokio_stream::iter([asked]))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list");
    };
    let names: Vec<String> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for name in SERVICES {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    service.stop().await;
}

#[tokio::test]
async fn health_is_told_for_all_and_for_each() {
    let service = Service::start().await;
    let mut client = HealthClient::new(service.channel.clone());
    for name in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest {
            service: name.into(),
        };
        let health = client.check(request).await.unwrap().into_inner();
        assert_eq!(health.status(), Health::Serving, "{name}");
    }
    let request = HealthCheckRequest {
        service: "nothing".into(),
    };
    let refused = client.check(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_watch_sees_the_end_and_does_not_hold_it_up() {
    let service = Service::start().await;
    let mut client = HealthClient::new(service.channel.clone());
    let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), Health::Serving);
    let began = Instant::now();
    let stopping = tokio::spawn(service.stop());
    let mut last = first;
    while let Ok(Some(next)) = watch.message().await {
        last = next;
    }
    assert_eq!(last.status(), Health::NotServing);
    stopping.await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_bounded_whatever_clients_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        drain: Duration::from_millis(300),
        ..ServerConfig::default()
    };
    let service = Service::start_with(folder.path(), config).await;
    // A reflection stream that its client never ends.
    let (_keep, receiver) = tokio::sync::mpsc::channel(1);
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let _open = client.server_reflection_info(stream).await.unwrap();
    let began = Instant::now();
    service.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn too_many_queries_are_refused_at_once_and_checks_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        queries: 0,
        ..ServerConfig::default()
    };
    let service = Service::start_with(folder.path(), config).await;
    service.write(vec![set("u", &[("age", int(5))])]).await;
    let refused = service.try_count("age > 4").await;
    let status = expect_error(refused, Code::ResourceExhausted, "OVERLOADED", None);
    let retry = status.get_details_retry_info().unwrap();
    assert!(retry.retry_delay.is_some());
    let request = CheckRequest {
        user_id: "u".into(),
        filters: vec!["TRUE".into()],
        ..Default::default()
    };
    let check = service.query().check(request).await.unwrap();
    assert_eq!(check.into_inner().members, [true]);
    service.stop().await;
}

#[tokio::test]
async fn unknown_methods_are_unimplemented() {
    let service = Service::start().await;
    let mut client = tonic::client::Grpc::new(service.channel.clone());
    client.ready().await.unwrap();
    let path =
        tonic::codegen::http::uri::PathAndQuery::from_static("/headcount.v1.QueryService/Forecast");
    let codec = tonic_prost::ProstCodec::<StreamMembersRequest, StreamMembersRequest>::default();
    let request = tonic::Request::new(StreamMembersRequest::default());
    let refused = client.unary(request, path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    service.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_clients_fault() {
    let service = Service::start().await;
    service.write(vec![user("u")]).await;
    let mut client = tonic::client::Grpc::new(service.channel.clone());
    client.ready().await.unwrap();
    let path =
        tonic::codegen::http::uri::PathAndQuery::from_static("/headcount.v1.UserService/GetUser");
    // Where a text is expected, a text that is no UTF-8.
    let codec = tonic_prost::ProstCodec::<Vec<u8>, headcount::proto::GetUserResponse>::default();
    let bad = vec![0xff, 0xfe];
    let refused = client.unary(tonic::Request::new(bad), path, codec).await;
    expect_error(refused, Code::InvalidArgument, "INVALID_FIELD", None);
    service.stop().await;
}
