//! Imports: good rows, bad rows, and a service that is killed in the middle.

use std::fmt::Write as _;
use std::process::Stdio;

use serde_json::json;

use crate::service::{Service, customers};

fn started() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    (folder, service)
}

#[test]
fn a_broken_row_stops_the_import_there_or_is_left_out() {
    let (_folder, service) = started();
    let rows = b"user_id,age\nu1,15\nu2,16\nu3,old\nu4,40\n";
    let stopped = service.ask_with(
        &["import", "-", "--format", "csv", "--types", "age=int64"],
        rows,
    );
    assert_eq!(stopped.code, 2);
    assert!(
        stopped
            .err
            .contains("line 4: column \"age\": \"old\" is no int64"),
        "{}",
        stopped.err
    );
    assert_eq!(service.count("age IS SET"), 2);
    let skipped = service.ask_with(
        &[
            "--output",
            "json",
            "import",
            "-",
            "--format",
            "csv",
            "--on-error",
            "skip",
        ],
        b"user_id,age\nu1,15\nu2,16,17\nu3,old\n,3\nu4,40\n",
    );
    assert_eq!(skipped.code, 5);
    let report = skipped.json();
    assert_eq!(
        (&report["imported"], &report["bad"]),
        (&json!(2), &json!(3))
    );
    let lines: Vec<_> = report["bad_rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [3, 4, 5]);
    assert_eq!(service.count("age = 40"), 1);
}

#[test]
fn what_the_service_refuses_is_blamed_on_its_row_alone() {
    let (_folder, service) = started();
    let mut rows = String::from("user_id,plan\n");
    for row in 0..2_000 {
        let user = if row == 700 {
            "x".repeat(257)
        } else {
            format!("u{row}")
        };
        writeln!(rows, "{user},free").unwrap();
    }
    let skipped = service.ask_with(
        &[
            "--output",
            "json",
            "import",
            "-",
            "--format",
            "csv",
            "--on-error",
            "skip",
        ],
        rows.as_bytes(),
    );
    let report = skipped.json();
    assert_eq!(
        (skipped.code, &report["imported"], &report["bad"]),
        (5, &json!(1_999), &json!(1))
    );
    assert_eq!(report["bad_rows"][0]["line"], 702);
    assert!(
        report["bad_rows"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("user_id"),
        "{report}"
    );
    assert_eq!(service.count("plan = 'free'"), 1_999);
}

#[test]
fn ndjson_has_sets_nulls_and_numbers() {
    let (_folder, service) = started();
    let rows = br#"{"id": "u1", "tags": ["a", "b"], "age": 3, "score": 1.5, "seen": "2026-01-31T00:00:00Z"}
{"id": "u2", "tags": [], "age": 4, "score": 2, "plan": "pro"}
"#;
    let imported = service.ask_with(&["import", "-", "--format", "ndjson"], rows);
    assert_eq!(imported.code, 0, "{}", imported.err);
    let user = service
        .ask(&["--output", "json", "user", "get", "u1"])
        .json();
    assert_eq!(
        user["properties"],
        json!({ "tags": ["a", "b"], "age": 3, "score": 1.5, "seen": "2026-01-31T00:00:00Z" })
    );
    let unset = service.ask_with(
        &["import", "-", "--format", "ndjson"],
        br#"{"id": "u1", "age": null}"#,
    );
    assert_eq!(unset.code, 0, "{}", unset.err);
    assert_eq!(service.count("age IS SET"), 1);
    let bad = service.ask_with(
        &["import", "-", "--format", "ndjson"],
        b"{\"id\": \"u3\"}\n{\"id\": {}}\n",
    );
    assert!(bad.code == 2 && bad.err.contains("line 2"), "{bad:?}");
}

#[test]
fn types_are_shown_before_anything_is_imported() {
    let (_folder, service) = started();
    let shown = service.ask_with(
        &[
            "--output",
            "json",
            "import",
            "-",
            "--format",
            "csv",
            "--dry-run",
            "--types",
            "tags=string_set(|),note=ignore",
        ],
        "\u{feff}name,customer_id,app,tags,note\r\nA,7,2.10.1,a|b,x\r\n".as_bytes(),
    );
    let expected = json!({
        "id_column": "customer_id",
        "types": { "app": "string", "name": "string", "note": "ignore", "tags": "string_set(|)" },
    });
    assert_eq!(shown.json(), expected);
    assert_eq!(service.count("TRUE"), 0);
}

#[test]
fn every_acknowledged_row_survives_kill_9_in_the_middle() {
    let (folder, service) = started();
    let file = folder.path().join("many.csv");
    let mut rows = String::from("user_id,number\n");
    for row in 0..200_000 {
        writeln!(rows, "u{row},{row}").unwrap();
    }
    std::fs::write(&file, rows).unwrap();
    let import = service
        .command(&["import", file.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whatever a client was told of, here that so many users are counted, stays.
    let acknowledged = loop {
        let count = service.count("TRUE");
        if count > 5_000 {
            break count;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    service.kill();
    let ended = import.wait_with_output().unwrap();
    assert!(
        !ended.status.success(),
        "the import can't have come to its end"
    );
    let again = Service::start(&folder.path().join("data"));
    let kept = again.count("TRUE");
    assert!(kept >= acknowledged, "{kept} of {acknowledged}");
    // Rows are written in order, whole batches or nothing.
    assert_eq!(again.count(&format!("number < {kept}")), kept);
    // And the import can simply be run again.
    let whole = again.ask(&["--output", "json", "import", file.to_str().unwrap()]);
    assert_eq!(whole.json()["imported"], 200_000);
    assert_eq!(again.count("TRUE"), 200_000);
}

#[test]
fn a_restart_gives_the_same_answers() {
    let (folder, service) = started();
    assert_eq!(
        service.ask(&["import", customers().to_str().unwrap()]).code,
        0
    );
    let filters = [
        "contract = 'Month-to-month' AND internet_service = 'Fiber optic'",
        "tenure <= 6",
        "total_charges IS NOT SET",
        "monthly_charges BETWEEN 20.5 AND 70.0",
    ];
    let before: Vec<u64> = filters.iter().map(|filter| service.count(filter)).collect();
    assert_eq!((before[0], before[2]), (2_128, 11));
    assert_eq!(service.ask(&["snapshot"]).code, 0);
    let late = service.ask_with(
        &["import", "-", "--format", "csv"],
        b"user_id,tenure\nlate,1\n",
    );
    assert_eq!(late.code, 0);
    assert_eq!(service.terminate(), 0);
    let service = Service::start(&folder.path().join("data"));
    let after: Vec<u64> = filters.iter().map(|filter| service.count(filter)).collect();
    // The late user has a tenure and no charges.
    assert_eq!(after, [before[0], before[1] + 1, before[2] + 1, before[3]]);
    assert_eq!(service.count("NOT tenure = 1 OR tenure = 1"), 7_044);
}

#[test]
fn nothing_behind_a_row_that_the_service_refuses_is_imported() {
    // A user id that is too long is found by the service alone.
    for bad in [0, 700, 5_100, 12_345] {
        let (_folder, service) = started();
        let mut rows = String::from("user_id,number\n");
        for row in 0..20_000 {
            let user = if row == bad {
                "x".repeat(257)
            } else {
                format!("u{row}")
            };
            writeln!(rows, "{user},{row}").unwrap();
        }
        let arguments = ["--output", "json", "import", "-", "--format", "csv"];
        let stopped = service.ask_with(&arguments, rows.as_bytes());
        let report = stopped.json();
        assert_eq!(stopped.code, 2);
        assert_eq!(
            (&report["imported"], &report["complete"]),
            (&json!(bad), &json!(false))
        );
        assert_eq!(report["bad_rows"][0]["line"], bad + 2);
        let written = service.ask(&["--output", "json", "members", "--all"]);
        assert_eq!(written.out.lines().count(), bad, "only what is before it");
    }
}

#[test]
fn a_large_row_is_sent_alone_and_one_that_is_too_large_is_named() {
    let (_folder, service) = started();
    let set = |count: usize| {
        let elements: Vec<String> = (0..count).map(|n| format!("{n:01000}")).collect();
        json!(elements)
    };
    let mut rows = String::new();
    for row in 0..240 {
        writeln!(rows, "{}", json!({ "id": format!("u{row}"), "a": set(1) })).unwrap();
    }
    writeln!(rows, "{}", json!({ "id": "large", "a": set(900) })).unwrap();
    writeln!(
        rows,
        "{}",
        json!({ "id": "too large", "a": set(900), "b": set(900) })
    )
    .unwrap();
    writeln!(rows, "{}", json!({ "id": "last", "a": ["x"] })).unwrap();
    let arguments = [
        "--output",
        "json",
        "import",
        "-",
        "--format",
        "ndjson",
        "--on-error",
        "skip",
    ];
    let skipped = service.ask_with(&arguments, rows.as_bytes());
    let report = skipped.json();
    assert_eq!(
        (skipped.code, &report["imported"], &report["bad"]),
        (5, &json!(242), &json!(1)),
        "{report}"
    );
    assert_eq!(report["bad_rows"][0]["line"], 242);
    assert_eq!(service.count("a IS SET"), 242);
}

#[test]
fn the_row_that_exceeds_a_limit_of_the_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(&folder.path().join("data"), &["--max-users", "2"]);
    let rows = b"user_id,n\nu1,1\nu2,2\nu3,3\nu1,4\n";
    let arguments = ["import", "-", "--format", "csv"];
    let stopped = service.ask_with(&arguments, rows);
    assert!(
        stopped.code == 2
            && stopped.err.contains("line 4: ")
            && stopped.err.contains("users_per_population"),
        "{stopped:?}"
    );
    assert_eq!(service.count("n IN (1, 2)"), 2);
    let skipped = service.ask_with(&[&arguments[..], &["--on-error", "skip"]].concat(), rows);
    assert!(
        skipped.code == 5 && skipped.err.contains("line 4: "),
        "{skipped:?}"
    );
    assert_eq!(service.count("n IN (2, 4)"), 2);
}

#[test]
fn what_was_acknowledged_before_the_service_died_is_said() {
    let (folder, service) = started();
    let file = folder.path().join("many.csv");
    let mut rows = String::from("user_id,number\n");
    for row in 0..200_000 {
        writeln!(rows, "u{row},{row}").unwrap();
    }
    std::fs::write(&file, rows).unwrap();
    let import = service
        .command(&["--output", "json", "import", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while service.count("TRUE") < 5_000 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    service.kill();
    let ended: crate::service::Ended = import.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.err.contains("connection to the service broke"),
        "{}",
        ended.err
    );
    let report = ended.json();
    assert_eq!(report["complete"], false);
    let acknowledged = report["imported"].as_u64().unwrap();
    let again = Service::start(&folder.path().join("data"));
    assert!(acknowledged > 0 && again.count("TRUE") >= acknowledged);
}

#[test]
fn a_missing_quote_is_suspected_where_a_bad_row_takes_many_lines() {
    let (_folder, service) = started();
    let skipped = service.ask_with(
        &["import", "-", "--format", "csv", "--on-error", "skip"],
        b"user_id,note,x\nu1,a,x\nu2,\"b,x\nu3,c,x\"\nu4,d,x\n",
    );
    assert!(
        skipped.code == 5
            && skipped.err.contains("line 3: ")
            && skipped.err.contains("2 lines: is a quote missing?"),
        "{skipped:?}"
    );
}

#[test]
fn a_dry_run_needs_no_service_and_a_set_may_be_separated_by_commas() {
    let (folder, service) = started();
    let file = folder.path().join("users.csv");
    std::fs::write(&file, "user_id,tags,n\nu1,\"a,b\",1\n").unwrap();
    let file = file.to_str().unwrap();
    let types = ["--types", "tags=string_set(,),n=double"];
    let shown = crate::service::run(&[
        "--server",
        "127.0.0.1:1",
        "--output",
        "json",
        "import",
        file,
        "--dry-run",
        types[0],
        types[1],
    ]);
    assert_eq!(
        (shown.code, &shown.json()["types"]),
        (0, &json!({ "n": "double", "tags": "string_set(,)" }))
    );
    let imported = service.ask(&["import", file, types[0], types[1]]);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(service.count("tags HAS ALL ('a', 'b')"), 1);
}
