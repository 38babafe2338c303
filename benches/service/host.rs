//! The servers that are measured, in this process: the real one, and one that has only the empty
//! call, with the same settings.

use std::net::SocketAddr;
use std::sync::Arc;

use headcount::clock::SystemClock;
use headcount::engine::{Engine, EngineOptions};
use headcount::model::PopulationName;
use headcount::population::Population;
use headcount::server::{self, ServerConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};

use crate::empty::EmptyServer;

pub struct Host {
    pub folder: TempDir,
    pub engine: Engine,
    real: SocketAddr,
    empty: SocketAddr,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
}

/// Threads of their own, so that neither clients nor servers wait in the other's queue.
pub fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build()
        .expect("threads")
}

impl Host {
    pub fn start() -> Self {
        let runtime = runtime("server");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = EngineOptions::new(folder.path().join("data"));
        let engine = Engine::open(&options, Arc::new(SystemClock)).expect("a new store");
        let listen = || runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
        let (listener, other) = (listen().expect("a port"), listen().expect("a port"));
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let (real, empty) = (address(&listener), address(&other));
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(server::run(
            engine.clone(),
            listener,
            ServerConfig::default(),
            async {
                let _ = stopped.await;
            },
        ));
        // As in the real server.
        let config = ServerConfig::default();
        let server = Server::builder()
            .max_concurrent_streams(config.streams_per_connection)
            .http2_keepalive_interval(Some(config.keepalive_interval))
            .http2_keepalive_timeout(Some(config.keepalive_timeout))
            .http2_max_header_list_size(16 << 10)
            .add_service(EmptyServer);
        runtime
            .spawn(server.serve_with_incoming(TcpIncoming::from(other).with_nodelay(Some(true))));
        Self {
            folder,
            engine,
            real,
            empty,
            runtime,
            stop,
        }
    }

    pub async fn connect(&self) -> Channel {
        connect(self.real).await
    }

    pub async fn connect_empty(&self) -> Channel {
        connect(self.empty).await
    }

    pub fn population(&self) -> Arc<Population> {
        let name = PopulationName::default();
        self.engine.population(&name).expect("users were written")
    }

    pub fn end(self) {
        let _ = self.stop.send(());
        self.runtime.block_on(self.engine.shutdown());
        self.runtime.shutdown_background();
    }
}

async fn connect(address: SocketAddr) -> Channel {
    let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
    channel.connect().await.expect("a connection")
}
