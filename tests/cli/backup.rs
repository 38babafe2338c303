//! Backing up and restoring.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::service::{Service, customers, run};
use crate::verify::{files, import_customers, text};

const FILTERS: [&str; 5] = [
    "churn = 'Yes'",
    "tenure >= 24 AND contract = 'Two year'",
    "total_charges IS NULL",
    "monthly_charges < 50",
    "NOT internet_service = 'DSL' OR senior_citizen = true",
];

/// What a service says of its users.
fn told(service: &Service) -> (Vec<u64>, String, String) {
    let counts = FILTERS.iter().map(|filter| service.count(filter)).collect();
    let schema = service.ask(&["schema", "list"]);
    let user = service.ask(&["user", "get", "customer-0042"]);
    assert_eq!((schema.code, user.code), (0, 0), "{schema:?} {user:?}");
    (counts, schema.out, user.out)
}

#[test]
fn a_backup_of_a_running_service_is_restored_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let service = Service::start(&path("data"));
    import_customers(&service);
    let before = told(&service);
    assert!(before.0.iter().all(|count| *count > 0), "{before:?}");
    let ended = service.ask(&["backup", text(&path("backup"))]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("backed up 7,043 users"), "{ended:?}");
    let again = service.ask(&["backup", text(&path("backup"))]);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.err.contains("exists already"), "{again:?}");
    // What happens later is not in it.
    assert_eq!(service.ask(&["user", "delete", "customer-0042"]).code, 0);
    service.kill();

    let backup = files(&path("backup"));
    let ended = run(&[
        "restore",
        text(&path("backup")),
        "--data",
        text(&path("restored")),
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(files(&path("backup")) == backup, "the backup was changed");
    assert_eq!(run(&["verify", "--data", text(&path("restored"))]).code, 0);
    let service = Service::start(&path("restored"));
    assert_eq!(told(&service), before);
    assert_eq!(service.ask(&["verify"]).code, 0);
    // It takes writes, and keeps them.
    assert_eq!(service.ask(&["user", "delete", "customer-0042"]).code, 0);
    assert_eq!(service.terminate(), 0);
    let service = Service::start(&path("restored"));
    assert_eq!(service.ask(&["user", "get", "customer-0042"]).code, 2);
    drop(service);

    let used = run(&[
        "restore",
        text(&path("backup")),
        "--data",
        text(&path("restored")),
    ]);
    assert_eq!(used.code, 2, "{used:?}");
    let kept = files(&path("restored"));
    let ended = run(&[
        "backup",
        text(&path("offline")),
        "--data",
        text(&path("restored")),
    ]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("7,042 users"), "{ended:?}");
    assert!(
        files(&path("restored")) == kept,
        "what was copied was changed"
    );
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let service = Service::start(&path("data"));
    import_customers(&service);
    assert_eq!(service.ask(&["backup", text(&path("backup"))]).code, 0);
    let mut sections = files(&path("backup")).into_keys();
    let section = sections
        .rfind(|path| path.ends_with("default+shard-0"))
        .unwrap();
    let mut bytes = std::fs::read(&section).unwrap();
    bytes[5_000] ^= 4;
    std::fs::write(&section, bytes).unwrap();
    let ended = run(&[
        "restore",
        text(&path("backup")),
        "--data",
        text(&path("restored")),
    ]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("is damaged"), "{ended:?}");
    assert!(!path("restored").exists() && !path("restored.tmp").exists());
}

#[test]
fn backups_can_be_made_while_users_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let done = AtomicBool::new(false);
    let mut users = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                let ended = service.ask(&["import", customers().to_str().unwrap()]);
                assert_eq!(ended.code, 0, "{ended:?}");
            }
            done.store(true, Ordering::SeqCst);
        });
        for number in 0.. {
            let is_last = done.load(Ordering::SeqCst);
            let to = folder.path().join(format!("backup-{number}"));
            let ended = service.ask(&["--output", "json", "backup", text(&to)]);
            assert_eq!(ended.code, 0, "{ended:?}");
            users.push(ended.json()["users"].as_u64().unwrap());
            assert_eq!(run(&["verify", "--data", text(&to)]).code, 0);
            if is_last {
                break;
            }
        }
    });
    assert!(users.is_sorted(), "{users:?}");
    assert_eq!(users.last(), Some(&7_043));
}
