//! What the manager of services that started this process is told: how far the start and the end
//! are, and that the process is alive (the protocol of `sd_notify`, of systemd and others).
//!
//! Invariant: nothing here fails the service. That it serves and that it ends is said again for
//! `INSISTENCE` where the manager is too busy to hear it; any other message that does not arrive is
//! lost, and nothing waits for it. Without `NOTIFY_SOCKET` nothing happens.

use std::env;
use std::io::ErrorKind;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Engine;

/// How often the manager is told that something takes its time.
const TICK: Duration = Duration::from_secs(5);
/// For how long from then on it is to wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// For how long the manager is given time to end in all: a disk that takes longer is taken for dead,
/// and the manager does what it was told to.
const LONGEST_END: Duration = Duration::from_mins(2);
/// For how long what it must hear is said again.
const INSISTENCE: Duration = Duration::from_secs(1);
/// How soon it is.
const AGAIN: Duration = Duration::from_millis(20);

/// Tells the manager, if there is one.
#[derive(Clone, Debug)]
pub struct Notifier(Option<Arc<Manager>>);

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How often it wants to hear that the process is alive.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The manager that the environment names.
    #[must_use]
    pub fn of_environment() -> Self {
        let manager = env::var_os("NOTIFY_SOCKET")
            .and_then(|name| address(name.as_encoded_bytes()))
            .and_then(|address| {
                let socket = UnixDatagram::unbound().ok()?;
                socket.set_nonblocking(true).ok()?;
                Some(Arc::new(Manager {
                    socket,
                    address,
                    watchdog: watchdog(
                        env::var("WATCHDOG_USEC").ok().as_deref(),
                        env::var("WATCHDOG_PID").ok().as_deref(),
                    ),
                }))
            });
        Self(manager)
    }

    fn send(&self, lines: &str) -> std::io::Result<()> {
        let Some(manager) = &self.0 else {
            return Ok(());
        };
        let bytes = lines.as_bytes();
        let sent = manager.socket.send_to_addr(bytes, &manager.address);
        sent.map(drop)
    }

    fn tell(&self, lines: &str) {
        if let Err(error) = self.send(lines) {
            tracing::debug!(%error, "the manager of services was not told {lines:?}");
        }
    }

    /// Says what the manager must hear, again and again while it has no room for it.
    async fn insist(&self, lines: &str) {
        let began = tokio::time::Instant::now();
        loop {
            match self.send(lines) {
                Ok(()) => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
                        && began.elapsed() < INSISTENCE =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the manager of services was not told {lines:?}");
                    return;
                }
            }
        }
    }

    /// Says what is done at the moment.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", one_line(status)));
    }

    /// Says that calls are served from now on.
    pub async fn ready(&self, status: &str) {
        let lines = format!("READY=1\nSTATUS={}", one_line(status));
        self.insist(&lines).await;
    }

    /// Says that the end has begun, and how long it may take.
    pub async fn stopping(&self, status: &str, at_most: Duration) {
        let patience = at_most.saturating_add(PATIENCE).as_micros();
        let lines = format!(
            "STOPPING=1\nSTATUS={}\nEXTEND_TIMEOUT_USEC={patience}",
            one_line(status)
        );
        self.insist(&lines).await;
    }

    /// Waits for something that takes its time, and says so meanwhile: however long it takes, it is
    /// not given up, as long as this process gets round to say so.
    pub async fn patiently<T>(&self, waiting: impl Future<Output = T>) -> T {
        self.extending(TICK, None, waiting).await
    }

    /// The same for the end, which is given two minutes: then the manager is asked for no more time,
    /// and ends a process that its disk keeps waiting.
    pub async fn patiently_to_the_end<T>(&self, waiting: impl Future<Output = T>) -> T {
        self.extending(TICK, Some(LONGEST_END), waiting).await
    }

    async fn extending<T>(
        &self,
        every: Duration,
        at_most: Option<Duration>,
        waiting: impl Future<Output = T>,
    ) -> T {
        if self.0.is_none() {
            return waiting.await;
        }
        let began = tokio::time::Instant::now();
        // The last one holds for a while longer.
        let is_over = |at_most: Duration| began.elapsed() + PATIENCE > at_most;
        let extend = format!("EXTEND_TIMEOUT_USEC={}", PATIENCE.as_micros());
        let mut ticks = tokio::time::interval(every);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                done = &mut waiting => return done,
                _ = ticks.tick() => {
                    if at_most.is_some_and(is_over) {
                        return waiting.await;
                    }
                    self.tell(&extend);
                }
            }
        }
    }

    /// Says again and again that the process is alive, if the manager wants to hear it: only while
    /// the runtime that serves calls gets round to it, and the thread that writes takes commands or
    /// waits for the disk. However slow that is, to end the process would end the reads as well.
    pub async fn watch_over(self, engine: Engine) {
        let Some(wanted) = self.0.as_ref().and_then(|manager| manager.watchdog) else {
            return;
        };
        let mut ticks = tokio::time::interval(wanted / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let alive = engine.is_alive();
            tokio::pin!(alive);
            let is_alive = loop {
                tokio::select! {
                    biased;
                    is_alive = &mut alive => break is_alive,
                    _ = ticks.tick() => {
                        if engine.waits_for_disk() {
                            self.tell("WATCHDOG=1");
                        }
                    }
                }
            };
            if !is_alive {
                return;
            }
            self.tell("WATCHDOG=1");
        }
    }
}

