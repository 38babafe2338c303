//! `docs/upgrading.md` is true: its commands run, one after another, on a data folder of each format,
//! and what it says of a newer format is what is said.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::service::{Ended, PROGRAM, Service, run};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/upgrading.md")).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The commands of the page, in their order.
fn commands() -> Vec<String> {
    let page = page();
    let blocks = page.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    lines.map(str::to_owned).collect()
}

#[test]
fn the_commands_run_on_a_folder_of_each_format() {
    let commands = commands();
    assert!(commands.len() >= 8, "{commands:?}");
    // The data folders that were written by versions before.
    for (version, users) in [("v1", 4), ("v2", 4)] {
        let folder = tempfile::tempdir().unwrap();
        let golden = root().join("tests/golden").join(version).join("data");
        copy(&golden, &folder.path().join("store"));
        let mut counts = Vec::new();
        for line in &commands {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["headcount", "serve", rest @ ..] = words.as_slice() {
                let mut command = Command::new(PROGRAM);
                command.current_dir(folder.path());
                let service = Service::started_by(command.arg("serve").args(rest));
                counts.push(service.count("TRUE"));
                assert_eq!(service.ask(&["verify"]).code, 0);
                // What the newer version writes.
                assert_eq!(service.ask(&["snapshot"]).code, 0);
                assert_eq!(service.terminate(), 0);
                continue;
            }
            let program = words[0].replace("headcount", PROGRAM);
            let ended = Command::new(program)
                .args(&words[1..])
                .current_dir(folder.path())
                .output();
            let ended = Ended::from(ended.unwrap());
            assert_eq!(ended.code, 0, "{line}: {ended:?}");
        }
        assert_eq!(counts, [users, users], "{version}");
    }
}

#[test]
fn a_newer_folder_is_refused_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("store");
    copy(&root().join("tests/golden/v2/data"), &data);
    let manifest = data.join("snapshots/00000000000000000033/manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    assert_eq!(bytes[4], 2);
    bytes[4] = 3;
    let end = bytes.len() - 4;
    let checksum = headcount::storage::checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&manifest, &bytes).unwrap();

    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--data", "store", "--listen", "127.0.0.1:0"]);
    let ended = command.current_dir(folder.path()).output().unwrap();
    let ended = Ended::from(ended);
    assert_eq!(ended.code, 2, "{ended:?}");
    let page = page();
    let shown = page
        .split("$ headcount serve --data store\n")
        .nth(1)
        .unwrap();
    let shown = shown.lines().next().unwrap();
    assert!(ended.err.lines().any(|line| line == shown), "{ended:?}");
    let path = data.to_str().unwrap();
    let repaired = run(&["repair", "--data", path, "--apply", "--accept-loss"]);
    assert_eq!(repaired.code, 2, "{repaired:?}");
    assert_eq!(fs::read(&manifest).unwrap(), bytes);
}
