//! What the port says while the store is being opened, and that clients find the service once it is.

use std::sync::Arc;
use std::time::Duration;

use headcount::engine::{Engine, EngineOptions};
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::{CountRequest, count_request};
use headcount::server::{self, ServerConfig};
use headcount::testing::clock::ManualClock;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::harness::NOW;

fn count() -> CountRequest {
    CountRequest {
        selection: Some(count_request::Selection::Filter("TRUE".into())),
        ..CountRequest::default()
    }
}

#[tokio::test]
async fn the_port_says_that_the_service_starts_and_then_serves() {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let meanwhile = TcpListener::from_std(socket.try_clone().unwrap()).unwrap();
    let listener = TcpListener::from_std(socket).unwrap();
    let address = listener.local_addr().unwrap();
    let (opened, told) = oneshot::channel::<()>();
    let config = ServerConfig::default();
    let starting = tokio::spawn({
        let config = config.clone();
        async move {
            let told = async {
                let _ = told.await;
            };
            server::run_starting(meanwhile, &config, told).await
        }
    });

    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    let request = HealthCheckRequest::default;
    let watch = health.watch(request()).await.unwrap();
    let mut watch = watch.into_inner();
    let status = watch.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::NotServing);
    let mut query = QueryServiceClient::new(channel);
    let error = query.count(count()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert_eq!(
        error.get_details_error_info().unwrap().reason,
        "NOT_SERVING"
    );
    assert!(error.get_details_retry_info().is_some(), "{error:?}");

    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW.parse().unwrap()));
    let options = EngineOptions::new(folder.path().join("data"));
    let engine = Engine::open(&options, clock).unwrap();
    opened.send(()).unwrap();
    // Whoever watched is told to look again.
    let ended = async { while watch.message().await.is_ok_and(|message| message.is_some()) {} };
    let soon = Duration::from_secs(10);
    tokio::time::timeout(soon, ended).await.expect("it ends");
    let ended = tokio::time::timeout(soon, starting).await;
    ended.expect("it ends").unwrap().unwrap();

    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server::run(engine.clone(), listener, config, async {
        let _ = stopped.await;
    }));
    // The same client, which connects anew by itself.
    assert_eq!(query.count(count()).await.unwrap().into_inner().count, 0);
    let checked = health.check(request()).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::Serving);
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    engine.shutdown().await;
    assert!(!engine.is_alive().await);
}
