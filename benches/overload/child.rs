//! The server in a process of its own, under a limit of memory where that can be had.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tonic::transport::Channel;

/// How long a start may take.
const START: Duration = Duration::from_secs(30);

pub struct Server {
    child: Child,
    address: String,
    /// The group whose memory is limited, if there could be one.
    group: Option<PathBuf>,
    limit: u64,
    _folder: TempDir,
}

/// What a process takes of the machine's memory, in bytes.
pub struct Memory {
    pub now: u64,
    pub most: u64,
}

/// Puts a process into a group of its own with a limit; `None` where that may not be done.
fn limit(process: u32, bytes: u64) -> Option<PathBuf> {
    let group = PathBuf::from(format!("/sys/fs/cgroup/headcount-overload-{process}"));
    std::fs::create_dir(&group).ok()?;
    let limited = std::fs::write(group.join("memory.max"), bytes.to_string())
        .and_then(|()| std::fs::write(group.join("cgroup.procs"), process.to_string()));
    if limited.is_err() {
        let _ = std::fs::remove_dir(&group);
        return None;
    }
    Some(group)
}

impl Server {
    pub async fn start(memory: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let child = Command::new(env!("CARGO_BIN_EXE_headcount"))
            .args(["serve", "--log", "warn", "--data"])
            .arg(folder.path().join("data"))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let group = limit(child.id(), memory);
        let server = Self {
            child,
            address: format!("http://127.0.0.1:{port}"),
            group,
            limit: memory,
            _folder: folder,
        };
        let begun = Instant::now();
        while server.try_connect().await.is_err() {
            assert!(begun.elapsed() < START, "the server does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    async fn try_connect(&self) -> Result<Channel, tonic::transport::Error> {
        let channel = Channel::from_shared(self.address.clone()).expect("an address");
        channel.connect().await
    }

    pub async fn connect(&self) -> Channel {
        self.try_connect().await.expect("a connection")
    }

    /// How memory is limited.
    pub fn limited(&self) -> String {
        let mebibytes = self.limit >> 20;
        if self.group.is_some() {
            format!("the server may take {mebibytes} MiB, or is killed")
        } else {
            format!("no limit could be set; it is looked whether the server takes {mebibytes} MiB")
        }
    }

    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the server runs, on Linux");
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.and_then(|number| number.parse::<u64>().ok())
        };
        let bytes = |name| kibibytes(name).expect("a number") << 10;
        Memory {
            now: bytes("VmRSS:"),
            most: bytes("VmHWM:"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(group) = &self.group {
            let _ = std::fs::remove_dir(group);
        }
    }
}
