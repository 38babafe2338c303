//! The configuration of the service: one file, environment variables, flags; what is in force, and
//! what is refused.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::service::{Ended, Service, command, run};

/// A folder with a file of settings.
fn folder_with(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("headcount.toml"), text).unwrap();
    folder
}

fn ended(command: &mut Command) -> Ended {
    command.output().unwrap().into()
}

/// What `headcount config` says of a setting.
fn of<'a>(config: &'a Value, setting: &str) -> &'a Value {
    let settings = config["settings"].as_array().unwrap();
    let mut settings = settings.iter();
    settings.find(|s| s["setting"] == setting).unwrap()
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let folder = folder_with(
        "[limits]\nmax_users = 1\nmax_properties = 1\nmax_segments = 1\n\n[log]\nformat = \"json\"\n",
    );
    let config = ended(
        command()
            .current_dir(&folder)
            .args(["config", "--output", "json", "--config", "headcount.toml"])
            .args(["--max-users", "3"])
            .env("HEADCOUNT_MAX_USERS", "2")
            .env("HEADCOUNT_MAX_PROPERTIES", "2"),
    );
    assert_eq!((config.code, &*config.err), (0, ""));
    let config = config.json();
    assert_eq!(config["file"], "headcount.toml");
    assert_eq!(config["unknown_variables"], json!([]));
    for wanted in [
        json!({"setting": "limits.max_users", "value": 3, "from": "flag", "flag": "--max-users"}),
        json!({"setting": "limits.max_properties", "value": 2, "from": "environment",
            "variable": "HEADCOUNT_MAX_PROPERTIES"}),
        json!({"setting": "limits.max_segments", "value": 1, "from": "file", "line": 4}),
        json!({"setting": "log.format", "value": "json", "from": "file", "line": 7}),
        json!({"setting": "limits.max_events", "value": 2_000_000_000, "from": "default"}),
    ] {
        assert_eq!(of(&config, wanted["setting"].as_str().unwrap()), &wanted);
    }
}

#[test]
fn a_file_is_read_only_if_it_is_named() {
    let folder = folder_with("[limits]\nmax_users = 1\n");
    std::fs::write(
        folder.path().join("other.toml"),
        "[limits]\nmax_users = 2\n",
    )
    .unwrap();
    let users = |file: Option<&str>, variable: Option<&str>| {
        let mut command = command();
        command
            .current_dir(&folder)
            .args(["config", "--output", "json"]);
        if let Some(file) = file {
            command.args(["--config", file]);
        }
        if let Some(variable) = variable {
            command.env("HEADCOUNT_CONFIG", variable);
        }
        of(&ended(&mut command).json(), "limits.max_users")["value"].clone()
    };
    assert_eq!(users(None, None), 100_000_000);
    assert_eq!(users(None, Some("headcount.toml")), 1);
    assert_eq!(users(Some("other.toml"), None), 2);
    assert_eq!(users(Some("other.toml"), Some("headcount.toml")), 2);
}

#[test]
fn a_table_shows_where_each_value_comes_from() {
    let folder = folder_with("[store]\ndata = \"/x\"\n");
    let mut asked = command();
    asked
        .current_dir(&folder)
        .env("HEADCOUNT_LISTEN", "[::1]:1");
    let shown = ended(asked.args(["config", "--log=warn", "--config=headcount.toml"]));
    assert_eq!(shown.code, 0);
    let rows: Vec<Vec<&str>> = shown
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for row in [
        vec!["read", "headcount.toml"],
        vec!["store.data", "/x", "headcount.toml:2"],
        vec!["server.listen", "[::1]:1", "HEADCOUNT_LISTEN"],
        vec!["log.levels", "warn", "--log"],
        vec!["log.format", "text", "default"],
    ] {
        assert!(rows.contains(&row), "{row:?} in {}", shown.out);
    }
    assert!(run(&["config"]).out.starts_with("no file was read"));
}

#[test]
fn what_is_not_understood_is_refused_before_anything_starts() {
    let folder = folder_with("[limits]\nmax_user = 5\nmax_segments = 'many'\n");
    for subcommand in ["config", "serve"] {
        let refused = |arguments: &[&str], variables: &[(&str, &str)]| {
            let mut command = command();
            command.current_dir(&folder).arg(subcommand).args(arguments);
            let ended = ended(command.envs(variables.iter().copied()));
            assert_eq!((ended.code, &*ended.out), (2, ""), "{ended:?}");
            ended.err
        };
        assert_eq!(
            refused(&["--config", "headcount.toml"], &[]),
            "error: 2 settings can't be used:\n  \
             headcount.toml:2: there is no key \"max_user\" in [limits]; did you mean max_users?\n  \
             headcount.toml:3: limits.max_segments is the text \"many\": expected a whole number \
             of segments from 0 to 2,147,483,647\n"
        );
        let missing = refused(&["--config", "none.toml"], &[]);
        assert!(missing.starts_with("error: none.toml: "), "{missing}");
        let missing = refused(&[], &[("HEADCOUNT_CONFIG", "none.toml")]);
        assert!(missing.starts_with("error: none.toml: "), "{missing}");
        assert_eq!(
            refused(&[], &[("HEADCOUNT_LOG", "")]),
            "error: HEADCOUNT_LOG is \"\": expected a level such as info, or targets with levels \
             such as headcount=debug,h2=warn\n"
        );
        let unnamed = refused(&[], &[("HEADCOUNT_CONFIG", "")]);
        assert!(unnamed.contains("--config"), "{unnamed}");
        assert_eq!(
            refused(&[], &[("HEADCOUNT_DRAIN_TIMEOUT", "2d")]),
            "error: HEADCOUNT_DRAIN_TIMEOUT is \"2d\": expected a span of time such as 90s, from \
             1s to 1h, or 0 for not at all\n"
        );
        assert_eq!(
            refused(&["--log-file-bytes", "1000"], &[]),
            "error: --log-file-bytes is \"1000\": expected a whole number of bytes from 65,536 to \
             1,073,741,824\n"
        );
    }
    assert!(!folder.path().join("headcount-data").exists());
}

