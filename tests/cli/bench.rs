//! Load on a real service: what was sent is what arrived, and every failure is counted.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::service::{Ended, Service};

const POPULATION: [&str; 2] = ["--population", "bench"];

fn started() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    (folder, service)
}

/// A service with the users of a bench.
fn prepared(users: &str) -> (tempfile::TempDir, Service) {
    let (folder, service) = started();
    let ended = bench(
        &service,
        &[
            "--prepare",
            "--users",
            users,
            "--profile",
            "counts",
            "--calls",
            "1",
        ],
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    (folder, service)
}

fn bench(service: &Service, arguments: &[&str]) -> Ended {
    service.ask(&[&["--output", "json", "bench"], arguments].concat())
}

fn count(service: &Service, filter: &str) -> u64 {
    let ended = service.ask(&[&["--output", "json"], &POPULATION[..], &["count", filter]].concat());
    ended.json()["count"].as_u64().unwrap()
}

/// How often the users of a bench were written to.
fn writes(service: &Service) -> u64 {
    let arguments = ["--output", "json", "summarize", "--of", "writes"];
    let ended = service.ask(&[&POPULATION[..], &arguments].concat()).json();
    let statistics = &ended["statistics"];
    let (mean, users) = (&statistics["mean"], &statistics["count"]);
    let sum = mean.as_f64().unwrap() * users.as_f64().unwrap();
    assert!((sum - sum.round()).abs() < 1e-6, "{ended}");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "few"
    )]
    let sum = sum.round() as u64;
    sum
}

fn number(json: &Value, path: &str) -> u64 {
    json.pointer(path)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{path}: {json}"))
}

#[test]
fn the_same_users_are_made_for_the_same_seed() {
    let (_folder, service) = prepared("300");
    assert_eq!(count(&service, "bench_seed = 1"), 300);
    assert_eq!(count(&service, "TRUE"), 300);
    let filters = [
        "plan = 'free'",
        "age IS SET",
        "tags IS SET",
        "count(open, 31d) > 0",
        "segment('bench-paying')",
    ];
    let before = filters.map(|filter| count(&service, filter));
    assert!(
        before.iter().all(|count| (1..300).contains(count)),
        "{before:?}"
    );
    assert_eq!(before[0] + before[4], 300);
    let again = bench(
        &service,
        &[
            "--prepare",
            "--users",
            "300",
            "--profile",
            "checks",
            "--calls",
            "1",
        ],
    );
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(filters.map(|filter| count(&service, filter)), before);
    let other = bench(
        &service,
        &[
            "--prepare",
            "--users",
            "300",
            "--seed",
            "2",
            "--profile",
            "checks",
            "--calls",
            "1",
        ],
    );
    assert_eq!(other.code, 0, "{other:?}");
    assert_eq!(count(&service, "bench_seed = 2"), 300);
    assert_ne!(filters.map(|filter| count(&service, filter)), before);
}

