//! The service as a process that is watched from outside, and the honest client of it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headcount::proto::ingest_service_client::IngestServiceClient;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::segment_service_client::SegmentServiceClient;
use headcount::proto::{
    CheckRequest, CreateSegmentRequest, Segment, UserUpdate, Value, WriteRequest, segment, value,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// How long something may take that happens at once, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Users of the store.
pub(crate) const USERS: usize = 8_000;
/// The name of the segment of all of them.
pub(crate) const SEGMENT: &str = "everyone";

/// The process, killed when this is dropped.
pub(crate) struct Server {
    child: Mutex<Child>,
    process: u32,
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
    folder: TempDir,
    idle: Usage,
}

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// The most memory since the peak was forgotten.
    peak: u64,
    files: usize,
    threads: u64,
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How long an attack that can go on goes on.
pub(crate) fn span() -> Duration {
    let seconds = std::env::var("HEADCOUNT_HOSTILE_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("a number of seconds"));
    Duration::from_secs_f64(seconds.unwrap_or(0.5))
}

fn user(number: usize) -> String {
    format!("user-with-a-long-name-so-that-all-are-many-bytes-{number:08}")
}

impl Server {
    /// Starts a service with some users in it.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = || {
            Stdio::from(
                File::options()
                    .create(true)
                    .append(true)
                    .open(&path)
                    .unwrap(),
            )
        };
        let child = Command::new(env!("CARGO_BIN_EXE_headcount"))
            .arg("serve")
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap();
        let address = announced(&path).await;
        let channel = connect(address).await;
        let mut server = Self {
            process: child.id(),
            child: Mutex::new(child),
            address,
            channel,
            folder,
            idle: Usage {
                peak: 0,
                files: 0,
                threads: 0,
            },
        };
        server.fill().await;
        // What the first calls open, they open once.
        server.witness(Duration::from_millis(100)).await;
        server.forget_peak();
        server.idle = server.usage();
        server
    }

    async fn fill(&self) {
        let mut ingest = IngestServiceClient::new(self.channel.clone());
        let numbers: Vec<usize> = (0..USERS).collect();
        for part in numbers.chunks(800) {
            let updates = part.iter().map(|number| UserUpdate {
                user_id: user(*number),
                set: [(
                    "n".to_owned(),
                    Value {
                        kind: Some(value::Kind::Int64Value(i64::try_from(*number).unwrap())),
                    },
                )]
                .into(),
                ..UserUpdate::default()
            });
            let request = WriteRequest {
                updates: updates.collect(),
                ..WriteRequest::default()
            };
            ingest.write(request).await.unwrap();
        }
        let request = CreateSegmentRequest {
            segment: Some(Segment {
                name: SEGMENT.into(),
                definition: Some(segment::Definition::Filter("n >= 0".into())),
                ..Segment::default()
            }),
            ..CreateSegmentRequest::default()
        };
        let mut segments = SegmentServiceClient::new(self.channel.clone());
        segments.create_segment(request).await.unwrap();
    }

    /// Attacks the service while the honest client asks; then it must be as it was before. It may
    /// have taken so many MiB more for a while.
    #[expect(clippy::print_stderr, reason = "how long calls take is for people")]
    pub(crate) async fn withstands(&self, name: &str, mib: u64, attack: impl Future<Output = ()>) {
        let idle = self.witness(span().min(Duration::from_secs(3)) / 2).await;
        self.forget_peak();
        let before = self.usage();
        let asking = Asking::begin(self.address).await;
        attack.await;
        let attacked = asking.end().await;
        self.is_as_before().await;
        let grown = self.usage().peak.saturating_sub(before.peak) >> 20;
        eprintln!(
            "{name:<40} {:>6} calls, p99 {:>8.2} ms (idle {:>6.2} ms), {grown:>4} MiB more",
            attacked.calls,
            attacked.p99.as_secs_f64() * 1e3,
            idle.p99.as_secs_f64() * 1e3,
        );
        assert!(grown <= mib, "{name} took {grown} MiB");
    }

    /// Waits until nothing is left of an attack.
    async fn is_as_before(&self) {
        let began = Instant::now();
        loop {
            let ended = self.child.lock().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the service ended: {ended:?}\n{}",
                self.log()
            );
            let now = self.usage();
            // A log file may have been begun, and threads for files come and go.
            if now.files <= self.idle.files + 4 && now.threads <= self.idle.threads + 8 {
                break;
            }
            assert!(
                began.elapsed() < SOON,
                "{now:?} is left of the attack, before it was {:?}",
                self.idle
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.witness(Duration::from_millis(20)).await;
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// How many files it has open.
    pub(crate) fn files(&self) -> usize {
        self.usage().files
    }

    /// How many files it had open before.
    pub(crate) fn idle_files(&self) -> usize {
        self.idle.files
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn status(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.process))
    }

    fn usage(&self) -> Usage {
        let status = std::fs::read_to_string(self.status().join("status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let number = line.split_whitespace().nth(1).unwrap();
            number.parse::<u64>().unwrap()
        };
        Usage {
            peak: number("VmHWM:") << 10,
            files: std::fs::read_dir(self.status().join("fd")).unwrap().count(),
            threads: number("Threads:"),
        }
    }

    /// Lets the peak of the memory begin anew.
    #[expect(clippy::disallowed_methods, reason = "no file of a store")]
    fn forget_peak(&self) {
        std::fs::write(self.status().join("clear_refs"), "5").unwrap();
    }

    async fn witness(&self, span: Duration) -> Asked {
        let asking = Asking::begin(self.address).await;
        tokio::time::sleep(span).await;
        asking.end().await
    }
}

/// Where the service that writes to this file serves, once it does.
async fn announced(log: &Path) -> SocketAddr {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        // The last line may not be whole yet.
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let mut lines = whole.lines();
        if let Some(address) = lines.find_map(|line| line.strip_prefix("serving on http://")) {
            return address.parse().unwrap();
        }
        assert!(began.elapsed() < SOON, "the service does not start: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connect(address: SocketAddr) -> Channel {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let began = Instant::now();
    loop {
        match channel.connect().await {
            Ok(channel) => return channel,
            Err(error) => assert!(
                began.elapsed() < SOON,
                "the service does not start: {error}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The honest client: a check now and then, on a connection of its own, answered rightly each time.
struct Asking {
    end: Arc<AtomicBool>,
    running: JoinHandle<Vec<Duration>>,
}

/// How that went.
struct Asked {
    calls: usize,
    p99: Duration,
}

impl Asking {
    async fn begin(address: SocketAddr) -> Self {
        let mut client = QueryServiceClient::new(connect(address).await);
        let end = Arc::new(AtomicBool::new(false));
        let is_ended = Arc::clone(&end);
        let running = tokio::spawn(async move {
            let mut times = Vec::new();
            while !is_ended.load(Ordering::Relaxed) || times.is_empty() {
                let number = times.len() % USERS;
                let request = CheckRequest {
                    user_id: user(number),
                    filters: vec![format!("n = {number}"), format!("n > {number}")],
                    ..CheckRequest::default()
                };
                let began = Instant::now();
                let answer = client
                    .check(request)
                    .await
                    .expect("the honest client is answered");
                times.push(began.elapsed());
                assert_eq!(answer.into_inner().members, [true, false]);
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            times
        });
        Self { end, running }
    }

    async fn end(self) -> Asked {
        self.end.store(true, Ordering::Relaxed);
        let ended = tokio::time::timeout(SOON, self.running).await;
        let mut times = ended.expect("the honest client is answered").unwrap();
        times.sort_unstable();
        let at = (times.len() * 99).div_ceil(100).max(1) - 1;
        Asked {
            calls: times.len(),
            p99: times[at],
        }
    }
}
