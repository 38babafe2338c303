//! What a service that is run for real tells of itself: `stats`, the admin port, and a log that never
//! holds a value or the id of a user.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use headcount::proto::{
    CountRequest, count_request::Selection, query_service_client::QueryServiceClient,
};
use serde_json::{Value, json};
use tonic::Request;

use crate::service::{Service, command};

/// In every value and every id of a user that the test sends.
const MARK: &str = "zanzibar";

/// A service whose log goes to a file, with all that it can say.
fn start(folder: &Path, format: &str) -> Service {
    let log = File::create(folder.join("log")).unwrap();
    let mut command = command();
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(["--admin-listen", "127.0.0.1:0"])
        .args(["--log", "info,headcount=trace", "--log-format", format])
        .args(["--log-slow-call", "1us", "--data"])
        .arg(folder.join("data"))
        .stderr(log);
    Service::started_by(&mut command)
}

/// Sends values and ids in all ways there are, those that are refused included.
fn send_marks(service: &Service) {
    let mut rows = String::new();
    for n in 0..40 {
        let row = json!({
            "user_id": format!("{MARK}-{n}"),
            "plan": format!("{MARK} {}", n % 3),
            "tags": [MARK, "b"],
            "n": n,
        });
        rows.push_str(&row.to_string());
        rows.push('\n');
    }
    let arguments = ["import", "-", "--format", "ndjson"];
    let imported = service.ask_with(&arguments, rows.as_bytes());
    assert_eq!(imported.code, 0, "{imported:?}");
    let plan = format!("plan = '{MARK} 1'");
    let nested = format!("NOT (plan IN ('{MARK}', 'x') OR tags HAS ANY ('{MARK}')) AND n > 3");
    let user = format!("{MARK}-1");
    let bad = format!("n = '{MARK}'");
    let syntax = format!("plan = = '{MARK}'");
    let nobody = format!("{MARK}-nobody");
    for (arguments, code) in [
        (vec!["count", &plan], 0),
        (vec!["count", &nested], 0),
        (vec!["count", &bad], 2),
        (vec!["count", &syntax], 2),
        (vec!["members", &plan], 0),
        (vec!["breakdown", &plan, "--by", "plan"], 0),
        (vec!["explain", &nested], 0),
        (vec!["check", &user, &plan], 0),
        (vec!["user", "get", &user], 0),
        (vec!["user", "get", &nobody], 1),
        (vec!["user", "delete", &user], 0),
        (vec!["schema", "values", "plan", "--prefix", MARK], 0),
        (vec!["segments", "create", "vip", &plan], 0),
        (vec!["count", "segment('vip')"], 0),
        (vec!["snapshot"], 0),
        (vec!["stats"], 0),
    ] {
        let ended = service.ask(&arguments);
        let as_expected = ended.code == code || (code != 0 && ended.code != 0);
        assert!(as_expected, "{arguments:?}: {ended:?}");
    }
}

/// Counts with a context, as a client that traces does.
async fn count_traced(address: &str, trace: &str) {
    let mut client = QueryServiceClient::connect(address.to_owned())
        .await
        .unwrap();
    let mut request = Request::new(CountRequest {
        selection: Some(Selection::Filter(format!(
            "plan = '{MARK} traced' AND n < 7"
        ))),
        ..Default::default()
    });
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", parent.parse().unwrap());
    metadata.insert("x-request-id", "job-42".parse().unwrap());
    let answer = client.count(request).await.unwrap();
    let id = answer.metadata().get("x-request-id").unwrap();
    assert_eq!(id, "job-42");
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_was_slow_and_never_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), "json");
    send_marks(&service);
    // So that there is room for lines again.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    count_traced(service.address(), trace).await;
    let log = log(folder.path());
    assert!(!log.contains(MARK), "{log}");
    let lines = log.lines().map(serde_json::from_str::<Value>);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>().expect("each line is JSON");
    let about = |message: &str, request: &str| {
        let mut found = lines.iter().map(|line| &line["fields"]).filter(|fields| {
            fields["message"] == message && (request.is_empty() || fields["request_id"] == request)
        });
        found
            .next()
            .unwrap_or_else(|| panic!("no {message}: {log}"))
            .clone()
    };
    let slow = about("a call was slow", "job-42");
    assert_eq!(slow["method"], "headcount.v1.QueryService/Count");
    assert_eq!(slow["trace_id"], trace);
    assert_eq!((&slow["code"], &slow["reason"]), (&json!("OK"), &json!("")));
    assert_eq!(slow["population"], "default");
    assert_eq!((&slow["users"], &slow["shards"]), (&json!(39), &json!(1)));
    assert_eq!(slow["selections"], 1);
    assert_eq!(slow["shape"], "(plan = ? AND n < ?)");
    assert_eq!(slow["fingerprint"].as_str().unwrap().len(), 16);
    let ended = about("a call ended", "job-42");
    assert_eq!(ended["trace_id"], trace);
    about("a call ended", "");
    let refused = lines
        .iter()
        .any(|line| line["fields"]["reason"] == "PREDICATE_TYPE");
    assert!(refused, "{log}");
}

#[test]
fn the_text_form_holds_no_value_either() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), "text");
    send_marks(&service);
    let log = log(folder.path());
    assert!(
        log.contains("a call was slow") && log.contains("shape="),
        "{log}"
    );
    assert!(!log.contains(MARK), "{log}");
    drop(service);
}

#[test]
fn the_admin_port_is_opened_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(folder.path(), "text");
    let log = log(folder.path());
    let (_, after) = log.split_once("metrics are on http://").expect("where");
    let (address, _) = after.split_once("/metrics").unwrap();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/livez").starts_with("HTTP/1.1 200 "));
    for _ in 0..250 {
        if get("/readyz").starts_with("HTTP/1.1 200 ") {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(get("/readyz").ends_with("ready\n"));
    let metrics = get("/metrics");
    assert!(metrics.contains("\nheadcount_ready 1\n"), "{metrics}");
    assert!(metrics.contains("\nprocess_resident_memory_bytes "));
    drop(service);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let listener = std::net::TcpListener::bind(&taken);
    let data = folder.path().join("other");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", &taken];
    let ended = command().args(arguments).arg("--data").arg(data).output();
    let ended = ended.unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{error}");
    assert!(error.contains("can't open the admin port on"), "{error}");
    drop(listener);
}

#[test]
fn stats_are_shown_to_people_and_programs() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let rows = "{\"user_id\":\"a\",\"plan\":\"x\"}\n{\"user_id\":\"b\",\"plan\":\"y\"}\n";
    let arguments = ["import", "-", "--format", "ndjson"];
    assert_eq!(service.ask_with(&arguments, rows.as_bytes()).code, 0);
    let table = service.ask(&["stats"]);
    assert_eq!(table.code, 0, "{table:?}");
    for line in [
        "state     serving",
        "snapshot  none",
        "default         2       1           1         0       0",
        "default     plan      string      2       2",
    ] {
        assert!(table.out.contains(line), "{line}: {}", table.out);
    }
    let stats = service.ask(&["--output", "json", "stats"]).json();
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(stats["state"], "serving");
    let population = &stats["populations"][0];
    assert_eq!(
        (&population["name"], &population["users"]),
        (&json!("default"), &json!(2))
    );
    assert_eq!(population["properties"][0]["distinct_values"], 2);
    assert!(population["memory_bytes"]["ids"].as_u64() > Some(0));
    assert_eq!(stats["snapshot"], Value::Null);
    assert!(stats["log"]["accepted"].as_u64() >= Some(1));
    assert!(stats["uptime_seconds"].as_f64() > Some(0.0));
}
