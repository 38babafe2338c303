//! Events that are imported and kept: real purchases, twice, and too late.

use std::fmt::Write as _;
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
fn real_purchases_are_imported_and_importing_them_again_counts_nothing_twice() {
    let (_folder, service) = started();
    let file = purchases();
    let file = file.to_str().unwrap();
    let import = [
        "--output",
        "json",
        "import",
        file,
        "--events",
        "--ignore",
        "quantity",
        "--retention",
        "36500d",
    ];
    // The numbers are those of the file, counted without Headcount.
    for (taken, duplicates) in [(69_659, 0), (0, 69_659)] {
        let imported = service.ask(&import);
        assert_eq!(imported.code, 0, "{}", imported.err);
        let report = imported.json();
        assert_eq!(
            report["events"],
            json!({ "taken": taken, "duplicates": duplicates, "too_old": 0, "too_far_ahead": 0 })
        );
        let listed = service.ask(&["--output", "json", "events"]).json();
        let purchase = &listed["events"][0];
        assert_eq!(
            (
                &purchase["events"],
                &purchase["users"],
                &purchase["duplicates"]
            ),
            (&json!(69_659), &json!(23_570), &json!(duplicates))
        );
    }
    let user = ["user", "get", "cdnow-14048", "--as-of", "1998-07-01"];
    let told = service
        .ask(&[&["--output", "json"], &user[..]].concat())
        .json();
    let event = &told["events"][0];
    assert_eq!(
        (&event["count"], &event["sum"]),
        (&json!(217), &json!(8_976.33))
    );
    assert_eq!(event["first_time"], "1997-02-19T00:00:00Z");
    assert_eq!(event["last_time"], "1998-06-30T00:00:00Z");
    let days = event["last_30_days"].as_array().unwrap();
    let june_4 = &days[2];
    assert_eq!((days.len(), &june_4["count"]), (10, &json!(2)));
    assert_eq!(june_4["day"], "1998-06-04T00:00:00Z");
    let shown = service.ask(&user).out;
    assert!(shown.contains("▄▄█····▄·▄····▄·▄····▄·▄····▄·"), "{shown}");
}

#[test]
fn events_that_are_too_old_are_refused_with_a_way_out() {
    let (_folder, service) = started();
    let rows = b"user_id,event,time\nu1,purchase,1997-01-01\nu2,purchase,1997-01-02\n";
    let import = ["import", "-", "--format", "csv", "--events"];
    let refused = service.ask_with(&import, rows);
    assert_eq!(refused.code, 5, "{}", refused.err);
    assert!(
        refused.out.contains("took 0 events, refused 2: 2 too old"),
        "{}",
        refused.out
    );
    assert!(refused.err.contains("kept for 400d"), "{}", refused.err);
    // The command that it names is the way out.
    let command = refused.err.trim().rsplit("headcount ").next().unwrap();
    let command = command.replace('\'', "");
    let arguments: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(service.ask(&arguments).code, 0, "{command}");
    let taken = service.ask_with(&import, rows);
    assert_eq!(taken.code, 0, "{}", taken.err);
    assert!(
        taken.out.contains("took 2 events, refused none"),
        "{}",
        taken.out
    );
}

#[test]
fn a_file_is_imported_once_and_what_has_no_name_as_often_as_it_is_sent() {
    let (folder, service) = started();
    let rows = "user_id,event,time\nu1,login,1997-01-01\nu1,login,1997-01-01\n";
    let file = |name: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, rows).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (web, app) = (file("web.csv"), file("app.csv"));
    let piped = "-".to_owned();
    // The same rows from another file are other events.
    for (count, source, without) in [
        (2, &web, &[][..]),
        (2, &web, &[]),
        (4, &app, &[]),
        (4, &web, &[]),
        (6, &piped, &["--format", "csv"]),
        (8, &piped, &["--format", "csv"]),
        (10, &web, &["--without-ids"]),
    ] {
        let import = ["import", source, "--events", "--retention", "36500d"];
        let imported = service.ask_with(&[&import, without].concat(), rows.as_bytes());
        assert_eq!(imported.code, 0, "{}", imported.err);
        let told = service
            .ask(&["--output", "json", "user", "get", "u1"])
            .json();
        assert_eq!(told["events"][0]["count"], count, "{source}");
    }
}

#[test]
fn a_batch_with_a_bad_row_counts_its_good_events_once() {
    let (_folder, service) = started();
    let bad = "x".repeat(257);
    let mut rows = String::from("user_id,event,time\n");
    for row in 0..2_000 {
        let user = if row == 700 { &bad } else { "u" };
        writeln!(rows, "{user},login,1997-01-01").unwrap();
    }
    let import = [
        "--output",
        "json",
        "import",
        "-",
        "--format",
        "csv",
        "--events",
        "--without-ids",
        "--on-error",
        "skip",
        "--retention",
        "36500d",
    ];
    let report = service.ask_with(&import, rows.as_bytes());
    assert_eq!(report.code, 5, "{}", report.err);
    assert_eq!(report.json()["events"]["taken"], 1_999);
    assert_eq!(report.json()["bad_rows"][0]["line"], 702);
    let told = service
        .ask(&["--output", "json", "user", "get", "u"])
        .json();
    assert_eq!(told["events"][0]["count"], 1_999);
}
