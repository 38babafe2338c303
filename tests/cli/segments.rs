//! Segments: saved, shown, changed, and told of users.

use serde_json::json;

use crate::service::Service;

const USERS: &[u8] = b"user_id,country,age,plan\nu1,FR,41,pro\nu2,DE,29,free\nu3,FR,,free\n";

fn started() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let imported = service.ask_with(&["import", "-", "--format", "csv"], USERS);
    assert_eq!(imported.code, 0, "{imported:?}");
    (folder, service)
}

#[test]
fn segments_are_saved_listed_changed_and_deleted() {
    let (_folder, service) = started();
    let saved = service.ask(&[
        "segments",
        "create",
        "french",
        "country='FR'",
        "--description",
        "speak French",
        "--label",
        "team=growth",
    ]);
    assert_eq!(saved.out, "saved french: country = 'FR'\n");
    let nested = service.ask(&[
        "segments",
        "create",
        "vip",
        "segment('french') AND plan = 'pro'",
    ]);
    assert_eq!(nested.code, 0, "{nested:?}");
    let again = service.ask(&["segments", "create", "vip", "TRUE"]);
    assert!(again.code == 2 && again.err.contains("exists already"));
    let wrong = service.ask(&["segments", "create", "x", "country = FR"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("texts need single quotes"),
        "{wrong:?}"
    );
    assert!(wrong.err.contains("\n  country = FR\n"), "{wrong:?}");

    let listed = service.ask(&["segments"]).out;
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[0].starts_with("segment  users  kind    updated"),
        "{listed}"
    );
    assert!(
        lines[1].starts_with("french       2  filter  20"),
        "{listed}"
    );
    assert!(lines[1].ends_with("  speak French"), "{listed}");
    assert!(
        lines[2].starts_with("vip          1  filter  20"),
        "{listed}"
    );
    let listed = service
        .ask(&["--output", "json", "segments", "list"])
        .json();
    assert_eq!(listed["segments"][0]["name"], "french");
    assert_eq!(listed["segments"][0]["users"], 2);
    assert_eq!(listed["segments"][0]["labels"], json!({ "team": "growth" }));

    let updated = service.ask(&["segments", "update", "vip", "--filter", "age > 40"]);
    assert_eq!(updated.out, "updated vip: age > 40\n");
    let nothing = service.ask(&["segments", "update", "vip"]);
    assert!(
        nothing.code == 2 && nothing.err.contains("--filter"),
        "{nothing:?}"
    );
    let label = service.ask(&["segments", "update", "vip", "--label", "team"]);
    assert!(
        label.code == 2 && label.err.contains("team=growth"),
        "{label:?}"
    );
    let relabelled = service.ask(&["segments", "update", "french", "--label", "a=b"]);
    assert_eq!(relabelled.out, "updated french: country = 'FR'\n");

    let shown = service.ask(&["segments", "get", "vip"]).out;
    assert!(
        shown.contains("age > 40") && shown.contains("filter before"),
        "{shown}"
    );
    assert!(
        shown.ends_with("segment('french') AND plan = 'pro'\n"),
        "{shown}"
    );
    let shown = service
        .ask(&["--output", "json", "segments", "get", "vip"])
        .json();
    assert_eq!(shown["segment"]["filter"], "age > 40");
    let before = &shown["segment"]["history"][0];
    assert_eq!(before["filter"], "segment('french') AND plan = 'pro'");
    let shown = service.ask(&["segments", "get", "french"]).out;
    assert!(shown.contains("label a      b\n"), "{shown}");

    let deleted = service.ask(&["segments", "delete", "vip"]);
    assert_eq!(deleted.out, "deleted vip\n");
    let missing = service.ask(&["segments", "get", "vip"]);
    assert!(missing.code == 2 && missing.err.contains("does not exist"));
}

#[test]
fn segments_are_asked_for_by_name() {
    let (_folder, service) = started();
    for (name, filter) in [("french", "country = 'FR'"), ("pro", "plan = 'pro'")] {
        assert_eq!(service.ask(&["segments", "create", name, filter]).code, 0);
    }
    assert_eq!(service.count("segment('french') AND NOT segment('pro')"), 1);
    let of = service.ask(&["segments", "of", "u1"]);
    assert_eq!((of.code, &*of.out), (0, "french\npro\n"));
    let of = service.ask(&["segments", "of", "u2"]);
    assert_eq!((of.code, &*of.out), (1, "none\n"));
    let of = service.ask(&["segments", "of", "nobody"]);
    assert_eq!((of.code, &*of.out), (1, "none: there is no user nobody\n"));
    let of = service
        .ask(&["--output", "json", "segments", "of", "u3"])
        .json();
    assert_eq!(of["segments"], json!(["french"]));
    assert_eq!(of["user_exists"], true);
    let used = service.ask(&["schema", "delete", "plan"]);
    assert!(
        used.code == 2 && used.err.contains("segment \"pro\""),
        "{used:?}"
    );
}

