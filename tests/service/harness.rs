//! A server to test, the words for what is sent to it, and what an error must look like.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headcount::api::RpcStatus;
use headcount::engine::{Engine, EngineOptions};
use headcount::model::Timestamp;
use headcount::proto::{
    self, CountRequest, UserUpdate, WriteRequest, admin_service_client::AdminServiceClient,
    count_request, ingest_service_client::IngestServiceClient,
    query_service_client::QueryServiceClient, schema_service_client::SchemaServiceClient,
    segment_service_client::SegmentServiceClient, user_service_client::UserServiceClient,
    value::Kind,
};
use headcount::server::{self, Observer, ServerConfig, ServerError};
use headcount::storage::{Disk, RealDisk};
use headcount::testing::clock::ManualClock;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

/// When every test takes place: 2026-01-01T00:00:00Z.
pub(crate) const NOW: &str = "2026-01-01";

/// A server that runs in this process.
pub(crate) struct Service {
    pub(crate) channel: Channel,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) observer: Observer,
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServerError>>,
    /// Removed when the test ends.
    folder: Option<TempDir>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = Self::start_in(folder.path()).await;
        Self {
            folder: Some(folder),
            ..service
        }
    }

    /// Serves what is in a data folder.
    pub(crate) async fn start_in(folder: &Path) -> Self {
        Self::start_with(folder, ServerConfig::default()).await
    }

    pub(crate) async fn start_with(folder: &Path, config: ServerConfig) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        Self::start_on(&disk, &folder.join("data"), config).await
    }

    /// Serves what is in a folder of a disk.
    pub(crate) async fn start_on(disk: &Arc<dyn Disk>, data: &Path, config: ServerConfig) -> Self {
        Self::start_engine(disk, EngineOptions::new(data), config).await
    }

    /// Serves what is in a folder of a disk, with options of the engine.
    pub(crate) async fn start_engine(
        disk: &Arc<dyn Disk>,
        options: EngineOptions,
        config: ServerConfig,
    ) -> Self {
        let connect = |address| Channel::from_shared(format!("http://{address}")).unwrap();
        Self::start_connected(disk, options, config, connect).await
    }

    /// The same, with a channel of another kind.
    pub(crate) async fn start_connected(
        disk: &Arc<dyn Disk>,
        mut options: EngineOptions,
        config: ServerConfig,
        connect: impl FnOnce(SocketAddr) -> Endpoint,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(NOW.parse().unwrap()));
        options.query_threads = 1;
        let engine = Engine::open_on(disk, &options, clock.clone()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let observer = Observer::new(config.slow_call);
        let (served, seen) = (engine.clone(), observer.clone());
        let running = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server::run_observed(served, listener, config, &seen, stopped).await
        });
        let channel = connect(address).connect().await.unwrap();
        Self {
            channel,
            address,
            clock,
            observer,
            engine,
            stop,
            running,
            folder: None,
        }
    }

    /// Another connection.
    pub(crate) async fn connect(&self) -> Channel {
        connect(self.address).await
    }

    /// Ends the server and the store. Fails if that takes too long.
    pub(crate) async fn stop(self) -> Option<TempDir> {
        self.stop.send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(30), async {
            self.running.await.unwrap().unwrap();
            self.engine.shutdown().await;
        });
        ended.await.expect("the server ends");
        self.folder
    }

    pub(crate) fn ingest(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::new(self.channel.clone())
    }

    pub(crate) fn query(&self) -> QueryServiceClient<Channel> {
        QueryServiceClient::new(self.channel.clone())
    }

    pub(crate) fn user(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone())
    }

    pub(crate) fn schema(&self) -> SchemaServiceClient<Channel> {
        SchemaServiceClient::new(self.channel.clone())
    }

    pub(crate) fn segments(&self) -> SegmentServiceClient<Channel> {
        SegmentServiceClient::new(self.channel.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// Writes one batch and returns its revision.
    pub(crate) async fn write(&self, updates: Vec<UserUpdate>) -> String {
        self.try_write(updates).await.unwrap()
    }

    pub(crate) async fn try_write(&self, updates: Vec<UserUpdate>) -> Result<String, RpcStatus> {
        let request = WriteRequest {
            population: String::new(),
            updates,
            ..Default::default()
        };
        let response = self.ingest().write(request).await?;
        Ok(response.into_inner().revision)
    }

    pub(crate) async fn count(&self, filter: &str) -> u64 {
        self.try_count(filter).await.unwrap()
    }

    pub(crate) async fn try_count(&self, filter: &str) -> Result<u64, RpcStatus> {
        let response = self.query().count(counting(filter)).await?;
        Ok(response.into_inner().count)
    }

    /// All users and what is known of them.
    pub(crate) async fn everything(&self) -> BTreeMap<String, BTreeMap<String, proto::Value>> {
        let mut all = BTreeMap::new();
        for user_id in self.members("TRUE").await {
            let request = proto::GetUserRequest {
                user_id: user_id.clone(),
                ..Default::default()
            };
            let user = self.user().get_user(request).await.unwrap().into_inner();
            all.insert(user_id, user.user.unwrap().properties);
        }
        all
    }

    /// All members, in the order of the list.
    pub(crate) async fn members(&self, filter: &str) -> Vec<String> {
        let mut members = Vec::new();
        let mut request = proto::ListMembersRequest {
            selection: Some(proto::list_members_request::Selection::Filter(
                filter.into(),
            )),
            page_size: 10_000,
            ..Default::default()
        };
        loop {
            let page = self.query().list_members(request.clone()).await.unwrap();
            let page = page.into_inner();
            members.extend(page.user_ids);
            if page.next_page_token.is_empty() {
                return members;
            }
            request.page_token = page.next_page_token;
        }
    }
}

async fn connect(address: SocketAddr) -> Channel {
    let channel = Channel::from_shared(format!("http://{address}"));
    channel.unwrap().connect().await.unwrap()
}

/// A request to count.
pub(crate) fn counting(filter: &str) -> CountRequest {
    CountRequest {
        selection: Some(count_request::Selection::Filter(filter.into())),
        ..Default::default()
    }
}

pub(crate) fn value(kind: Kind) -> proto::Value {
    proto::Value { kind: Some(kind) }
}

pub(crate) fn text(text: &str) -> proto::Value {
    value(Kind::StringValue(text.into()))
}

pub(crate) fn int(number: i64) -> proto::Value {
    value(Kind::Int64Value(number))
}

pub(crate) fn double(number: f64) -> proto::Value {
    value(Kind::DoubleValue(number))
}

pub(crate) fn texts(elements: &[&str]) -> proto::StringSet {
    proto::StringSet {
        elements: elements.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn set_of(elements: &[&str]) -> proto::Value {
    value(Kind::StringSetValue(texts(elements)))
}

pub(crate) fn instant(text: &str) -> prost_types::Timestamp {
    let timestamp: Timestamp = text.parse().unwrap();
    prost_types::Timestamp {
        seconds: timestamp.micros().div_euclid(1_000_000),
        nanos: i32::try_from(timestamp.micros().rem_euclid(1_000_000) * 1_000).unwrap(),
    }
}

pub(crate) fn map<V: Clone>(entries: &[(&str, V)]) -> BTreeMap<String, V> {
    let entries = entries.iter().cloned();
    entries
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// An update that changes nothing, to be filled in.
pub(crate) fn user(user_id: &str) -> UserUpdate {
    UserUpdate {
        user_id: user_id.into(),
        ..Default::default()
    }
}

/// An update that sets properties.
pub(crate) fn set(user_id: &str, properties: &[(&str, proto::Value)]) -> UserUpdate {
    UserUpdate {
        set: map(properties),
        ..user(user_id)
    }
}

/// What an error must be.
#[track_caller]
pub(crate) fn expect_error<T>(
    result: Result<T, RpcStatus>,
    code: Code,
    reason: &str,
    field: Option<&str>,
) -> RpcStatus {
    let Err(status) = result else {
        panic!("expected {reason}, found an answer");
    };
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| {
        panic!("no ErrorInfo in {:?}: {}", status.code(), status.message());
    });
    assert_eq!(
        (status.code(), info.reason.as_str(), info.domain.as_str()),
        (code, reason, "headcount"),
        "{}",
        status.message()
    );
    let violation = details.bad_request().and_then(|bad| {
        let first = bad.field_violations.first()?;
        Some(first.field.as_str())
    });
    assert_eq!(violation, field, "{}", status.message());
    status
}

/// A fact of an error.
#[track_caller]
pub(crate) fn fact(status: &RpcStatus, name: &str) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    let fact = info.metadata.get(name);
    fact.unwrap_or_else(|| panic!("no fact {name} in {info:?}"))
        .clone()
}
