//! What a service tells of itself: metrics, readiness, ids of requests, `GetStats`; and that what is in
//! `deploy/` and `docs/` asks for metrics that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use headcount::proto::{
    CreateSnapshotRequest, GetStatsRequest, StoreState, StreamMembersRequest, ValueType,
};
use headcount::server::{AdminPort, Observer, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::harness::{Service, counting, expect_error, int, set, text};

const DASHBOARD: &str = include_str!("../../deploy/grafana/headcount.json");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");
const PAGE: &str = include_str!("../../docs/metrics.md");

fn admin_port(observer: &Observer) -> AdminPort {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    AdminPort::open(listener, observer.clone()).unwrap()
}

/// An answer in HTTP: the status, the headers and the body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn send(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), read)
        .await
        .expect("an answer")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.into(),
    }
}

async fn get(port: &AdminPort, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    send(port.address(), &request).await
}

/// A sample: its name, labels and value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What is said of a metric, and its samples.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    samples: Vec<Sample>,
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    bytes.next().is_some_and(is_first)
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The labels at the beginning of a text behind `{`, and what comes after `}`.
fn labels(mut text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    loop {
        let (name, after) = text.split_once("=\"").expect("a label");
        assert!(is_name(name), "{text}");
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().expect("the label ends") {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, same @ ('\\' | '"'))) => same,
                    other => panic!("{other:?} after a backslash: {text}"),
                }),
                (_, other) => value.push(other),
            }
        };
        let before = labels.insert(name.to_owned(), value);
        assert!(before.is_none(), "{name} stands twice: {text}");
        text = &after[end + 1..];
        match text.split_at_checked(1) {
            Some((",", after)) => text = after,
            Some(("}", after)) => return (labels, after),
            _ => panic!("neither , nor }} behind a label: {text}"),
        }
    }
}

/// Reads the text format of Prometheus, strictly: names, labels, numbers, the order of lines, no sample
/// twice, and that histograms are whole and rise.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help text");
            assert!(is_name(name) && !families.contains_key(name), "{line}");
            current = name.into();
            families.entry(current.clone()).or_default().help = help.into();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(name, current, "the type is that of another metric");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            families.get_mut(name).unwrap().kind = kind.into();
        } else {
            let end = line.find(['{', ' ']).expect("a value");
            let name = &line[..end];
            let (labels, value) = match line[end..].strip_prefix('{') {
                Some(after) => labels(after),
                None => (BTreeMap::new(), &line[end..]),
            };
            let value: f64 = value.strip_prefix(' ').unwrap().parse().expect("a number");
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(seen.insert((name.to_owned(), labels.clone())), "{line}");
            let family = families.get_mut(&current).unwrap();
            let part = name.strip_prefix(current.as_str());
            let parts: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(part.is_some_and(|part| parts.contains(&part)), "{line}");
            family.samples.push(Sample {
                name: name.into(),
                labels,
                value,
            });
        }
    }
    for (name, family) in &families {
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

fn check_histogram(name: &str, family: &Family) {
    let mut series: BTreeMap<_, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        series.entry(labels).or_default().push(sample);
    }
    for (labels, samples) in series {
        let part = |part: &str| {
            let name = format!("{name}{part}");
            samples.iter().filter(move |sample| sample.name == name)
        };
        let buckets: Vec<(f64, f64)> = part("_bucket")
            .map(|bucket| (bucket.labels["le"].parse().unwrap(), bucket.value))
            .collect();
        let rises = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        assert!(buckets.windows(2).all(rises), "{name} {labels:?}");
        let (bound, all) = *buckets.last().expect("buckets");
        assert!(bound.is_infinite());
        let counts: Vec<f64> = part("_count").map(|count| count.value).collect();
        assert_eq!(counts, [all], "{name} {labels:?}");
        assert_eq!(part("_sum").count(), 1, "{name} {labels:?}");
    }
}