#[test]
fn every_write_arrives_once() {
    let (_folder, service) = prepared("50");
    let mut expected = 0;
    for (arguments, calls, batch) in [
        (&["--calls", "200"][..], 200, 1),
        (&["--calls", "30", "--batch", "7"], 30, 7),
        (&["--calls", "40", "--batch", "5", "--stream"], 40, 5),
        (
            &["--calls", "60", "--rate", "400", "--in-flight", "64"],
            60,
            1,
        ),
    ] {
        let ended = bench(&service, &[&["--profile", "writes"], arguments].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        let json = ended.json();
        assert_eq!(number(&json, "/operations/write/answered"), calls, "{json}");
        expected += calls * batch;
        assert_eq!(writes(&service), expected, "{arguments:?}");
    }
}

#[test]
fn a_mix_has_all_its_kinds_and_each_time_is_in_the_histogram() {
    let (folder, service) = prepared("200");
    let file = folder.path().join("times");
    let ended = bench(
        &service,
        &[
            "--mix",
            "check=5,count=2,write=2,move=1",
            "--calls",
            "300",
            "--connections",
            "3",
            "--in-flight",
            "6",
            "--histogram",
            file.to_str().unwrap(),
        ],
    );
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    let json = ended.json();
    let kinds = ["check", "count", "write", "move"];
    let calls = kinds.map(|kind| number(&json, &format!("/operations/{kind}/calls")));
    assert!(calls.iter().all(|calls| *calls > 0), "{calls:?}");
    assert_eq!(calls.iter().sum::<u64>(), 300);
    assert_eq!(number(&json, "/all/calls"), 300);
    assert_eq!(writes(&service), calls[2]);
    for kind in kinds {
        let operation = &json["operations"][kind];
        let bins = operation["histogram"].as_array().unwrap();
        let in_bins: u64 = bins.iter().map(|bin| number(bin, "/count")).sum();
        assert_eq!(in_bins, number(operation, "/answered"));
        let times = ["min", "p50", "p90", "p99", "p999", "max"];
        let times = times.map(|time| number(operation, &format!("/latency_us/{time}")));
        assert!(times.is_sorted() && times[0] > 0, "{times:?}");
        let written = std::fs::read_to_string(folder.path().join(format!("times-{kind}"))).unwrap();
        let total = format!("Total count    = {:12}]", number(operation, "/answered"));
        assert!(written.contains(&total), "{written}");
    }
    // Each of the four watchers was told of each move.
    assert_eq!(number(&json, "/watch/told"), 4 * calls[3]);
    assert_eq!(number(&json, "/watch/lost"), 0);
}

#[test]
fn those_who_watch_are_told_every_move() {
    let (_folder, service) = prepared("40");
    // Users go in and out many times; a second run begins wherever the first one left them.
    for _ in 0..2 {
        let ended = bench(
            &service,
            &[
                "--profile",
                "watch",
                "--calls",
                "330",
                "--watchers",
                "3",
                "--in-flight",
                "10",
            ],
        );
        assert_eq!(ended.code, 0, "{ended:?}");
        let watch = &ended.json()["watch"];
        assert_eq!(number(watch, "/told"), 3 * 330);
        for none in ["/lost", "/out_of_turn", "/resyncs"] {
            assert_eq!(number(watch, none), 0, "{watch}");
        }
    }
    // 330 moves of 40 users by 10 senders, who take turns: some are inside.
    assert!(count(&service, "segment('bench-moved')") > 0);
    let few = bench(
        &service,
        &["--profile", "watch", "--in-flight", "41", "--calls", "1"],
    );
    assert!(few.code == 2 && few.err.contains("--in-flight"), "{few:?}");
}

#[test]
fn an_open_loop_sends_what_was_planned() {
    let (_folder, service) = prepared("50");
    let ended = bench(
        &service,
        &[
            "--profile",
            "checks",
            "--rate",
            "200",
            "--duration",
            "1s",
            "--warmup",
            "500ms",
        ],
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    assert_eq!(json["loop"], "open");
    assert_eq!(number(&json, "/schedule/due"), 300);
    let (calls, unsent) = (
        number(&json, "/all/calls"),
        number(&json, "/schedule/unsent"),
    );
    assert_eq!(
        calls + unsent,
        200,
        "those of the warm-up do not count: {json}"
    );
    // Far more than one call at a time can do: what is late is said, and is in the times.
    let ended = bench(
        &service,
        &[
            "--profile",
            "counts",
            "--rate",
            "100000",
            "--calls",
            "5000",
            "--in-flight",
            "1",
            "--connections",
            "1",
        ],
    );
    let json = ended.json();
    let schedule = &json["schedule"];
    assert_eq!(number(schedule, "/due"), 5_000);
    assert!(number(schedule, "/late") > 0, "{json}");
    assert_eq!(
        number(&json, "/all/calls") + number(schedule, "/unsent"),
        5_000
    );
    assert!(
        number(&json, "/all/latency_us/max") >= number(schedule, "/latest_us"),
        "{json}"
    );
}

/// A command in the background, and the service held up while it runs.
fn held_up(service: &Service, arguments: &[&str]) -> Value {
    let child = service
        .command(&[&["--output", "json", "bench"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    service.signal("STOP");
    std::thread::sleep(Duration::from_secs(1));
    service.signal("CONT");
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.json()
}

#[test]
fn a_service_that_stands_still_is_slow_in_an_open_loop() {
    let (_folder, service) = prepared("50");
    let load = ["--profile", "checks", "--duration", "4s", "--warmup", "0s"];
    // A quarter of the calls are due while nothing is answered, and wait for 500 ms on average.
    let open = held_up(&service, &[&load[..], &["--rate", "200"]].concat());
    assert!(number(&open, "/all/latency_us/p90") > 200_000, "{open}");
    // Whoever asks one thing after another sees one slow answer.
    let closed = held_up(&service, &[&load[..], &["--in-flight", "1"]].concat());
    assert!(number(&closed, "/all/latency_us/max") > 500_000, "{closed}");
    assert!(number(&closed, "/all/latency_us/p90") < 200_000, "{closed}");
}

#[test]
fn rates_are_not_of_the_time_that_the_last_calls_are_waited_for() {
    let (_folder, service) = prepared("50");
    let load = ["--profile", "checks", "--duration", "2s", "--warmup", "0s"];
    let child = service
        .command(&[&["--output", "json", "bench"], &load[..]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    service.signal("STOP");
    std::thread::sleep(Duration::from_secs(4));
    service.signal("CONT");
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    assert!(
        number(&json, "/all/latency_us/max") > 2_000_000,
        "a call was answered after the end: {json}"
    );
    assert_eq!(json["seconds"].as_f64(), Some(2.0));
    let answered = json["all"]["answered_per_second"].as_f64().unwrap() * 2.0;
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let all = number(&json, "/all/answered") as f64;
    assert!(answered > 0.0 && answered < all, "{json}");
}

#[test]
fn refusals_are_no_failures() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--max-queries", "1"];
    let service = Service::start_with(&folder.path().join("data"), &arguments);
    let load = [
        "--prepare",
        "--users",
        "20000",
        "--calls",
        "3000",
        "--in-flight",
        "64",
    ];
    // What takes its time, so that others come meanwhile.
    let slow = ["--profile", "counts", "--filter", "sum(purchase, 90d) > 50"];
    let ended = bench(&service, &[&load[..], &slow].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    let counts = &json["operations"]["count"];
    let refused = number(counts, "/refused");
    assert!(refused > 0, "{json}");
    assert_eq!(number(counts, "/failed"), 0);
    assert_eq!(number(counts, "/answered") + refused, 3_000);
    assert!(number(counts, "/refused_latency_us/p50") > 0);
    // What is refused makes no service fast.
    let seconds = json["seconds"].as_f64().unwrap();
    let in_all = |rate: &str| counts[rate].as_f64().unwrap() * seconds;
    let answered = number(counts, "/answered");
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let answered = answered as f64;
    assert!(
        (in_all("answered_per_second") - answered).abs() < 0.5,
        "{json}"
    );
    assert!((in_all("asked_per_second") - 3_000.0).abs() < 0.5, "{json}");
    let columns = |arguments: &[&str]| {
        let shown = service.ask(&[&["bench", "--profile", "counts"], arguments].concat());
        let heads = shown.out.lines().find(|line| line.starts_with("call "));
        let heads = heads.unwrap_or_else(|| panic!("{shown:?}")).to_owned();
        (heads.contains("answered/s"), heads.contains("asked/s"))
    };
    assert_eq!(
        columns(&["--calls", "3", "--in-flight", "1"]),
        (true, false)
    );
    let wrong = ["--filter", "nobody_has_it = 1", "--calls", "3"];
    assert_eq!(columns(&wrong), (true, true));
}

#[test]
fn failures_are_counted_by_their_reason() {
    let (_folder, service) = prepared("10");
    let wrong = bench(
        &service,
        &[
            "--profile",
            "counts",
            "--filter",
            "nobody_has_it = 1",
            "--calls",
            "30",
        ],
    );
    assert_eq!(wrong.code, 1, "{wrong:?}");
    let json = wrong.json();
    assert_eq!(number(&json, "/operations/count/failed"), 30);
    assert_eq!(number(&json, "/operations/count/answered"), 0);
    assert_eq!(
        json["operations"]["count"]["errors"]["InvalidArgument UNKNOWN_PROPERTY"], 30,
        "{json}"
    );
    assert!(json["operations"]["count"]["latency_us"].is_null());
    // For people, the same.
    let shown = service.ask(&[
        "bench",
        "--profile",
        "counts",
        "--filter",
        "nobody_has_it = 1",
        "--calls",
        "30",
    ]);
    assert!(
        shown
            .out
            .contains("30 of count failed: InvalidArgument UNKNOWN_PROPERTY"),
        "{shown:?}"
    );
}

#[test]
fn users_that_no_bench_made_are_not_written_to() {
    let (_folder, service) = started();
    let users = b"user_id,age\nu1,20\nu2,30\n";
    let imported = service.ask_with(
        &["--population", "mine", "import", "-", "--format", "csv"],
        users,
    );
    assert_eq!(imported.code, 0, "{imported:?}");
    let ask =
        |arguments: &[&str]| service.ask(&[&["--population", "mine", "bench"], arguments].concat());
    let refused = [
        &["--prepare", "--profile", "checks"][..],
        &["--profile", "writes"],
        &["--profile", "watch"],
        &["--filter", "age > 25"],
    ];
    for arguments in refused {
        let ended = ask(arguments);
        assert!(
            ended.code == 2 && ended.err.contains("--among-others"),
            "{ended:?}"
        );
    }
    let nobody = ask(&["--profile", "checks"]);
    assert!(
        nobody.code == 2 && nobody.err.contains("--filter"),
        "{nobody:?}"
    );
    // Asking them is no harm.
    let asked = ask(&[
        "--profile",
        "checks",
        "--filter",
        "age > 25",
        "--calls",
        "20",
    ]);
    assert_eq!(asked.code, 0, "{asked:?}");
    assert!(
        asked.out.contains("2 users of population mine"),
        "{asked:?}"
    );
    // Beside them, if that is meant.
    let beside = ask(&[
        "--among-others",
        "--prepare",
        "--users",
        "20",
        "--profile",
        "writes",
        "--calls",
        "20",
    ]);
    assert_eq!(beside.code, 0, "{beside:?}");
    let user = service.ask(&[
        "--population",
        "mine",
        "--output",
        "json",
        "user",
        "get",
        "u1",
    ]);
    assert_eq!(user.json()["properties"], serde_json::json!({ "age": 20 }));
}

#[test]
fn what_makes_no_sense_is_said_at_once() {
    let (_folder, service) = started();
    for (arguments, says) in [
        (&["--calls", "1"][..], "--prepare"),
        (&["--rate", "0"], "--rate 0 is out of range"),
        (&["--rate", "NaN"], "--rate NaN is out of range"),
        (&["--duration", "0s"], "--duration 0s counts nothing"),
        (&["--duration", "8d"], "7d"),
        (&["--timeout", "0s"], "--timeout"),
        (
            &["--calls", "18446744073709551615", "--rate", "0.001"],
            "--calls",
        ),
        (
            &["--calls", "1000", "--rate", "0.001"],
            "--calls 1000 at --rate 0.001 take more than 7d",
        ),
        (&["--mix", "reads=1"], "reads=1"),
        (&["--calls", "1", "--duration", "1s"], "cannot be used with"),
        (&["--histogram", "/nowhere/at/all"], "/nowhere/at/all"),
    ] {
        let ended = bench(&service, arguments);
        assert!(
            ended.code == 2 && ended.err.contains(says),
            "{arguments:?}: {ended:?}"
        );
    }
    let (_folder, service) = prepared("10");
    let more = bench(&service, &["--profile", "checks", "--users", "11"]);
    assert!(
        more.code == 2 && more.err.contains("10 users of a bench"),
        "{more:?}"
    );
}

#[test]
fn an_interrupted_bench_reports_what_it_has() {
    let (_folder, service) = prepared("50");
    let arguments = [
        "--output",
        "json",
        "bench",
        "--profile",
        "checks",
        "--duration",
        "60s",
        "--warmup",
        "0s",
    ];
    let child = service
        .command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    assert_eq!(json["interrupted"], true);
    assert!(number(&json, "/all/calls") > 0);
    assert!(json["seconds"].as_f64().unwrap() < 30.0);
}

#[test]
fn what_was_due_before_an_interruption_is_sent_or_counted_as_not_sent() {
    let (_folder, service) = prepared("50");
    let load = ["--profile", "checks", "--duration", "60s", "--warmup", "0s"];
    // One call at a time: while it hangs, the others that are due wait.
    let open = ["--rate", "200", "--in-flight", "1"];
    let child = service
        .command(&[&["--output", "json", "bench"], &load[..], &open].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    service.signal("STOP");
    std::thread::sleep(Duration::from_secs(1));
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    std::thread::sleep(Duration::from_secs(2));
    service.signal("CONT");
    let ended: Ended = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    let (due, unsent) = (
        number(&json, "/schedule/due"),
        number(&json, "/schedule/unsent"),
    );
    assert_eq!(number(&json, "/all/calls") + unsent, due, "{json}");
    assert!(unsent >= 100, "a second of them, about: {json}");
    // Not those of the two seconds that the last call was waited for.
    let seconds = json["seconds"].as_f64().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let due = due as f64;
    assert!((due - seconds * 200.0).abs() <= 1.0, "{json}");
}

#[test]
fn every_method_has_data_for_ghz() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load");
    let script = std::fs::read_to_string(folder.join("run.sh")).unwrap();
    for method in headcount::api::METHODS {
        let service = method.service.strip_prefix("headcount.v1.").unwrap();
        let name = format!("{service}.{}", method.name);
        let data = std::fs::read_to_string(folder.join(format!("data/{name}.json")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_str::<Value>(&data).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            script.split_whitespace().any(|word| word == name),
            "{name} is not in tests/load/run.sh"
        );
    }
}
