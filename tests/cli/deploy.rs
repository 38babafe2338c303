//! What `deploy/` says fits the program: settings are known, paths exist, times are in order.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::service::{Ended, PROGRAM, command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deployed(file: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(file)).unwrap()
}

/// What follows a word at the beginning of a line, of all lines that have it.
fn after<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let lines = text.lines().map(str::trim_start);
    lines
        .filter_map(|line| line.strip_prefix(word))
        .map(str::trim)
        .collect()
}

#[track_caller]
fn the_one<'a>(text: &'a str, word: &str) -> &'a str {
    let found = after(text, word);
    assert_eq!(found.len(), 1, "{word}: {found:?}");
    found[0]
}

/// Asks which settings would be in force with the arguments of `serve` and with variables, all of
/// which have to be known; returns how long the end may take.
#[track_caller]
fn seconds_to_drain(arguments: &[&str], variables: &[(&str, &str)]) -> u64 {
    let (serve, rest) = arguments.split_first().expect("a command");
    assert_eq!(*serve, "serve");
    let mut config = command();
    config.args(["--output", "json", "config"]).args(rest);
    config.envs(variables.iter().copied());
    let ended = Ended::from(config.output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    let json = ended.json();
    assert_eq!(json["unknown_variables"], serde_json::json!([]));
    let settings = json["settings"].as_array().unwrap();
    let seconds = |name: &str| {
        let found = settings.iter().find(|setting| setting["setting"] == name);
        let value = found.unwrap()["value"].as_str().unwrap();
        value.trim_end_matches('s').parse::<u64>().unwrap()
    };
    for (variable, value) in variables {
        let mut said = settings.iter().filter(|s| s["variable"] == *variable);
        assert!(said.next().is_some(), "{variable}={value}");
    }
    seconds("server.drain_grace") + seconds("server.drain_timeout")
}

#[test]
fn the_unit_fits_the_program() {
    let unit = deployed("headcount.service");
    let start: Vec<&str> = the_one(&unit, "ExecStart=").split(' ').collect();
    let variables: Vec<_> = after(&unit, "Environment=")
        .into_iter()
        .map(|pair| pair.split_once('=').unwrap())
        .collect();
    let drain = seconds_to_drain(&start[1..], &variables);
    let stop: u64 = the_one(&unit, "TimeoutStopSec=").parse().unwrap();
    // What is asked for beyond the bound when the end begins.
    assert!(stop >= drain + 30, "{stop} s for {drain} s");
    assert_eq!(the_one(&unit, "Type="), "notify");
    let data = variables.iter().find(|(name, _)| *name == "HEADCOUNT_DATA");
    let state = format!("/var/lib/{}", the_one(&unit, "StateDirectory="));
    assert_eq!(data.unwrap().1, state);
    assert_eq!(the_one(&unit, "ExecReload="), "kill -HUP $MAINPID");
    // Where the comment says it is.
    assert!(unit.contains("deploy/headcount.sysusers"));
    let user = deployed("headcount.sysusers");
    let name = the_one(&unit, "User=");
    assert!(the_one(&user, "u ").starts_with(name), "{user}");
}

/// Where there is systemd to ask.
#[test]
fn the_unit_is_one_and_keeps_the_service_in() {
    let unit = deployed("headcount.service");
    let unit = unit.replace("/usr/local/bin/headcount", PROGRAM);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headcount.service");
    std::fs::write(&file, unit).unwrap();
    let analyze = |arguments: &[&str]| {
        Command::new("systemd-analyze")
            .args(arguments)
            .arg(&file)
            .env("SYSTEMD_COLORS", "0")
            .output()
    };
    let Ok(verified) = analyze(&["verify", "--man=no"]) else {
        eprintln!("there is no systemd-analyze: the unit was not checked");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    // Others' units may have faults of their own.
    let about = said.lines().filter(|line| line.contains("headcount"));
    assert_eq!(about.collect::<Vec<_>>(), Vec::<&str>::new(), "{said}");
    // From 0 to 100, as systemd rates what a service could still do.
    let rated = analyze(&["security", "--offline=true", "--threshold=20"]).unwrap();
    let said = String::from_utf8_lossy(&rated.stdout);
    assert!(rated.status.success(), "{said}");
}

#[test]
fn the_container_fits_the_program() {
    let file = deployed("Containerfile");
    for sources in after(&file, "COPY ") {
        let words: Vec<&str> = sources.split(' ').collect();
        if words[0].starts_with("--from=") {
            let program: PathBuf = words[2].into();
            assert_eq!(program.file_name().unwrap(), "headcount");
            continue;
        }
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "there is no {source}");
            let ignored = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
            let ignored = ignored.lines().any(|line| line == format!("/{source}"));
            assert!(!ignored, "{source} is left out");
        }
    }
    // All that the build of the program reads.
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let toolchain = the_one(&manifest, "rust-version = ").trim_matches('"');
    assert!(after(&file, "FROM ")[0].contains(&format!("/rust:{toolchain}-")));
    let list = |word: &str| -> Vec<String> {
        serde_json::from_str(the_one(&file, word)).expect("a list of words")
    };
    let variables: Vec<_> = after(&file, "ENV ")
        .into_iter()
        .map(|pair| pair.split_once('=').unwrap())
        .collect();
    let run = list("CMD ");
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    seconds_to_drain(&run, &variables);
    let said = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.unwrap().1
    };
    assert_eq!(the_one(&file, "VOLUME "), said("HEADCOUNT_DATA"));
    let port = said("HEADCOUNT_LISTEN").rsplit(':').next().unwrap();
    assert_eq!(the_one(&file, "EXPOSE "), port);
    assert_eq!(the_one(&file, "STOPSIGNAL "), "SIGTERM");
    // Not root, and by number, so that it can be seen not to be.
    let user = the_one(&file, "USER ").split_once(':').unwrap();
    assert!(user.0.parse::<u32>().unwrap() > 0 && user.1.parse::<u32>().unwrap() > 0);
    let check = the_one(&file, "HEALTHCHECK ").split_once("CMD ").unwrap().1;
    let check: Vec<String> = serde_json::from_str(check).unwrap();
    let program = list("ENTRYPOINT ").remove(0);
    assert_eq!(check, [program.as_str(), "health", "live"]);
    // Which asks where it is served by default.
    let help = Ended::from(command().args(["health", "--help"]).output().unwrap());
    assert!(help.out.contains(&format!("127.0.0.1:{port}]")), "{help:?}");
}