/// Does a little of everything, and lets some of it fail.
async fn ask_around(service: &Service) {
    let updates = (0..50).map(|n| {
        let plan = format!("plan-{}", n % 7);
        set(&format!("u{n}"), &[("plan", text(&plan)), ("n", int(n))])
    });
    service.write(updates.collect()).await;
    assert_eq!(service.count("n >= 10").await, 40);
    assert_eq!(service.members("plan = 'plan-0'").await.len(), 8);
    let bad = service.try_count("nothing = 1").await;
    expect_error(
        bad,
        Code::InvalidArgument,
        "UNKNOWN_PROPERTY",
        Some("filter"),
    );
    let mut stream = service
        .query()
        .stream_members(StreamMembersRequest {
            selection: Some(headcount::proto::stream_members_request::Selection::Filter(
                "TRUE".into(),
            )),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    while stream.message().await.unwrap().is_some() {}
    let snapshot = CreateSnapshotRequest {};
    service.admin().create_snapshot(snapshot).await.unwrap();
    service.write(vec![set("u1", &[("n", int(0))])]).await;
}

/// The value of the sample with these labels.
fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let families = families.values();
    let samples = families.flat_map(|family| &family.samples);
    let mut found = samples.filter(|sample| {
        let has = |(name, value): &(&str, &str)| {
            sample.labels.get(*name).is_some_and(|found| found == value)
        };
        sample.name == name && labels.iter().all(has)
    });
    let sample = found.next();
    sample
        .unwrap_or_else(|| panic!("no sample {name} {labels:?}"))
        .value
}

async fn scraped() -> BTreeMap<String, Family> {
    let service = Service::start().await;
    let port = admin_port(&service.observer);
    ask_around(&service).await;
    let answer = get(&port, "/metrics").await;
    assert_eq!(answer.status, 200);
    service.stop().await;
    parse(&answer.body)
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let service = Service::start().await;
    let port = admin_port(&service.observer);
    ask_around(&service).await;
    service.clock.advance("90s".parse().unwrap());
    let answer = get(&port, "/metrics").await;
    assert!(answer.head.contains("text/plain; version=0.0.4"));
    let families = parse(&answer.body);
    let count = "headcount.v1.QueryService/Count";
    let calls = |code| {
        let labels = [
            ("rpc_system_name", "grpc"),
            ("rpc_method", count),
            ("rpc_response_status_code", code),
        ];
        value(&families, "rpc_server_call_duration_seconds_count", &labels)
    };
    assert_eq!((calls("OK"), calls("INVALID_ARGUMENT")), (1.0, 1.0));
    let stream = [("rpc_method", "headcount.v1.QueryService/StreamMembers")];
    for (name, labels, expected) in [
        ("headcount_stream_duration_seconds_count", &stream[..], 1.0),
        ("headcount_calls_in_flight", &[("rpc_method", count)], 0.0),
        (
            "headcount_errors_total",
            &[("reason", "UNKNOWN_PROPERTY")],
            1.0,
        ),
        ("headcount_errors_total", &[("reason", "OVERLOADED")], 0.0),
        ("headcount_ready", &[], 1.0),
        ("headcount_state", &[("state", "serving")], 1.0),
        ("headcount_state", &[("state", "full")], 0.0),
        ("headcount_connections_refused_total", &[], 0.0),
        (
            "headcount_refused_events_total",
            &[("cause", "duplicate")],
            0.0,
        ),
        ("headcount_commands_total", &[("outcome", "accepted")], 2.0),
        ("headcount_queue_commands", &[], 0.0),
        ("headcount_queue_bytes", &[], 0.0),
        ("headcount_log_sync_duration_seconds_count", &[], 2.0),
        ("headcount_log_group_commands_sum", &[], 2.0),
        ("headcount_snapshot_users", &[], 50.0),
        ("headcount_snapshot_age_seconds", &[], 90.0),
        ("headcount_snapshots_total", &[("outcome", "written")], 1.0),
        ("headcount_users", &[("population", "default")], 50.0),
        ("headcount_shards", &[("population", "default")], 1.0),
        ("headcount_properties", &[("population", "default")], 2.0),
        (
            "headcount_distinct_values",
            &[("population", "default"), ("property", "plan")],
            7.0,
        ),
        ("headcount_queries_running", &[], 0.0),
        ("headcount_query_threads", &[], 1.0),
        ("headcount_watchers", &[], 0.0),
        (
            "headcount_limit",
            &[("limit", "users_per_population")],
            100_000_000.0,
        ),
    ] {
        let found = value(&families, name, labels);
        assert!((found - expected).abs() < 1e-9, "{name} {labels:?} {found}");
    }
    for (name, labels) in [
        ("headcount_log_unsaved_bytes", &[][..]),
        ("headcount_log_written_bytes_total", &[]),
        ("headcount_snapshot_bytes", &[]),
        ("headcount_memory_bytes", &[("part", "ids")]),
        ("process_start_time_seconds", &[]),
    ] {
        assert!(value(&families, name, labels) > 0.0, "{name}");
    }
    // Properties whose values are not listed have no number of these.
    assert_eq!(families["headcount_distinct_values"].samples.len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn open_metrics_are_told_to_who_accepts_them() {
    let service = Service::start().await;
    let port = admin_port(&service.observer);
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\n\
        accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n";
    let answer = send(port.address(), request).await;
    assert!(
        answer
            .head
            .contains("application/openmetrics-text; version=1.0.0")
    );
    assert!(answer.body.ends_with("\n# EOF\n"));
    assert!(answer.body.contains("# TYPE headcount_errors counter\n"));
    assert!(
        answer
            .body
            .contains("\nheadcount_errors_total{reason=\"INTERNAL\"} 0\n")
    );
    service.stop().await;
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_service() {
    let observer = Observer::new(None);
    let port = admin_port(&observer);
    assert_eq!(get(&port, "/livez").await.status, 200);
    let starting = get(&port, "/readyz").await;
    assert_eq!((starting.status, &*starting.body), (503, "starting\n"));
    parse(&get(&port, "/metrics").await.body);

    let service = Service::start().await;
    let port = admin_port(&service.observer);
    service.write(vec![set("u", &[("n", int(1))])]).await;
    let ready = get(&port, "/readyz").await;
    assert_eq!((ready.status, &*ready.body), (200, "ready\n"));
    let observer = service.observer.clone();
    service.stop().await;
    assert_eq!(get(&port, "/livez").await.status, 200);
    let stopping = get(&port, "/readyz").await;
    assert_eq!((stopping.status, &*stopping.body), (503, "stopping\n"));
    parse(&get(&port, "/metrics").await.body);
    let again = observer.readiness().phase();
    assert_eq!(again, headcount::server::Phase::Ending);
}

#[tokio::test]
async fn the_admin_port_answers_little_and_bears_what_is_none_of_it() {
    let observer = Observer::new(None);
    let port = admin_port(&observer);
    let address = port.address();
    let root = get(&port, "/").await;
    assert!(root.status == 200 && root.body.contains("/metrics"));
    assert_eq!(get(&port, "/nothing").await.status, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let request = format!("{method} /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n");
        let answer = send(address, &request).await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"));
    }
    let head = send(address, "HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!((head.status, &*head.body), (200, ""));
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may close before all is sent.
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(!answer.contains(" 200 "), "{answer}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\x16\x03\x01 no http").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    // Who holds some connections open does not keep others out.
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(get(&port, "/livez").await.status, 200);
    drop(idle);
    drop(port);
    for _ in 0..250 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the admin port is still open");
}

#[tokio::test]
async fn calls_that_fail_or_are_slow_say_by_which_id_they_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        slow_call: Some(Duration::ZERO),
        ..ServerConfig::default()
    };
    let service = Service::start_with(folder.path(), config).await;
    let asked = |filter: &str, id: Option<&'static str>| {
        let mut request = Request::new(counting(filter));
        if let Some(id) = id {
            request
                .metadata_mut()
                .insert("x-request-id", id.parse().unwrap());
        }
        request
    };
    let slow = service.query().count(asked("TRUE", Some("job-7.a"))).await;
    assert_eq!(
        slow.unwrap().metadata().get("x-request-id").unwrap(),
        "job-7.a"
    );
    let failed = service.query().count(asked("nothing = 1", Some("b"))).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.metadata().get("x-request-id").unwrap(), "b");
    // One that is not well-formed is not passed on.
    for id in [None, Some("a@b"), Some("with space")] {
        let failed = service.query().count(asked("nothing = 1", id)).await;
        let metadata = failed.unwrap_err();
        let made = metadata.metadata().get("x-request-id").unwrap();
        assert!(
            made.len() == 16
                && made
                    .to_str()
                    .unwrap()
                    .bytes()
                    .all(|b| b.is_ascii_hexdigit())
        );
    }
    service.stop().await;

    let service = Service::start().await;
    let soon = service.query().count(asked("TRUE", Some("c"))).await;
    assert!(soon.unwrap().metadata().get("x-request-id").is_none());
    service.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_counted_as_such() {
    let service = Service::start().await;
    let port = admin_port(&service.observer);
    let mut stream = service
        .segments()
        .watch_segments(headcount::proto::WatchSegmentsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let _ = stream.message().await;
    drop(stream);
    let labels = [
        ("rpc_method", "headcount.v1.SegmentService/WatchSegments"),
        ("rpc_response_status_code", "CANCELLED"),
    ];
    for _ in 0..250 {
        let text = get(&port, "/metrics").await.body;
        if text.contains("WatchSegments\",rpc_response_status_code=\"CANCELLED\"") {
            let families = parse(&text);
            let name = "headcount_stream_duration_seconds_count";
            assert!((value(&families, name, &labels) - 1.0).abs() < 1e-9);
            let in_flight = value(&families, "headcount_calls_in_flight", &labels[..1]);
            assert!(in_flight.abs() < 1e-9);
            service.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the stream that was dropped is not counted");
}

#[tokio::test]
async fn get_stats_tells_what_there_is() {
    let service = Service::start().await;
    ask_around(&service).await;
    let stats = service.admin().get_stats(GetStatsRequest {}).await;
    let stats = stats.unwrap().into_inner();
    assert_eq!(stats.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(stats.state(), StoreState::Serving);
    assert!(!stats.revision.is_empty() && stats.uptime.is_some());
    let [population] = &stats.populations[..] else {
        panic!("{:?}", stats.populations);
    };
    assert_eq!(
        (&*population.name, population.users, population.shards),
        ("default", 50, 1)
    );
    let [n, plan] = &population.properties[..] else {
        panic!("{:?}", population.properties);
    };
    assert_eq!((&*n.name, n.r#type(), n.users), ("n", ValueType::Int64, 50));
    assert_eq!(
        (plan.r#type(), plan.distinct_values),
        (ValueType::String, 7)
    );
    assert!(
        population
            .memory
            .iter()
            .any(|part| part.part == "ids" && part.bytes > 0)
    );
    let log = stats.log.unwrap();
    assert_eq!((log.accepted, log.refused, log.waiting), (2, 0, 0));
    assert!(log.syncs == 2 && log.sync_p50.is_some() && log.unsaved_bytes > 0);
    assert!(log.unsaved_for.is_some());
    let snapshot = stats.snapshot.unwrap();
    assert_eq!(
        (snapshot.users, snapshot.written, snapshot.failed),
        (50, 1, 0)
    );
    assert!(snapshot.took.is_some());
    assert_eq!(stats.queries.unwrap().threads, 1);
    service.stop().await;
}

/// The texts that the dashboard and the alerts ask Prometheus for.
fn asked_for() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let mut asked: Vec<String> = targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let queries = variables.iter().filter_map(|one| one["query"].as_str());
    asked.extend(
        queries
            .filter(|query| *query != "prometheus")
            .map(str::to_owned),
    );
    assert!(asked.len() > 30, "{}", asked.len());
    let alerts = ALERTS.lines();
    let alerts = alerts.filter_map(|line| line.trim().strip_prefix("expr: "));
    let alerts: Vec<String> = alerts.map(str::to_owned).collect();
    assert_eq!(alerts.len(), ALERTS.matches("- alert: ").count());
    asked.extend(alerts);
    asked
}

#[tokio::test]
async fn what_dashboard_and_alerts_ask_for_is_there() {
    let families = scraped().await;
    let samples = || families.values().flat_map(|family| &family.samples);
    let names: BTreeSet<&str> = samples().map(|sample| sample.name.as_str()).collect();
    let mut used = BTreeSet::new();
    for text in asked_for() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut rest = text.as_str();
        let mut found = 0;
        while let Some(start) = rest.find(is_word) {
            let word = &rest[start..];
            let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
            let (word, after) = word.split_at(end);
            rest = after;
            let is_metric = ["headcount_", "process_", "rpc_server_"]
                .iter()
                .any(|prefix| word.starts_with(prefix));
            if word == "up" {
                found += 1;
            }
            if !is_metric {
                continue;
            }
            found += 1;
            // Samples without which a new store is served.
            let is_known = names.contains(word) || families.contains_key(word);
            assert!(is_known, "there is no metric {word}: {text}");
            used.insert(word.to_owned());
            let Some(matchers) = after.strip_prefix('{') else {
                continue;
            };
            let matchers = matchers.split('}').next().unwrap();
            for matcher in matchers.split(',') {
                let Some((label, wanted)) = matcher.split_once("=\"") else {
                    continue;
                };
                let wanted = wanted.trim_end_matches('"');
                let ours = !label.ends_with(['!', '~']) && label != "job";
                let exists = samples().any(|sample| {
                    sample.name.starts_with(word)
                        && sample
                            .labels
                            .get(label)
                            .is_some_and(|found| found == wanted)
                });
                // Nothing was checked by the traffic before.
                let is_check = wanted.ends_with("/Check");
                assert!(
                    !ours || exists || is_check,
                    "no {label} is {wanted}: {text}"
                );
            }
        }
        assert!(found > 0, "nothing is asked for: {text}");
    }
    assert!(used.len() > 35, "{used:?}");
}

#[tokio::test]
async fn the_page_tells_of_every_metric() {
    let families = scraped().await;
    let (_, table) = PAGE.split_once("<!-- metrics -->").unwrap();
    let (table, _) = table.split_once("<!-- end of metrics -->").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let rows: BTreeMap<&str, &str> = rows
        .map(|row| (row[3..].split('`').next().unwrap(), row))
        .collect();
    for (name, family) in &families {
        let mut labels: BTreeSet<&String> = family
            .samples
            .iter()
            .flat_map(|sample| sample.labels.keys())
            .collect();
        labels.remove(&"le".to_owned());
        let row = rows.get(name.as_str());
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md has no {name}"));
        let cells: Vec<&str> = row.split(" | ").collect();
        let [_, kind, told, help] = cells[..] else {
            panic!("{row}");
        };
        assert_eq!(kind, family.kind, "{name}");
        assert_eq!(help.trim_end_matches(" |"), family.help);
        let told: BTreeSet<String> = told
            .split(", ")
            .map(|label| label.trim_matches('`').to_owned())
            .filter(|label| !label.is_empty())
            .collect();
        let labels: BTreeSet<String> = labels.into_iter().cloned().collect();
        assert!(labels.is_empty() || labels == told, "{name}: {labels:?}");
    }
    assert_eq!(
        rows.len(),
        families.len(),
        "docs/metrics.md has a row too many"
    );
}
