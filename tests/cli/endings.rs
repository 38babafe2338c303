//! How commands end when they are interrupted, or when nobody can read what they print.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::service::{PROGRAM, Service};

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

fn folders(parent: &Path) -> usize {
    parent.read_dir().unwrap().count()
}

#[test]
fn an_answer_that_can_t_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let ended = service.command(&["populations"]).stdout(full()).output();
    let ended = ended.unwrap();
    assert_eq!(ended.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("can't write to standard output"));
}

#[test]
fn an_error_that_nobody_can_read_still_has_its_exit_code() {
    let ended = Command::new(PROGRAM)
        .args(["--server", "127.0.0.1:1", "health"])
        .stderr(full())
        .status();
    assert_eq!(ended.unwrap().code(), Some(3));
}

#[test]
fn a_demo_that_is_interrupted_leaves_no_folder() {
    for signal in ["-INT", "-TERM"] {
        let temporary = tempfile::tempdir().unwrap();
        let mut demo = Command::new(PROGRAM)
            .args(["demo", "--listen", "127.0.0.1:0"])
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while folders(temporary.path()) == 0 {
            assert!(Instant::now() < deadline, "the demo makes its folder");
            std::thread::sleep(Duration::from_millis(1));
        }
        // In the middle of its import, most likely.
        let id = demo.id().to_string();
        let killed = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(killed.success());
        let ended = demo.wait().unwrap();
        assert_eq!(ended.signal(), None, "it ended by itself");
        assert_eq!(folders(temporary.path()), 0, "{signal}");
    }
}

#[test]
fn a_demo_leaves_folders_alone_that_it_did_not_make() {
    let temporary = tempfile::tempdir().unwrap();
    let script = "for name in $$ $$-0 $$-1; do \
                  mkdir \"$TMPDIR/headcount-demo-$name\"; \
                  echo precious > \"$TMPDIR/headcount-demo-$name/file\"; done; \
                  exec \"$0\" demo --exit --listen 127.0.0.1:0";
    let ended = Command::new("sh")
        .args(["-c", script, PROGRAM])
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let kept = temporary.path().read_dir().unwrap();
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept.iter().all(|folder| folder.join("file").exists()));
}
