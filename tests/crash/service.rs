//! A `headcount serve` in a process of its own, and a client of it.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use headcount::proto::admin_service_client::AdminServiceClient;
use headcount::proto::ingest_service_client::IngestServiceClient;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::user_service_client::UserServiceClient;
use headcount::proto::{
    CountRequest, CreateSnapshotRequest, DeleteUserRequest, GetUserRequest, Mismatch, UserUpdate,
    Value, VerifyRequest, WriteRequest, count_request,
};
use tonic::Code;
use tonic::transport::Channel;

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(30);

/// The process, killed at the latest when this is dropped.
pub(crate) struct Service {
    child: Child,
    client: Client,
    address: String,
}

/// What is told of a user.
pub(crate) struct Found {
    pub(crate) properties: BTreeMap<String, Value>,
    /// How many events of each name.
    events: BTreeMap<String, u64>,
}

impl Found {
    /// How many events of a name the user has.
    pub(crate) fn did(&self, event: &str) -> u64 {
        self.events.get(event).copied().unwrap_or(0)
    }
}

/// A client of the process.
#[derive(Clone)]
pub(crate) struct Client(Channel);

/// Writes batches.
pub(crate) struct Ingest(IngestServiceClient<Channel>);

impl Deref for Service {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(data: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
    command
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--listen", &format!("127.0.0.1:{port}")])
        // Small, so that there are many snapshots, and the log is trimmed, in a short life.
        .args([
            "--log-file-bytes",
            "65536",
            "--snapshot-log-bytes",
            "131072",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a process that can't serve the folder, and returns what it says about that.
pub(crate) fn refused(data: &Path) -> String {
    let mut command = serve(data, free_port());
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// A command of `headcount` that talks to a service.
pub(crate) fn command(address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
    command.args(["--server", address]);
    command
}

impl Service {
    /// Starts a process that serves the data folder in `folder`, and waits until it does.
    pub(crate) async fn start(folder: &Path) -> Self {
        let data = folder.to_path_buf();
        let port = free_port();
        let mut child = serve(&data, port).stderr(Stdio::null()).spawn().unwrap();
        let address = format!("http://127.0.0.1:{port}");
        let channel = Channel::from_shared(address.clone()).unwrap();
        let begun = Instant::now();
        loop {
            if let Ok(channel) = channel.connect().await {
                let client = Client(channel);
                if client.is_serving().await {
                    return Self {
                        child,
                        client,
                        address,
                    };
                }
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "the service ended: {ended:?}");
            assert!(begun.elapsed() < START, "the service does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts a process and kills it before long, most likely before it serves.
    pub(crate) async fn start_and_kill(data: &Path, after: Duration) {
        let mut command = serve(data, free_port());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(after).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// Ends the process as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    pub(crate) fn ingest(&self) -> Ingest {
        Ingest(IngestServiceClient::new(self.0.clone()))
    }

    pub(crate) fn writer(&self) -> IngestServiceClient<Channel> {
        IngestServiceClient::new(self.0.clone())
    }

    async fn is_serving(&self) -> bool {
        self.try_count("TRUE").await.is_some()
    }

    async fn try_count(&self, filter: &str) -> Option<u64> {
        let request = CountRequest {
            selection: Some(count_request::Selection::Filter(filter.into())),
            ..CountRequest::default()
        };
        let mut client = QueryServiceClient::new(self.0.clone());
        match client.count(request).await {
            Ok(response) => Some(response.into_inner().count),
            // No user has the property yet: there is none of that name.
            Err(status) if status.code() == Code::InvalidArgument => Some(0),
            Err(_) => None,
        }
    }

    pub(crate) async fn count(&self, filter: &str) -> u64 {
        self.try_count(filter).await.expect("an answer")
    }

    /// What is told of a user, if there is one.
    pub(crate) async fn user(&self, user_id: &str) -> Option<Found> {
        let request = GetUserRequest {
            user_id: user_id.into(),
            ..GetUserRequest::default()
        };
        match UserServiceClient::new(self.0.clone())
            .get_user(request)
            .await
        {
            Ok(response) => {
                let user = response.into_inner().user.unwrap();
                let events = user.events.into_iter();
                Some(Found {
                    properties: user.properties,
                    events: events.map(|event| (event.name, event.count)).collect(),
                })
            }
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    /// Erases a user; `None` if it is not known what became of that.
    pub(crate) async fn erase(&self, user_id: &str) -> Option<()> {
        let request = DeleteUserRequest {
            user_id: user_id.into(),
            allow_missing: true,
            ..DeleteUserRequest::default()
        };
        let mut client = UserServiceClient::new(self.0.clone());
        client.delete_user(request).await.ok().map(|_| ())
    }

    /// What a comparison of the index with a scan finds.
    pub(crate) async fn mismatches(&self) -> Vec<Mismatch> {
        let mut client = AdminServiceClient::new(self.0.clone());
        let verified = client.verify(VerifyRequest::default()).await.unwrap();
        let populations = verified.into_inner().populations.into_iter();
        populations.flat_map(|found| found.mismatches).collect()
    }

    /// Whether a snapshot could be asked for.
    pub(crate) async fn snapshot(&self) -> bool {
        let mut client = AdminServiceClient::new(self.0.clone());
        client
            .create_snapshot(CreateSnapshotRequest {})
            .await
            .is_ok()
    }
}

impl Ingest {
    pub(crate) async fn write(&mut self, updates: Vec<UserUpdate>) -> Result<(), Code> {
        let request = WriteRequest {
            updates,
            ..WriteRequest::default()
        };
        match self.0.write(request).await {
            Ok(_) => Ok(()),
            Err(status) => Err(status.code()),
        }
    }
}
