//! Every other command, for people and for programs, and what they say when something is wrong.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::service::{Service, customers, run};

fn with_customers() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    assert_eq!(
        service.ask(&["import", customers().to_str().unwrap()]).code,
        0
    );
    (folder, service)
}

#[test]
fn commands_answer_in_json_and_by_exit_codes() {
    let (_folder, service) = with_customers();
    let json = |arguments: &[&str]| {
        let all: Vec<&str> = ["--output", "json"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let ended = service.ask(&all);
        (ended.code, ended.json())
    };
    let (code, answer) = json(&["count", "contract = 'One year'"]);
    assert_eq!(
        (code, &answer["count"], &answer["users"]),
        (0, &json!(1_473), &json!(7_043))
    );
    let (code, answer) = json(&["check", "customer-0001", "churn = 'No'", "tenure > 6"]);
    assert_eq!(code, 0);
    assert_eq!(
        answer["filters"],
        json!([
            { "filter": "churn = 'No'", "member": true },
            { "filter": "tenure > 6", "member": false },
        ])
    );
    assert_eq!(json(&["check", "customer-0001", "tenure > 6"]).0, 1);
    let (code, answer) = json(&["check", "nobody", "TRUE"]);
    assert_eq!((code, &answer["user_exists"]), (1, &json!(false)));
    let (_, answer) = json(&["user", "get", "customer-0001"]);
    assert_eq!(answer["properties"]["monthly_charges"], json!(29.85));
    let (_, answer) = json(&["schema", "values", "contract"]);
    assert_eq!(
        answer["values"][1],
        json!({ "value": "One year", "count": 1_473 })
    );
    let (_, answer) = json(&["schema", "list"]);
    assert_eq!(answer["properties"].as_array().unwrap().len(), 20);
    let (_, answer) = json(&["explain", "contract = 'One year' AND tenure > 6"]);
    assert_eq!(answer["plan"]["children"].as_array().unwrap().len(), 2);
    let (_, answer) = json(&["populations"]);
    assert_eq!(answer["populations"][0]["users"], json!(7_043));
    let (_, answer) = json(&["snapshot"]);
    assert_eq!(answer["users"], json!(7_043));
    assert_eq!(
        json(&["health"]),
        (0, json!({ "service": "", "serving": true }))
    );
    assert_eq!(
        json(&["schema", "create", "app", "version"]).1["property"]["type"],
        "version"
    );
    assert_eq!(json(&["schema", "delete", "app"]).0, 0);
    assert_eq!(
        json(&["user", "delete", "customer-0001"]).1["existed"],
        json!(true)
    );
    assert_eq!(service.ask(&["user", "get", "customer-0001"]).code, 2);
    assert_eq!(
        json(&["user", "delete", "customer-0001", "--allow-missing"]).1["existed"],
        json!(false)
    );
}

#[test]
fn members_are_listed_in_pages_or_all_and_a_closed_pipe_is_no_error() {
    let (_folder, service) = with_customers();
    let some = service.ask(&["members", "contract = 'Two year'", "--limit", "3"]);
    assert_eq!(some.out.lines().count(), 3);
    let all = service.ask(&[
        "--output",
        "json",
        "members",
        "contract = 'Two year'",
        "--all",
    ]);
    assert_eq!(all.out.lines().count(), 1_695);
    let first: serde_json::Value = serde_json::from_str(all.out.lines().next().unwrap()).unwrap();
    assert_eq!(first["user_id"], some.out.lines().next().unwrap());
    let mut members = service
        .command(&["members", "--all"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let head = Command::new("head")
        .args(["-n", "1"])
        .stdin(members.stdout.take().unwrap())
        .output()
        .unwrap();
    let ended = members.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(head.stdout).unwrap().lines().count(), 1);
    assert!(
        ended.status.success() && ended.stderr.is_empty(),
        "{ended:?}"
    );
}

#[test]
fn errors_say_what_and_where() {
    let (_folder, service) = with_customers();
    let errors = |filter: &str| {
        let ended = service.ask(&["count", filter]);
        assert_eq!(ended.code, 2, "{filter}");
        ended.err
    };
    assert_eq!(
        errors("tenure > 6 AND (contract = "),
        "error: line 1, column 28: expected a value, found the end of the text (in filter)\n  tenure > 6 AND (contract = \n                             ^\n"
    );
    let second = service.ask(&["check", "customer-0001", "tenure > 6", "tenure > ("]);
    assert!(
        second.code == 2 && second.err.contains("\n  tenure > (\n           ^\n"),
        "{second:?}"
    );
    assert!(errors("contrct = 'One year'").contains("did you mean \"contract\"?"));
    assert!(errors("tenure = '6'").contains("write a whole number"));
    assert!(errors(&format!("{}tenure = 6", "NOT ".repeat(999))).contains("expression_depth"));
    let unknown = service.ask(&["--population", "nobody", "count"]);
    assert!(
        unknown.code == 2 && unknown.err.contains("nobody"),
        "{unknown:?}"
    );
}

#[test]
fn a_folder_or_port_that_can_t_be_had_is_named() {
    let (folder, service) = with_customers();
    let data = folder.path().join("data");
    let in_use = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
    ]);
    assert!(
        in_use.code == 2 && in_use.err.contains("is in use"),
        "{in_use:?}"
    );
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let is_file = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        file.to_str().unwrap(),
    ]);
    assert!(
        is_file.code == 2 && is_file.err.contains("is a file"),
        "{is_file:?}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a folder");
    let port = service.address().trim_start_matches("http://");
    let other = folder.path().join("other");
    let taken = run(&["serve", "--listen", port, "--data", other.to_str().unwrap()]);
    assert!(
        taken.code == 2 && taken.err.contains("can't listen"),
        "{taken:?}"
    );
    let nobody = run(&["--server", "127.0.0.1:1", "health"]);
    assert!(
        nobody.code == 3 && nobody.err.contains("can't reach"),
        "{nobody:?}"
    );
}

