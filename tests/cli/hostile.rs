//! A service that sends a backup which is none: nothing is written outside of the new folder, and
//! nothing is left of it.

use std::net::SocketAddr;

use headcount::api::RpcStatus;
use headcount::proto::admin_service_server::{AdminService, AdminServiceServer};
use headcount::proto::backup_response::Part;
use headcount::proto::{
    BackupCompletion, BackupFile, BackupRequest, BackupResponse, CreateSnapshotRequest,
    CreateSnapshotResponse, GetStatsRequest, GetStatsResponse, ListPopulationsRequest,
    ListPopulationsResponse, VerifyRequest, VerifyResponse,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response};

use crate::service::run;
use crate::verify::{files, text};

type Answer<T> = Result<Response<T>, RpcStatus>;

/// Sends these parts as a backup.
struct Hostile(Vec<Part>);

#[tonic::async_trait]
impl AdminService for Hostile {
    type BackupStream = tokio_stream::Iter<std::vec::IntoIter<Result<BackupResponse, RpcStatus>>>;

    async fn backup(&self, _: Request<BackupRequest>) -> Answer<Self::BackupStream> {
        let parts = self.0.iter().cloned();
        let parts: Vec<_> = parts
            .map(|part| Ok(BackupResponse { part: Some(part) }))
            .collect();
        Ok(Response::new(tokio_stream::iter(parts)))
    }

    async fn create_snapshot(
        &self,
        _: Request<CreateSnapshotRequest>,
    ) -> Answer<CreateSnapshotResponse> {
        panic!("not asked for")
    }

    async fn verify(&self, _: Request<VerifyRequest>) -> Answer<VerifyResponse> {
        panic!("not asked for")
    }

    async fn get_stats(&self, _: Request<GetStatsRequest>) -> Answer<GetStatsResponse> {
        panic!("not asked for")
    }

    async fn list_populations(
        &self,
        _: Request<ListPopulationsRequest>,
    ) -> Answer<ListPopulationsResponse> {
        panic!("not asked for")
    }
}

fn file(name: &str, content: &[u8]) -> [Part; 2] {
    let file = BackupFile {
        name: name.into(),
        length: content.len() as u64,
        checksum: headcount::storage::checksum(content),
    };
    [Part::File(file), Part::Content(content.to_vec())]
}

fn completion(files: u64) -> Part {
    Part::Completion(BackupCompletion { files })
}

/// Serves the parts on a port of its own.
async fn serve(parts: Vec<Part>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(AdminServiceServer::new(Hostile(parts)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_service_sends_is_written_nowhere() {
    let short = {
        let [named, _] = file("headcount", b"all of it");
        [named, Part::Content(b"a part".to_vec())]
    };
    let cases = [
        (
            [file("../stolen", b"x").to_vec(), vec![completion(1)]].concat(),
            2,
            "no file of a backup",
        ),
        (
            [file("/tmp/stolen", b"x").to_vec(), vec![completion(1)]].concat(),
            2,
            "no file of a backup",
        ),
        (
            [short.to_vec(), vec![completion(1)]].concat(),
            2,
            "did not arrive as it was sent",
        ),
        // Cut off between two files.
        (file("headcount", b"x").to_vec(), 3, "not sent whole"),
        (
            [file("headcount", b"x").to_vec(), vec![completion(2)]].concat(),
            3,
            "not sent whole",
        ),
        (vec![Part::Content(b"x".to_vec())], 3, "not sent whole"),
        (Vec::new(), 3, "not sent whole"),
        // Whole, but no data folder.
        (
            [file("headcount", b"x").to_vec(), vec![completion(1)]].concat(),
            1,
            "does not check out",
        ),
    ];
    for (parts, code, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        let server = format!("http://{}", serve(parts).await);
        let to = folder.path().join("inside/backup");
        std::fs::create_dir(folder.path().join("inside")).unwrap();
        let before = files(folder.path());
        let ended = run(&["--server", &server, "backup", text(&to)]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.err.contains(message), "{ended:?}");
        assert!(
            files(folder.path()) == before,
            "something was left: {message}"
        );
    }
}
