//! Checking a data folder and a service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::service::{Service, customers, run};

/// Every file below a folder, with its bytes.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

pub(crate) fn import_customers(service: &Service) {
    let customers = customers();
    let ended = service.ask(&["import", customers.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{ended:?}");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_data_folder_is_checked_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data);
    import_customers(&service);
    assert_eq!(service.ask(&["snapshot"]).code, 0);
    assert_eq!(service.ask(&["user", "delete", "customer-0001"]).code, 0);
    let in_use = run(&["verify", "--data", text(&data)]);
    assert_eq!(in_use.code, 2, "{in_use:?}");
    assert!(
        in_use.err.contains("in use by another process"),
        "{in_use:?}"
    );
    // Without a goodbye, so that the log has no closing frame.
    service.kill();

    let before = files(&data);
    let ended = run(&["--output", "json", "verify", "--data", text(&data)]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    assert_eq!(
        (&json["sound"], &json["start"]["users"]),
        (&true.into(), &7_042.into())
    );
    let ended = run(&["verify", "--data", text(&data)]);
    assert!(ended.out.ends_with("sound\n"), "{ended:?}");
    assert!(files(&data) == before, "something was changed");

    let mut damaged = Vec::new();
    for (path, bytes) in &before {
        let name = path.file_name().unwrap();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        if is_log || name == "default+shard-0" {
            let mut bytes = bytes.clone();
            bytes[60] ^= 1;
            std::fs::write(path, bytes).unwrap();
            damaged.push(name.to_str().unwrap().to_owned());
        }
    }
    // The log from before the snapshot and from after it, and what is in the snapshot.
    assert_eq!(damaged.len(), 3);
    let before = files(&data);
    let ended = run(&["verify", "--data", text(&data)]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        damaged.iter().all(|name| ended.out.contains(name)),
        "{ended:?}"
    );
    assert!(ended.out.contains("at byte 36"), "{ended:?}");
    assert!(files(&data) == before, "something was changed");

    let ended = run(&["verify", "--data", text(folder.path())]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("holds no Headcount data"), "{ended:?}");
}

#[test]
fn a_service_compares_its_index_with_a_scan() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    import_customers(&service);
    let ended = service.ask(&["--output", "json", "verify"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    let found = &json["populations"][0];
    assert_eq!(found["compared_users"], 7_043);
    assert_eq!(found["skipped_counts"], 0);
    assert_eq!(found["mismatch_count"], 0);
    // 7,043 rows of 20 columns besides the id; 11 customers have no total charges yet.
    assert_eq!(found["compared_values"], 7_043 * 20 - 11);

    let ended = service.ask(&[
        "verify", "--sample", "1", "--seed", "5", "--only", "default",
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("1 of 1"), "{ended:?}");
    assert!(ended.out.contains("chosen by --seed 5"), "{ended:?}");
    let ended = service.ask(&["verify", "--only", "defualt"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("did you mean \"default\""), "{ended:?}");
}

#[test]
fn a_damaged_folder_is_repaired_only_as_far_as_was_agreed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let service = Service::start(&data);
    import_customers(&service);
    assert_eq!(service.ask(&["snapshot"]).code, 0);
    for number in 1..=9 {
        let user = format!("customer-000{number}");
        assert_eq!(service.ask(&["user", "delete", &user]).code, 0);
    }
    assert_eq!(service.terminate(), 0);
    let repair =
        |arguments: &[&str]| run(&[&["repair", "--data", text(&data)], arguments].concat());
    let sound = repair(&["--dry-run"]);
    assert_eq!(sound.code, 0, "{sound:?}");
    assert!(sound.out.contains("nothing to repair"), "{sound:?}");
    assert_eq!(repair(&[]).code, 2);

    // One of the deletions, with others behind it; and a file that somebody left here.
    // The log goes on in another file after the snapshot.
    let logs = files(&data).into_iter();
    let mut logs = logs.filter(|(path, _)| path.extension().is_some_and(|end| end == "log"));
    let (log, mut bytes) = logs.next_back().unwrap();
    let name = log.file_name().unwrap().to_owned();
    let last = bytes
        .windows(13)
        .rposition(|bytes| bytes == b"customer-0005")
        .unwrap();
    bytes[last] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    std::fs::write(data.join("log/notes.txt"), "mine").unwrap();
    let before = files(&data);
    let planned = repair(&["--dry-run"]);
    assert_eq!(planned.code, 0, "{planned:?}");
    assert!(planned.out.contains("lost: the revisions"), "{planned:?}");
    let refused = repair(&["--apply"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("--accept-loss"), "{refused:?}");
    assert!(files(&data) == before, "something was changed");

    let done = repair(&["--apply", "--accept-loss"]);
    assert_eq!(done.code, 0, "{done:?}");
    let aside = std::fs::read(data.join("set-aside").join(name)).unwrap();
    assert!(aside == before[&log], "the damaged file is not kept");
    assert_eq!(
        std::fs::read(data.join("set-aside/notes.txt")).unwrap(),
        b"mine"
    );
    assert_eq!(run(&["verify", "--data", text(&data)]).code, 0);
    let service = Service::start(&data);
    // The deletions before the damaged one.
    assert_eq!(service.count("churn IS NOT NULL"), 7_043 - 4);
}