#[test]
fn the_service_is_as_the_file_says() {
    let folder = folder_with(
        "[store]\ndata = \"kept\"\n\
         [server]\nlisten = \"127.0.0.1:0\"\nmax_query_bytes = 4_096\n\
         [limits]\nmax_properties = 2\nmax_users = 1\n\
         [log]\nlevels = \"warn\"\n",
    );
    let mut started = command();
    started
        .current_dir(&folder)
        .args(["serve", "--config", "headcount.toml"])
        .env("HEADCOUNT_MAX_USERS", "100");
    let service = Service::started_by(&mut started);
    assert!(folder.path().join("kept").is_dir());

    let import = |rows: &str| {
        let arguments = ["import", "-", "--format", "csv"];
        service.ask_with(&arguments, rows.as_bytes())
    };
    let accepted = import("user_id,a,b\nu1,1,1\nu2,2,2\n");
    assert_eq!(accepted.code, 0, "{accepted:?}");
    let refused = import("user_id,c\nu1,1\n");
    assert_ne!(refused.code, 0);
    assert!(
        refused
            .err
            .contains("the limit properties_per_population allows (2)"),
        "{refused:?}"
    );
    assert_eq!(service.count("a >= 1"), 2);
    let long = format!("a IN ({}1)", "1, ".repeat(2_000));
    let refused = service.ask(&["count", &long]);
    assert!(
        refused.err.contains("message_bytes") && refused.err.contains("(4096)"),
        "{refused:?}"
    );
    assert_eq!(service.terminate(), 0);
}

#[test]
fn a_variable_that_is_none_is_told_of_without_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let mut started = command();
    started
        .current_dir(&folder)
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .env("HEADCOUNT_MAX_USER", "nobody-may-know")
        .env("HEADCOUNT_SERVICE_HOST", "10.0.0.1")
        .stderr(Stdio::piped());
    let mut service = Service::started_by(&mut started);
    let mut log = service.log();
    assert_eq!(service.terminate(), 0);
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    let warnings: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["level"] == "WARN")
        .collect();
    assert_eq!(warnings.len(), 1, "{text}");
    assert_eq!(
        warnings[0]["fields"]["message"],
        "there is no setting HEADCOUNT_MAX_USER, which is in the environment; did you mean \
         HEADCOUNT_MAX_USERS?"
    );
    assert!(!text.contains("nobody-may-know"));
    assert!(
        text.contains("log.format is json, from --log-format"),
        "{text}"
    );

    let asked = |arguments: &[&str]| {
        let mut command = command();
        command.args(arguments);
        ended(command.env("HEADCOUNT_MAX_USER", "nobody-may-know"))
    };
    let shown = asked(&["config"]);
    assert_eq!(shown.code, 0);
    assert!(
        shown
            .err
            .starts_with("warning: there is no setting HEADCOUNT_MAX_USER,")
    );
    assert!(!shown.err.contains("nobody-may-know"));
    let shown = asked(&["config", "--output", "json"]).json();
    assert_eq!(shown["unknown_variables"], json!(["HEADCOUNT_MAX_USER"]));
}

#[test]
fn the_example_is_a_file_that_says_what_is_so_anyway() {
    let example = run(&["config", "--example"]);
    assert_eq!(example.code, 0);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/headcount.toml");
    assert_eq!(example.out, std::fs::read_to_string(kept).unwrap());
    let folder = folder_with(&example.out);
    let mut asked = command();
    asked.current_dir(&folder).args(["config", "--output=json"]);
    let read = ended(asked.args(["--config", "headcount.toml"])).json();
    let defaults = run(&["config", "--output=json"]).json();
    let values = |config: &Value, from: &str| -> Vec<(String, Value)> {
        let settings = config["settings"].as_array().unwrap().iter();
        settings
            .filter(|setting| setting["from"] == from)
            .map(|setting| (setting["setting"].to_string(), setting["value"].clone()))
            .collect()
    };
    assert_eq!(values(&read, "file"), values(&defaults, "default"));
    assert_eq!(
        values(&read, "file").len(),
        defaults["settings"].as_array().unwrap().len()
    );
}

#[test]
fn the_help_of_serve_and_config_has_every_setting() {
    let config = run(&["config", "--output=json"]).json();
    let settings = config["settings"].as_array().unwrap().len();
    for subcommand in ["serve", "config"] {
        for help in ["-h", "--help"] {
            let help = run(&[subcommand, help]).out;
            let mut variables: Vec<&str> = help
                .split("[env: ")
                .skip(1)
                .filter_map(|after| after.split([']', '=']).next())
                .collect();
            variables.sort_unstable();
            variables.dedup();
            // Beside those of the settings: the file, the service to talk to, the population, and
            // five of who asks and whom to trust.
            assert_eq!(variables.len(), settings + 8, "{variables:?}");
            assert!(help.contains("[default: 100000000]"), "{help}");
            assert!(help.contains("1s to 366d, or 0 for never"), "{help}");
        }
    }
}
