//! Events: declared, imported and shown.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::service::Service;

/// The purchases that ship with the project.
fn purchases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/cdnow_purchases.csv")
}

fn started() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    (folder, service)
}

#[test]
fn events_are_declared_listed_and_deleted() {
    let (_folder, service) = started();
    let declared = service.ask(&["events", "create", "purchase"]);
    assert_eq!(declared.out, "declared purchase, kept for 400d\n");
    let again = service.ask(&["events", "create", "purchase"]);
    assert!(again.code == 2 && again.err.contains("exists already"));
    let updated = service.ask(&["events", "update", "purchase", "--retention", "36500d"]);
    assert_eq!(updated.out, "updated purchase, kept for 36500d\n");
    let listed = service.ask(&["events"]).out;
    assert!(listed.starts_with("event "), "{listed}");
    assert!(
        listed.contains("purchase") && listed.contains("36500d"),
        "{listed}"
    );
    let listed = service.ask(&["--output", "json", "events", "list"]).json();
    assert_eq!(listed["events"][0]["retention"], "36500d");
    assert_eq!(service.ask(&["events", "delete", "purchase"]).code, 0);
    let missing = service.ask(&["events", "delete", "purchase"]);
    assert!(missing.code == 2 && missing.err.contains("does not exist"));
    let wrong = service.ask(&["events", "create", "e", "--retention", "soon"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("such as 30d"),
        "{wrong:?}"
    );
}

#[test]
fn columns_of_events_are_shown_before_anything_is_imported() {
    let (_folder, service) = started();
    let file = purchases();
    let file = file.to_str().unwrap();
    let refused = service.ask(&["import", file, "--events"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("--ignore 'quantity'"),
        "{}",
        refused.err
    );
    let shown = service.ask(&[
        "--output",
        "json",
        "import",
        file,
        "--events",
        "--ignore",
        "quantity",
        "--dry-run",
    ]);
    assert_eq!(
        shown.json(),
        json!({
            "columns": {
                "user_id": "user id",
                "event": "event",
                "timestamp": "time",
                "value": "amount",
                "quantity": "ignore",
            },
            "event": null,
        })
    );
    let wrong = service.ask(&["import", file, "--event", "purchase"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("--events"),
        "{}",
        wrong.err
    );
}

#[test]
fn bad_rows_of_events_are_named() {
    let (_folder, service) = started();
    let rows = b"user_id,time,amount\nu1,2026-01-31,5\nu2,yesterday,5\nu3,2026-01-31,much\n,2026-01-31,5\nu4,,5\n";
    let skipped = service.ask_with(
        &[
            "--output",
            "json",
            "import",
            "-",
            "--format",
            "csv",
            "--events",
            "--event",
            "purchase",
            "--on-error",
            "skip",
            "--retention",
            "36500d",
        ],
        rows,
    );
    assert_eq!(skipped.code, 5);
    let report = skipped.json();
    assert_eq!(
        (&report["imported"], &report["bad"]),
        (&json!(1), &json!(4))
    );
    let reasons: Vec<_> = report["bad_rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["line"].as_u64().unwrap(),
                row["reason"].as_str().unwrap(),
            )
        })
        .collect();
    for ((line, reason), (expected, part)) in reasons.iter().zip([
        (3, "column \"time\": \"yesterday\" is no timestamp"),
        (4, "column \"amount\": \"much\" is no number"),
        (5, "column \"user_id\" is empty"),
        (6, "column \"time\" is empty"),
    ]) {
        assert!(
            *line == expected && reason.contains(part),
            "{line}: {reason}"
        );
    }
}
