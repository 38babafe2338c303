//! The service as a manager of services sees it: this test plays systemd, with a socket of its own.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::service::{Service, command, run};

/// Long enough for anything that is expected here.
const SOON: Duration = Duration::from_secs(20);

/// The socket of a manager, and what it was told so far.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self {
            socket,
            told: Vec::new(),
        }
    }

    fn at(path: &Path) -> Self {
        Self::new(UnixDatagram::bind(path).unwrap())
    }

    /// Waits for a message that has this line, and returns all of it.
    #[track_caller]
    fn hears(&mut self, line: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut buffer = [0; 4_096];
        while Instant::now() < deadline {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                break;
            };
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.told.push(message.clone());
            if message.lines().any(|told| told.starts_with(line)) {
                return message;
            }
        }
        panic!("{line} was not said, only {:?}", self.told)
    }

    fn heard(&self, line: &str) -> bool {
        let mut lines = self.told.iter().flat_map(|message| message.lines());
        lines.any(|told| told == line)
    }
}

fn serve(data: &Path, socket: &str) -> Command {
    let mut command = command();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
        .arg("--data")
        .arg(data)
        .env("NOTIFY_SOCKET", socket);
    command
}

#[test]
fn the_manager_is_told_of_the_start_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::at(&path);
    let mut command = serve(&folder.path().join("data"), path.to_str().unwrap());
    let mut service = Service::started_by(&mut command);
    let ready = manager.hears("READY=1");
    assert!(ready.contains("\nSTATUS=serving on 127.0.0.1:"), "{ready}");
    assert!(
        manager.told[0].starts_with("STATUS=reading"),
        "{:?}",
        manager.told
    );
    assert_eq!(service.ask(&["health"]).code, 0);
    service.signal("TERM");
    let stopping = manager.hears("STOPPING=1");
    // The bound of 10 s, and time to close the log.
    assert!(
        stopping.contains("\nEXTEND_TIMEOUT_USEC=40000000"),
        "{stopping}"
    );
    assert_eq!(service.ended_within(SOON), Some(0));
    // Nobody asked for it.
    assert!(!manager.heard("WATCHDOG=1"));
}

#[test]
fn the_manager_hears_that_the_service_is_alive_while_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::at(&path);
    let mut command = serve(&folder.path().join("data"), path.to_str().unwrap());
    command.env("WATCHDOG_USEC", "60000");
    let service = Service::started_by(&mut command);
    manager.hears("READY=1");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    // A process that does not get round to anything says nothing.
    service.signal("STOP");
    manager
        .socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut buffer = [0; 4_096];
    // What was on its way.
    while manager.socket.recv(&mut buffer).is_ok() {}
    assert!(manager.socket.recv(&mut buffer).is_err());
    manager.socket.set_read_timeout(Some(SOON)).unwrap();
    service.signal("CONT");
    manager.hears("WATCHDOG=1");
    assert_eq!(service.terminate(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_manager_s_socket_may_have_no_file() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let folder = tempfile::tempdir().unwrap();
    let name = format!("headcount-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut manager = Manager::new(UnixDatagram::bind_addr(&address).unwrap());
    let mut command = serve(&folder.path().join("data"), &format!("@{name}"));
    let service = Service::started_by(&mut command);
    manager.hears("READY=1");
    assert_eq!(service.terminate(), 0);
    manager.hears("STOPPING=1");
}

#[test]
fn a_manager_that_is_not_there_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    for socket in ["/nowhere/at/all", "relative", ""] {
        let mut command = serve(&folder.path().join("data"), socket);
        let service = Service::started_by(&mut command);
        assert_eq!(service.ask(&["health"]).code, 0);
        assert_eq!(service.terminate(), 0);
    }
}

/// Ends a process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opening waits for ever here, for whoever writes to a pipe: as long as it takes, nobody who asks is
/// left waiting, and the manager is told that it goes on.
#[test]
fn a_service_that_starts_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut manager = Manager::at(&path);
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let pipe = Command::new("mkfifo").arg(data.join("headcount")).status();
    assert!(pipe.unwrap().success());
    let mut command = serve(&data, path.to_str().unwrap());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut service = Ended(child.unwrap());
    let status = manager.hears("STATUS=reading");
    let server = status.rsplit(' ').next().unwrap().to_owned();
    manager.hears("EXTEND_TIMEOUT_USEC=30000000");
    let health = run(&["--server", &server, "health"]);
    assert_eq!((health.code, health.out.as_str()), (1, "not serving\n"));
    let live = run(&["--server", &server, "health", "live"]);
    assert_eq!((live.code, live.out.as_str()), (0, "serving\n"));
    for question in [
        &["count", "TRUE"][..],
        &["populations"],
        &["segments"],
        &["bench", "--prepare"],
        &["bench", "--profile", "checks"],
    ] {
        let asked = run(&[&["--server", server.as_str()], question].concat());
        assert_eq!(asked.code, 3, "{asked:?}");
        assert!(asked.err.contains("the service is starting"), "{asked:?}");
    }
    assert!(!manager.heard("READY=1"));
    // There is nothing to read again, and nothing ends by being asked to.
    let id = service.0.id().to_string();
    let hung_up = Command::new("kill").args(["-s", "HUP", &id]).status();
    assert!(hung_up.unwrap().success());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(service.0.try_wait().unwrap(), None);
    assert_eq!(run(&["--server", &server, "health", "live"]).code, 0);
    // It can be told to stop meanwhile.
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    manager.hears("STOPPING=1");
    assert_eq!(service.0.wait().unwrap().code(), Some(0));
}