#[test]
fn the_pod_fits_the_program() {
    let file = deployed("kubernetes.yaml");
    let arguments: Vec<String> = serde_json::from_str(the_one(&file, "args: ")).unwrap();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let lines: Vec<&str> = file.lines().map(str::trim).collect();
    let variables = lines.windows(2).filter_map(|pair| {
        let name = pair[0].strip_prefix("- name: ")?;
        let value = pair[1].strip_prefix("value: ")?;
        Some((name, value.trim_matches('"')))
    });
    let variables: Vec<_> = variables.collect();
    assert!(variables.len() >= 3, "{variables:?}");
    let drain = seconds_to_drain(&arguments, &variables);
    let stop: u64 = the_one(&file, "terminationGracePeriodSeconds: ")
        .parse()
        .unwrap();
    assert!(stop >= drain + 30, "{stop} s for {drain} s");
    let container = deployed("Containerfile");
    let user = the_one(&container, "USER ");
    let run_as = (
        the_one(&file, "runAsUser: "),
        the_one(&file, "runAsGroup: "),
    );
    assert_eq!(format!("{}:{}", run_as.0, run_as.1), user);
    let data = variables.iter().find(|(name, _)| *name == "HEADCOUNT_DATA");
    assert!(Path::new(data.unwrap().1).starts_with(the_one(&file, "mountPath: ")));
    // On the port of which clients can't take all connections, and neither by the health of writes.
    let admin = variables
        .iter()
        .find(|(name, _)| *name == "HEADCOUNT_ADMIN_LISTEN");
    let port = admin.unwrap().1.rsplit(':').next().unwrap();
    let named = lines.windows(2).find(|pair| pair[0] == "- name: admin");
    assert_eq!(named.unwrap()[1], format!("containerPort: {port}"));
    assert_eq!(after(&file, "path: "), ["/readyz", "/livez"]);
    assert_eq!(after(&file, "port: "), ["7171", "admin", "admin"]);
    assert!(after(&file, "grpc:").is_empty());
}
