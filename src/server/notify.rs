//! What the manager of services that started this process is told: how far the start and the end
//! are, and that the process is alive (the protocol of `sd_notify`, of systemd and others).
//!
//! Invariant: nothing here waits, and nothing here fails the service: a message that does not arrive
//! is lost. Without `NOTIFY_SOCKET` nothing happens.

use std::env;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Engine;

/// How often the manager is told that something takes its time.
const TICK: Duration = Duration::from_secs(5);
/// For how long from then on it is to wait.
const PATIENCE: Duration = Duration::from_secs(30);

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

    fn tell(&self, lines: &str) {
        if let Some(manager) = &self.0 {
            let sent = manager
                .socket
                .send_to_addr(lines.as_bytes(), &manager.address);
            if let Err(error) = sent {
                tracing::debug!(%error, "the manager of services was not told {lines:?}");
            }
        }
    }

    /// Says what is done at the moment.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", one_line(status)));
    }

    /// Says that calls are served from now on.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// Says that the end has begun, and how long it may take.
    pub fn stopping(&self, status: &str, at_most: Duration) {
        let patience = at_most.saturating_add(PATIENCE).as_micros();
        self.tell(&format!(
            "STOPPING=1\nSTATUS={}\nEXTEND_TIMEOUT_USEC={patience}",
            one_line(status)
        ));
    }

    /// Waits for something that takes its time, and says so meanwhile: however long it takes, it is
    /// not given up, as long as this process gets round to say so.
    pub async fn patiently<T>(&self, waiting: impl Future<Output = T>) -> T {
        if self.0.is_none() {
            return waiting.await;
        }
        let extend = format!("EXTEND_TIMEOUT_USEC={}", PATIENCE.as_micros());
        let mut ticks = tokio::time::interval(TICK);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                done = &mut waiting => return done,
                _ = ticks.tick() => self.tell(&extend),
            }
        }
    }

    /// Says again and again that the process is alive, if the manager wants to hear it: only while
    /// the runtime that serves calls gets round to it, and the thread that writes takes commands.
    pub async fn watch_over(self, engine: Engine) {
        let Some(wanted) = self.0.as_ref().and_then(|manager| manager.watchdog) else {
            return;
        };
        let mut ticks = tokio::time::interval(wanted / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !engine.is_alive().await {
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
}