#[test]
fn a_check_tells_why() {
    let (folder, service) = with_customers();
    let filters = [
        "contract = 'Month-to-month' AND NOT tenure > 6",
        "nick IS SET",
    ];
    assert_eq!(service.ask(&["schema", "create", "nick", "string"]).code, 0);
    let ended = service.ask(&[
        "check",
        "customer-0001",
        filters[0],
        filters[1],
        "--explain",
    ]);
    assert_eq!(
        ended.out,
        "true  clause                         saw\n\
         yes   all of\n\
         yes     contract = 'Month-to-month'  Month-to-month\n\
         yes     not\n\
         no        tenure > 6                 1\n\
         \n\
         no    nick IS SET                    missing\n"
    );
    let ended = service.ask(&[
        "--output",
        "json",
        "check",
        "customer-0001",
        filters[1],
        "--explain",
    ]);
    assert_eq!(
        ended.json()["filters"][0]["clause"],
        json!({ "text": "nick IS SET", "holds": false, "value": null, "clauses": [] })
    );
    assert_eq!(ended.json()["valid_until"], json!(null));
    let rows = folder.path().join("seen.csv");
    std::fs::write(&rows, "user_id,seen\ncustomer-0001,2026-01-01T00:00:00Z\n").unwrap();
    assert_eq!(service.ask(&["import", rows.to_str().unwrap()]).code, 0);
    let ended = service.ask(&[
        "check",
        "customer-0001",
        "seen >= now() - 30d",
        "--explain",
        "--as-of",
        "2026-01-02",
    ]);
    assert_eq!(
        ended.out,
        "true  clause               saw\n\
         yes   seen >= now() - 30d  2026-01-01T00:00:00Z\n\
         \n\
         holds until 2026-01-31T00:00:00.000001Z unless something is written\n"
    );
    let saved = [
        vec![
            "segments",
            "create",
            "asked",
            "--list",
            "--user",
            "customer-0001",
        ],
        vec!["segments", "create", "others", "NOT segment('asked')"],
    ];
    for saved in saved {
        assert_eq!(service.ask(&saved).code, 0);
    }
    let ended = service.ask(&["check", "customer-0001", "segment('others')", "--explain"]);
    assert_eq!(
        ended.out,
        "true  clause                saw\n\
         no    segment('others')\n\
         no      not\n\
         yes       segment('asked')\n"
    );
    let nobody = service.ask(&["check", "nobody", "TRUE", "--explain"]);
    assert_eq!(
        (nobody.code, nobody.out.as_str()),
        (1, "no: there is no user nobody\n")
    );
}
