//! The server in a process of its own, under a limit of memory where that can be had.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;
use tonic::transport::Channel;

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

/// Processors of the server and of the clients, so that neither's work makes the other one late.
pub struct Cores {
    server: CpuSet,
    client: CpuSet,
}

impl Cores {
    /// Halves those that there are, and keeps this thread and those that it starts to one half.
    /// `None` where there is only one, or where that may not be done.
    pub fn halve() -> Option<Self> {
        let all = sched_getaffinity(None).ok()?;
        let numbers: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&n| all.is_set(n)).collect();
        let (server, client) = numbers.split_at(numbers.len() / 2);
        if server.is_empty() {
            return None;
        }
        let cores = Self {
            server: set_of(server),
            client: set_of(client),
        };
        sched_setaffinity(None, &cores.client).ok()?;
        Some(cores)
    }

    /// How many the server has, and how many the clients.
    pub fn counts(&self) -> (u32, u32) {
        (self.server.count(), self.client.count())
    }
}

fn set_of(numbers: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for &number in numbers {
        set.set(number);
    }
    set
}

fn keep_to(cores: &CpuSet) {
    sched_setaffinity(None, cores).expect("a thread may be kept to its processors");
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
    /// Starts it, on processors of its own where there are some; returns when it serves.
    pub fn start(memory: u64, cores: Option<&Cores>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // A process begins with the processors of the thread that starts it.
        if let Some(cores) = cores {
            keep_to(&cores.server);
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_headcount"))
            .args(["serve", "--log", "error", "--data"])
            .arg(folder.path().join("data"))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        if let Some(cores) = cores {
            keep_to(&cores.client);
        }
        let group = limit(child.id(), memory);
        // Who connects before this line is told that the server starts.
        let said = BufReader::new(child.stdout.take().expect("its output"));
        let address = said
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("serving on ").map(str::to_owned));
        Self {
            child,
            address: address.expect("the server serves before it ends"),
            group,
            limit: memory,
            _folder: folder,
        }
    }

    pub async fn connect(&self) -> Channel {
        let channel = Channel::from_shared(self.address.clone()).expect("an address");
        channel.connect().await.expect("a connection")
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