#[test]
fn who_enters_and_leaves_is_shown_from_a_cursor_on() {
    let (_folder, service) = started();
    let saved = service.ask(&["segments", "create", "french", "country='FR'"]);
    assert_eq!(saved.code, 0, "{saved:?}");
    let begun = service.ask(&["watch", "french", "--members", "--once"]);
    let lines: Vec<&str> = begun.out.lines().collect();
    assert_eq!(lines.len(), 2, "{begun:?}");
    assert!(lines[0].ends_with("Z  = french  u1"), "{begun:?}");
    assert!(lines[1].ends_with("Z  = french  u3"), "{begun:?}");
    let cursor = begun.err.trim().strip_prefix("go on with --cursor ");
    let cursor = cursor.expect("a cursor").to_owned();

    let moved = b"user_id,country\nu1,DE\nu4,FR\n";
    let imported = service.ask_with(&["import", "-", "--format", "csv"], moved);
    assert_eq!(imported.code, 0, "{imported:?}");
    let on = service.ask(&["watch", "--once", "--cursor", &cursor, "french"]);
    let lines: Vec<&str> = on.out.lines().collect();
    assert_eq!(lines.len(), 2, "{on:?}");
    assert!(lines[0].ends_with("Z  - french  u1  (update)"), "{on:?}");
    assert!(lines[1].ends_with("Z  + french  u4  (update)"), "{on:?}");
    let asked = [
        "--output", "json", "watch", "--once", "--cursor", &cursor, "french",
    ];
    let json = service.ask(&asked).out;
    let messages: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(messages[0]["changes"][0]["user_id"], "u1");
    assert_eq!(messages[0]["changes"][0]["entered"], false);
    assert!(messages.last().unwrap()["watermark"]["revision"].is_string());

    let wrong = service.ask(&["watch", "frensh"]);
    assert!(
        wrong.code == 2 && wrong.err.contains("did you mean \"french\"?"),
        "{wrong:?}"
    );
}

#[test]
fn static_lists_are_saved_filled_and_emptied() {
    let (folder, service) = started();
    let file = folder.path().join("ids.txt");
    let many: Vec<String> = (0..20_000).map(|n| format!("nobody-{n}\n")).collect();
    let many = many.concat();
    std::fs::write(&file, format!("u1\r\n\nu2\n{many}u3\n")).unwrap();
    let file = file.to_str().unwrap();
    let saved = service.ask(&["segments", "create", "asked", "--list", "--from-file", file]);
    assert_eq!(saved.out, "saved asked: a static list of 3 users\n");
    assert!(
        saved
            .err
            .contains("20,000 of those given are no user: nobody-0, nobody-1"),
        "{saved:?}"
    );
    let removed = service.ask(&["segments", "remove", "asked", "u2", "u9"]);
    assert_eq!(removed.out, "removed 1 user from asked\n");
    assert!(
        removed.err.contains("1 of those given is no user: u9"),
        "{removed:?}"
    );
    let added = service.ask_with(
        &[
            "--output",
            "json",
            "segments",
            "add",
            "asked",
            "--from-file",
            "-",
        ],
        b"u1\nu2\nx\n",
    );
    let added = added.json();
    assert_eq!((&added["added"], &added["unknown"]), (&json!(1), &json!(1)));
    assert_eq!(added["unknown_user_ids"], json!(["x"]));

    // Both kinds are told of in the same shape.
    let json = |args: &[&str]| service.ask(&[&["--output", "json"], args].concat()).json();
    let listed = json(&["segments", "create", "two", "--list", "--user", "u1"]);
    let filtered = json(&["segments", "create", "all", "TRUE"]);
    for (created, name, kind) in [(&listed, "two", "list"), (&filtered, "all", "filter")] {
        assert_eq!(created["segment"]["name"], name);
        assert_eq!(created["segment"]["kind"], kind);
        assert_eq!(created["segment"]["revision"], created["revision"]);
    }
    assert_eq!(
        (&listed["users"], &listed["unknown"]),
        (&json!(1), &json!(0))
    );
    for name in ["two", "all"] {
        assert_eq!(service.ask(&["segments", "delete", name]).code, 0);
    }

    let frozen = service.ask(&["segments", "create", "then", "--freeze", "plan = 'free'"]);
    assert_eq!(frozen.out, "saved then: a static list of 2 users\n");
    let one = service.ask(&[
        "segments",
        "create",
        "one",
        "--list",
        "--user",
        "u3",
        "--description",
        "only one",
    ]);
    assert_eq!(one.out, "saved one: a static list of 1 user\n");
    let counted = service.ask(&["count", "segment('asked') AND NOT segment('one')"]);
    assert!(counted.out.starts_with("2 users"), "{counted:?}");
    assert_eq!(
        service.ask(&["segments", "of", "u3"]).out,
        "asked\none\nthen\n"
    );

    let listed = service.ask(&["segments"]).out;
    assert!(listed.contains("asked        3  list  20"), "{listed}");
    let shown = service.ask(&["segments", "get", "one"]).out;
    assert!(
        shown.contains("list         a static list of 1 user"),
        "{shown}"
    );
    let listed = service.ask(&["--output", "json", "segments"]).json();
    assert_eq!(listed["segments"][0]["kind"], "list");
    assert_eq!(listed["segments"][0]["filter"], json!(null));
    let updated = service.ask(&["segments", "update", "one", "--description", "not many"]);
    assert_eq!(updated.out, "updated one: a static list of 1 user\n");
}