/// A text as the end of a line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// The address of a path; of a name without a file, which begins with an @, where there are such.
fn address(name: &[u8]) -> Option<SocketAddr> {
    match name.split_first() {
        Some((b'/', _)) => {
            let path = std::str::from_utf8(name).ok()?;
            SocketAddr::from_pathname(path).ok()
        }
        #[cfg(target_os = "linux")]
        Some((b'@', name)) => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name).ok()
        }
        Some(_) | None => None,
    }
}

/// How often the manager wants to hear of this process: it may mean another one, which had the
/// environment before.
fn watchdog(micros: Option<&str>, process: Option<&str>) -> Option<Duration> {
    if process.is_some_and(|process| process != std::process::id().to_string()) {
        return None;
    }
    let micros: u64 = micros?.parse().ok()?;
    (micros > 0).then_some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_names_without_a_file() {
        let path = address(b"/run/systemd/notify").unwrap();
        assert_eq!(
            path.as_pathname(),
            Some(std::path::Path::new("/run/systemd/notify"))
        );
        #[cfg(target_os = "linux")]
        assert!(address(b"@headcount-test").unwrap().as_pathname().is_none());
        for none in [&b""[..], b"vsock:2:9", b"relative"] {
            assert!(address(none).is_none());
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_none() {
        let own = std::process::id().to_string();
        let span = Some(Duration::from_secs(30));
        assert_eq!(watchdog(Some("30000000"), None), span);
        assert_eq!(watchdog(Some("30000000"), Some(&own)), span);
        assert_eq!(watchdog(Some("30000000"), Some("1")), None);
        assert_eq!(watchdog(Some("0"), None), None);
        assert_eq!(watchdog(Some("soon"), None), None);
        assert_eq!(watchdog(None, None), None);
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("a\nWATCHDOG=trigger\r"), "a WATCHDOG=trigger ");
    }

    fn of(socket: &UnixDatagram, path: &std::path::Path) -> Notifier {
        socket.set_nonblocking(true).unwrap();
        Notifier(Some(Arc::new(Manager {
            socket: socket.try_clone().unwrap(),
            address: address(path.as_os_str().as_encoded_bytes()).unwrap(),
            watchdog: Some(Duration::from_millis(300)),
        })))
    }

    fn hear(manager: &UnixDatagram) -> Vec<String> {
        let mut heard = Vec::new();
        let mut buffer = [0; 256];
        while let Ok(length) = manager.recv(&mut buffer) {
            heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        heard
    }

    #[tokio::test]
    async fn a_manager_that_is_busy_is_told_again_that_the_service_serves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = of(&UnixDatagram::unbound().unwrap(), &path);
        while notifier.send("STATUS=filling").is_ok() {}
        let said = tokio::spawn({
            let notifier = notifier.clone();
            async move { notifier.ready("serving").await }
        });
        tokio::time::sleep(2 * AGAIN).await;
        assert!(!said.is_finished());
        hear(&manager);
        said.await.unwrap();
        assert_eq!(hear(&manager), ["READY=1\nSTATUS=serving"]);
        // One that never listens is given up.
        while notifier.send("STATUS=filling").is_ok() {}
        notifier.stopping("ending", Duration::ZERO).await;
    }

    #[tokio::test]
    async fn more_time_is_asked_for_within_a_bound_if_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = of(&UnixDatagram::unbound().unwrap(), &path);
        let every = Duration::from_millis(50);
        let first_and_later = async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let first = hear(&manager).len();
            tokio::time::sleep(Duration::from_millis(500)).await;
            (first, hear(&manager).len())
        };
        let bound = PATIENCE + Duration::from_millis(500);
        let bounded = notifier.extending(every, Some(bound), first_and_later());
        let (first, later) = bounded.await;
        assert!(first >= 2 && later == 0, "{first} {later}");
        let (first, later) = notifier.extending(every, None, first_and_later()).await;
        assert!(first >= 2 && later >= 2, "{first} {later}");
    }

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn a_slow_disk_does_not_end_the_process() {
        use crate::clock::SystemClock;
        use crate::engine::EngineOptions;
        use crate::model::{Command, StoreLimits};
        use crate::storage::Disk;
        use crate::testing::disk::LyingDisk;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = of(&UnixDatagram::unbound().unwrap(), &path);
        let disk = LyingDisk::new();
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = EngineOptions::new("/data");
        let engine = Engine::open_on(&dyn_disk, &options, Arc::new(SystemClock)).unwrap();
        assert!(engine.is_alive().await);
        assert!(!engine.waits_for_disk());
        disk.slow_down(Duration::from_secs(3));
        let limits = Command::SetLimits(StoreLimits::default());
        let slow = engine.submit(limits).await.unwrap();
        let watched = tokio::spawn(notifier.watch_over(engine.clone()));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(engine.waits_for_disk());
        let heard = hear(&manager);
        assert!(heard.len() >= 3, "{heard:?}");
        assert!(heard.iter().all(|line| line == "WATCHDOG=1"));
        disk.slow_down(Duration::ZERO);
        slow.await.unwrap();
        assert!(!watched.is_finished());
        engine.shutdown().await;
        watched.await.unwrap();
    }
}