/// A bad line after those of the first request.
#[test]
fn no_list_is_left_half_filled_without_a_word() {
    let (folder, service) = started();
    let many: Vec<String> = (0..10_000).map(|n| format!("nobody-{n}\n")).collect();
    let lines = format!("u1\nu2\n{}{}\nu3\n", many.concat(), "x".repeat(257));
    let file = folder.path().join("ids.txt");
    std::fs::write(&file, &lines).unwrap();
    let file = file.to_str().unwrap();
    let create = ["segments", "create", "asked", "--list", "--from-file"];
    let refused = service.ask(&[&create[..], &[file]].concat());
    assert!(
        refused.code == 2 && refused.err.contains("ids.txt: line 10003"),
        "{refused:?}"
    );
    let missing = service.ask(&["segments", "get", "asked"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    // What can be read only once is not checked before.
    let broken = service.ask_with(&[&create[..], &["-"]].concat(), lines.as_bytes());
    assert!(
        broken.code == 2 && broken.err.contains("-: line 10003"),
        "{broken:?}"
    );
    assert!(
        broken
            .err
            .contains("asked is saved, with at least 2 users so far")
            && broken.err.contains("`segments add`"),
        "{broken:?}"
    );
    let remove = ["segments", "remove", "asked", "--from-file"];
    let refused = service.ask(&[&remove[..], &[file]].concat());
    assert_eq!(refused.code, 2, "{refused:?}");
    let counted = service.ask(&["count", "segment('asked')"]);
    assert!(counted.out.starts_with("2 users"), "{counted:?}");
    let broken = service.ask_with(&[&remove[..], &["-"]].concat(), lines.as_bytes());
    assert!(
        broken.code == 2 && broken.err.contains("removed at least 2 users before that"),
        "{broken:?}"
    );
}

#[test]
fn what_is_wrong_with_a_static_list_is_said() {
    let (folder, service) = started();
    let wrong = |args: &[&str], said: &str| {
        let answer = service.ask(args);
        assert!(answer.code == 2 && answer.err.contains(said), "{answer:?}");
    };
    wrong(
        &["segments", "create", "x"],
        "give a filter, or --list or --freeze",
    );
    wrong(
        &["segments", "create", "x", "TRUE", "--list"],
        "cannot be used with",
    );
    wrong(&["segments", "create", "x", "--user", "u1"], "--list");
    wrong(
        &["segments", "create", "x", "--freeze", "plan = pro"],
        "texts need single quotes",
    );
    wrong(&["segments", "add", "x"], "<USER_IDS>");
    wrong(&["segments", "add", "x", "u1"], "does not exist");
    let saved = service.ask(&["segments", "create", "pro", "plan = 'pro'"]);
    assert_eq!(saved.code, 0);
    wrong(&["segments", "add", "pro", "u1"], "is no static list");
    let list = service.ask(&["segments", "create", "asked", "--list"]);
    assert_eq!(list.out, "saved asked: a static list of 0 users\n");
    wrong(
        &["segments", "update", "asked", "--filter", "TRUE"],
        "is a static list, which has no filter",
    );
    let file = folder.path().join("ids.txt");
    std::fs::write(&file, format!("u1\n{}\n", "x".repeat(257))).unwrap();
    let file = file.to_str().unwrap();
    wrong(
        &["segments", "add", "asked", "--from-file", file],
        "ids.txt: line 2",
    );
}
