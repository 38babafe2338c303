//! Tests of the configuration as a whole: the table, precedence, mistakes, the example, the page.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::environment::unknown;
use super::file::{self, Mistake};
use super::in_force::{Given, InForce, Line, Source};
use super::setting::{Kind, Place, Setting, Settings, Value, seconds};
use super::show;
use super::table::{SECTIONS, SETTINGS};
use crate::cli::error::CliError;
use crate::engine::EngineOptions;
use crate::model::{Span, StoreLimits};
use crate::server::ServerConfig;
use crate::server::telemetry::LogFormat;

const FILE: &str = "headcount.toml";

fn setting(name: &str) -> &'static Setting {
    let mut settings = SETTINGS.iter();
    settings.find(|setting| setting.name() == name).unwrap()
}

fn given(setting: &'static Setting, text: &str, source: Source) -> Given {
    Given {
        setting,
        text: text.into(),
        source,
    }
}

fn in_force(text: &str, given: &[Given]) -> Result<InForce, String> {
    InForce::new(Some((Path::new(FILE), text)), given).map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        assert!(matches!(error, CliError::Input(_)));
        error.to_string()
    })
}

fn said(setting: &'static Setting, text: &str, source: Source) -> Result<InForce, String> {
    InForce::new(None, &[given(setting, text, source)]).map_err(|error| error.to_string())
}

/// A file with one value, written as a file has it.
fn file_of(setting: &Setting, value: &str) -> String {
    format!("\n[{}]\n{} = {value}\n", setting.section, setting.key)
}

fn line<'a>(in_force: &'a InForce, setting: &'static Setting) -> &'a Line {
    let mut lines = in_force.lines.iter();
    lines
        .find(|line| std::ptr::eq(line.setting, setting))
        .unwrap()
}

/// Three values that are allowed, none of them the default.
fn others(setting: &Setting) -> [Value; 3] {
    let texts = |texts: [&str; 3]| texts.map(|text| Value::Text(text.into()));
    match (&setting.kind, setting.key) {
        (Kind::Number { least, most, .. }, _) => {
            [least + 1, least + 2, most - 1].map(Value::Number)
        }
        (Kind::Span { least, most, .. }, _) => {
            [least + 2, least + 3, most - 1].map(|span| Value::Span(seconds(span)))
        }
        (Kind::Switch { .. }, _) => [
            Value::Switch(true),
            Value::Switch(true),
            Value::Switch(true),
        ],
        (Kind::File { .. }, _) | (Kind::Text { .. }, "data") => texts(["a", "b/c", "/d"]),
        (Kind::Text { .. }, "listen") => texts(["0.0.0.0:1", "[::1]:0", "127.0.0.1:7172"]),
        (Kind::Text { .. }, "admin_listen") => texts(["127.0.0.1:9171", "[::1]:0", "0.0.0.0:1"]),
        (Kind::Text { .. }, "levels") => texts(["DEBUG", "off", "headcount=debug,h2=warn"]),
        (Kind::Text { .. }, "format") => texts(["json", "json", "json"]),
        (Kind::Text { .. }, key) => panic!("no values are known for {key}"),
    }
}

#[test]
fn the_names_of_a_setting_are_its_own_and_say_the_same() {
    let mut names = BTreeSet::new();
    for setting in SETTINGS {
        assert!(names.insert(setting.name()), "{}", setting.name());
        assert!(names.insert(setting.flag.into()), "{}", setting.flag);
        let variable = format!("HEADCOUNT_{}", setting.flag).to_uppercase();
        assert_eq!(setting.variable, variable.replace('-', "_"));
        let same = setting.flag.replace('-', "_") == setting.key;
        let of_section = setting.section == "log" || setting.section == "tls";
        assert!(same || of_section, "{}", setting.name());
        assert!(SECTIONS.iter().any(|s| s.name == setting.section));
        assert!(setting.help.ends_with('.'), "{}", setting.name());
        // Keys are found without their section when they are misplaced.
        assert!(SETTINGS.iter().filter(|s| s.key == setting.key).count() == 1);
    }
    let mut sections: Vec<_> = SETTINGS.iter().map(|s| s.section).collect();
    sections.dedup();
    let wanted: Vec<_> = SECTIONS.iter().map(|s| s.name).collect();
    assert_eq!(sections, wanted, "settings of a section stand together");
}

#[test]
fn the_defaults_are_those_of_the_rooms() {
    let found = InForce::new(None, &[]).unwrap();
    let wanted = Settings {
        listen: "127.0.0.1:7171".parse().unwrap(),
        admin_listen: None,
        admin_insecure: false,
        engine: EngineOptions::new("headcount-data"),
        server: ServerConfig::default(),
        log_levels: "info".into(),
        log_format: LogFormat::Text,
    };
    assert_eq!(format!("{:?}", found.settings), format!("{wanted:?}"));
    assert!(found.lines.iter().all(|l| l.source == Source::Default));
    assert_eq!(found.lines.len(), SETTINGS.len());
}

#[test]
fn every_setting_has_an_effect_of_its_own() {
    let mut effects = BTreeSet::from([format!("{:?}", InForce::new(None, &[]).unwrap().settings)]);
    for setting in SETTINGS {
        let [other, ..] = others(setting);
        let changed = said(setting, &other.text(), Source::Flag).unwrap();
        let new = effects.insert(format!("{:?}", changed.settings));
        assert!(new, "{} changes what another does", setting.name());
    }
    // All that can be set is set: the debug texts have a field for each of these.
    let fields = format!("{:?}", InForce::new(None, &[]).unwrap().settings);
    let structures = [
        "Settings",
        "EngineOptions",
        "StoreLimits",
        "ServerConfig",
        "SecurityConfig",
    ];
    let inner = structures.len() - 1;
    assert_eq!(fields.matches(": ").count() - inner, SETTINGS.len());
}

#[test]
fn no_limit_that_is_allowed_is_capped_in_silence() {
    for setting in SETTINGS {
        let Kind::Number { least, most, .. } = setting.kind else {
            continue;
        };
        for number in [least, most] {
            let given = said(setting, &number.to_string(), Source::Flag).unwrap();
            let limits: StoreLimits = given.settings.engine.limits;
            assert_eq!(limits.capped(), limits, "{}", setting.name());
        }
    }
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    for setting in SETTINGS {
        let [in_file, of_variable, of_flag] = others(setting);
        let text = file_of(setting, &in_file.toml());
        let variable = || given(setting, &of_variable.text(), Source::Variable);
        let flag = || given(setting, &of_flag.text(), Source::Flag);
        let default = setting.kind.default();
        for (text, given, value, source) in [
            ("", vec![], &default, Source::Default),
            (&*text, vec![], &in_file, Source::File(3)),
            ("", vec![variable()], &of_variable, Source::Variable),
            (&*text, vec![variable()], &of_variable, Source::Variable),
            ("", vec![flag()], &of_flag, Source::Flag),
            (&*text, vec![flag()], &of_flag, Source::Flag),
            ("", vec![variable(), flag()], &of_flag, Source::Flag),
            ("", vec![flag(), variable()], &of_flag, Source::Flag),
            (&*text, vec![flag(), variable()], &of_flag, Source::Flag),
        ] {
            let found = in_force(text, &given).unwrap();
            let line = line(&found, setting);
            assert_eq!((&line.value, line.source), (value, source));
            // What is shown is what is used.
            let only = match (&setting.kind, source) {
                // There is no flag for no file.
                (Kind::File { .. }, Source::Default) => in_force(&file_of(setting, "''"), &[]),
                _ => said(setting, &value.text(), Source::Flag),
            };
            let only = only.unwrap();
            assert_eq!(
                format!("{:?}", found.settings),
                format!("{:?}", only.settings)
            );
            let others = found.lines.iter().filter(|l| l.source != Source::Default);
            assert_eq!(others.count(), usize::from(source != Source::Default));
        }
    }
}

#[test]
fn ranges_end_where_they_say() {
    for setting in SETTINGS {
        let (least, most, zero, unit) = match setting.kind {
            Kind::Number {
                least, most, zero, ..
            } => (least, most, zero, ""),
            Kind::Span {
                least, most, zero, ..
            } => (least.into(), most.into(), zero, "s"),
            Kind::Switch { .. } | Kind::File { .. } | Kind::Text { .. } => continue,
        };
        let mut tried = vec![(least, true), (most, true), (most + 1, false)];
        if least > 0 {
            tried.push((0, zero.is_some()));
        }
        if least > 1 {
            tried.push((least - 1, false));
        }
        for (number, allowed) in tried {
            let number = format!("{number}{unit}");
            let in_file = if unit.is_empty() {
                number.clone()
            } else {
                format!("\"{number}\"")
            };
            let expected = |place| setting.kind.expected(place);
            let found = in_force(&file_of(setting, &in_file), &[]);
            match found {
                Ok(_) => assert!(allowed, "{}", setting.name()),
                Err(error) => {
                    assert!(!allowed, "{error}");
                    let start = format!("{FILE}:3: {} is the ", setting.name());
                    assert!(error.starts_with(&start), "{error}");
                    let end = format!(": expected {}", expected(Place::File));
                    assert!(error.ends_with(&end), "{error}");
                }
            }
            for (source, place) in [
                (Source::Flag, format!("--{}", setting.flag)),
                (Source::Variable, setting.variable.to_owned()),
            ] {
                match said(setting, &number, source) {
                    Ok(_) => assert!(allowed, "{}", setting.name()),
                    Err(error) => {
                        assert!(!allowed, "{error}");
                        let expected = expected(Place::Command);
                        let wanted = format!("{place} is \"{number}\": expected {expected}");
                        assert_eq!(error, wanted);
                    }
                }
            }
        }
    }
}

#[test]
fn texts_that_are_no_values_are_refused() {
    for (name, texts) in [
        ("limits.max_users", ["-1", "+5", "1e3", "", " 5", "0x10"]),
        ("server.drain_timeout", ["5", "-1s", "1.5s", "", "1 s", "s"]),
        (
            "server.listen",
            ["", "7171", "localhost:7171", ":1", "::1", "x"],
        ),
        ("server.insecure", ["", "TRUE", "1", "yes", "on", "true "]),
        ("log.format", ["", "JSON", "yaml", "text ", "1", "true"]),
    ] {
        for text in texts {
            let error = said(setting(name), text, Source::Variable).unwrap_err();
            assert!(error.contains("HEADCOUNT_"), "{error}");
        }
    }
    assert!(said(setting("store.data"), "", Source::Flag).is_err());
    for name in ["auth.tokens", "tls.certificate", "tls.key", "tls.client_ca"] {
        let error = said(setting(name), "", Source::Variable).unwrap_err();
        assert!(error.ends_with("expected the path of a file"), "{error}");
    }
    for text in [
        "",
        "warning",
        "inof",
        "headcount",
        "info,",
        "a=b=c",
        "h2=loud",
    ] {
        let found = said(setting("log.levels"), text, Source::Flag);
        assert!(found.is_err(), "{text}");
    }
    let digits = "9".repeat(200);
    let error = said(setting("limits.max_users"), &digits, Source::Flag).unwrap_err();
    assert!(error.starts_with("--max-users is \"999"), "{error}");
    assert!(error.len() < 250, "{error}");
}

#[test]
fn nothing_needs_no_unit() {
    for text in ["0", "0s", "0d"] {
        let found = said(setting("store.snapshot_interval"), text, Source::Flag).unwrap();
        assert_eq!(found.settings.engine.snapshot_interval, None);
        let line = line(&found, setting("store.snapshot_interval"));
        assert_eq!(line.value, Value::Span(Span::ZERO));
        assert_eq!(line.value.text(), "0s");
    }
    let found = in_force("[store]\nsnapshot_interval = 0", &[]).unwrap();
    assert_eq!(found.settings.engine.snapshot_interval, None);
}

#[test]
fn a_file_may_be_written_in_every_way_of_toml() {
    for text in [
        "[limits]\nmax_users = 4_096",
        "\u{feff}[limits]\r\nmax_users = 0x1000\r\n",
        "limits.max_users = 4096",
        "limits = { max_users = 0o10000 }",
        "# a comment\n\n[ 'limits' ]\n\"max_users\" = 4096 # users",
    ] {
        let found = in_force(text, &[]).unwrap();
        assert_eq!(found.settings.engine.limits.users, 4_096, "{text}");
    }
}

#[test]
fn mistakes_in_a_file_name_the_line_and_the_way_out() {
    for (text, wanted) in [
        (
            "[limits]\nmax_user = 5",
            "2: there is no key \"max_user\" in [limits]; did you mean max_users?",
        ),
        (
            "[limits]\n\nmax-users = 5",
            "3: there is no key \"max-users\" in [limits]; did you mean max_users?",
        ),
        (
            "[limits]\nusers_per_population = 5",
            "2: there is no key \"users_per_population\" in [limits]; did you mean max_users?",
        ),
        (
            "[store]\nmax_users = 5",
            "2: there is no key \"max_users\" in [store]; did you mean max_users in [limits]?",
        ),
        (
            "max_users = 5",
            "1: there is no key \"max_users\" before the first section; did you mean max_users in [limits]?",
        ),
        (
            "[limits]\nanything_else_at_all = 5",
            "2: there is no key \"anything_else_at_all\" in [limits]; `headcount config --example` prints all",
        ),
        (
            "[limit]\nmax_users = 5",
            "1: there is no section \"limit\"; did you mean [limits]?",
        ),
        (
            "[certificates]\nkey = 'x'",
            "1: there is no section \"certificates\"; there are [store], [server], [auth], [tls], [limits], [log]",
        ),
        (
            "\nlimits = 5",
            "2: limits is a section: write [limits] and its keys below",
        ),
        (
            "[[limits]]\nmax_users = 5",
            "1: limits is a section: write [limits] and its keys below",
        ),
        (
            "[limits]\nmax_users = \"5\"",
            "2: limits.max_users is the text \"5\": expected a whole number of users from 1 to 2,147,483,647",
        ),
        (
            "[limits]\nmax_users = -5",
            "2: limits.max_users is the whole number -5: expected a whole number of users from 1 to 2,147,483,647",
        ),
        (
            "[limits]\nmax_users = 1.5",
            "2: limits.max_users is the number 1.5: expected a whole number of users from 1 to 2,147,483,647",
        ),
        (
            "[limits]\nmax_users = [5]",
            "2: limits.max_users is a list: expected a whole number of users from 1 to 2,147,483,647",
        ),
        (
            "[limits.max_users]\nx = 5",
            "1: limits.max_users is a section: expected a whole number of users from 1 to 2,147,483,647",
        ),
        (
            "[server]\ndrain_timeout = 10",
            "2: server.drain_timeout is the whole number 10: expected a span of time such as 90s, in quotes, from 1s to 1h, or 0 for not at all",
        ),
        (
            "[server]\nlisten = 7171",
            "2: server.listen is the whole number 7171: expected an address and a port, such as 127.0.0.1:7171 or [::1]:7171, in quotes",
        ),
        (
            "[log]\nformat = true",
            "2: log.format is the truth value true: expected text or json, in quotes",
        ),
        (
            "[log]\nformat = 2026-01-31",
            "2: log.format is the time 2026-01-31: expected text or json, in quotes",
        ),
        ("[limits]\nmax_users = 5\nmax_users = 6", "3: duplicate key"),
    ] {
        let error = in_force(text, &[]).unwrap_err();
        assert_eq!(error, format!("{FILE}:{wanted}"), "{text}");
    }
    for (text, quotes) in [
        ("[log]\nlevels = info", true),
        ("[log]\nlevels = warn\n", true),
        ("[server]\nlisten = 127.0.0.1:7171", true),
        ("[server]\ndrain_timeout = 5s", true),
        ("[store]\ndata = /var/lib/headcount", true),
        ("[store]\ndata = \"/var/lib/headcount", false),
        ("[store]\n[log", false),
        ("[limits]\nmax_users", false),
    ] {
        let error = in_force(text, &[]).unwrap_err();
        assert!(error.starts_with("headcount.toml:2: "), "{error}");
        let told = error.ends_with(": a text stands in quotes");
        assert_eq!(told, quotes, "{error}");
    }
    let error = in_force("[log]\nlevels = \"\u{1b}[2J", &[]).unwrap_err();
    assert!(!error.contains('\u{1b}'), "{error}");
}

#[test]
fn all_mistakes_are_told_at_once_and_a_file_is_judged_whole() {
    let text = "[server]\nmax_queries = 0\n[limits]\nmax_user = 1\nmax_users = 0\n";
    let given = [
        given(setting("limits.max_users"), "7", Source::Flag),
        given(setting("log.format"), "xml", Source::Variable),
    ];
    let error = in_force(text, &given).unwrap_err();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines.len(), 5, "{error}");
    assert_eq!(lines[0], "4 settings can't be used:");
    for (line, start) in lines[1..].iter().zip([
        "  headcount.toml:2: server.max_queries ",
        "  headcount.toml:4: there is no key \"max_user\"",
        "  headcount.toml:5: limits.max_users ",
        "  HEADCOUNT_LOG_FORMAT ",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    let many = (0..100).fold("[limits]\n".to_owned(), |text, n| {
        format!("{text}x{n} = 1\n")
    });
    let error = in_force(&many, &[]).unwrap_err();
    assert_eq!(error.lines().count(), 22, "{error}");
    assert!(error.ends_with("\n  and 80 more"), "{error}");
}

#[test]
fn the_example_has_all_settings_at_their_defaults() {
    let example = show::example();
    let found = in_force(&example, &[]).unwrap();
    for line in &found.lines {
        let Source::File(number) = line.source else {
            panic!("{} is not in the example", line.setting.name());
        };
        let written = example.lines().nth(number - 1).unwrap();
        assert!(written.starts_with(&format!("{} = ", line.setting.key)));
        assert_eq!(line.value, line.setting.kind.default());
    }
    let defaults = InForce::new(None, &[]).unwrap();
    assert_eq!(
        format!("{:?}", found.settings),
        format!("{:?}", defaults.settings)
    );
    assert!(example.lines().all(|line| line.chars().count() <= 100));
    assert!(
        include_str!("../../../docs/headcount.toml") == example,
        "docs/headcount.toml should be what `headcount config --example` prints:\n{example}"
    );
}

#[test]
fn the_page_has_all_settings() {
    let mut wanted = String::new();
    for section in SECTIONS {
        let _ = write!(
            wanted,
            "\n### `[{}]`: {}\n\n\
             | key | default | allowed | flag, variable | what it is |\n\
             | --- | --- | --- | --- | --- |\n",
            section.name,
            section.about.to_lowercase()
        );
        for setting in SETTINGS.iter().filter(|s| s.section == section.name) {
            let _ = writeln!(
                wanted,
                "| `{}` | `{}` | {} | `--{}`, `{}` | {} |",
                setting.key,
                setting.kind.default().toml(),
                setting.kind.allowed(),
                setting.flag,
                setting.variable,
                show::about(setting)
            );
        }
    }
    wanted.push('\n');
    let page = include_str!("../../../docs/configuration.md");
    let (_, after) = page.split_once("<!-- settings -->\n").unwrap();
    let (found, _) = after.split_once("<!-- end of settings -->").unwrap();
    assert!(
        found == wanted,
        "docs/configuration.md should have between its marks:\n{wanted}"
    );
}

#[test]
fn variables_that_are_most_likely_misspelt_are_found() {
    let names = [
        "PATH",
        "HEADCOUNT_SERVER",
        "HEADCOUNT_POPULATION",
        "HEADCOUNT_CONFIG",
        "HEADCOUNT_MAX_USERS",
        "HEADCOUNT_MAX_USER",
        "HEADCOUNT_LOGS",
        "HEADCOUNT_SOMETHING_ELSE",
        "HEADCOUNTS",
        // Those of Kubernetes for services called headcount and headcount-grpc.
        "HEADCOUNT_SERVICE_HOST",
        "HEADCOUNT_SERVICE_PORT",
        "HEADCOUNT_SERVICE_PORT_GRPC",
        "HEADCOUNT_PORT",
        "HEADCOUNT_PORT_7171_TCP",
        "HEADCOUNT_PORT_7171_TCP_ADDR",
        "HEADCOUNT_GRPC_SERVICE_HOST",
        "HEADCOUNT_GRPC_PORT_7171_TCP_PROTO",
    ];
    let found = unknown(names.into_iter().map(OsString::from));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "there is no setting HEADCOUNT_LOGS, which is in the environment; did you mean HEADCOUNT_LOG?",
            "there is no setting HEADCOUNT_MAX_USER, which is in the environment; did you mean HEADCOUNT_MAX_USERS?",
            "there is no setting HEADCOUNT_SOMETHING_ELSE, which is in the environment",
        ]
    );
    let known = SETTINGS.iter().map(|setting| setting.variable.into());
    assert_eq!(unknown(known), []);
    // None of them is passed over as one of Kubernetes'.
    let misspelt = SETTINGS.iter().map(|s| format!("{}S", s.variable).into());
    assert_eq!(unknown(misspelt).len(), 20);
    let hostile = OsString::from("HEADCOUNT_\u{1b}[2J");
    let found = unknown([hostile].into_iter());
    assert!(!found[0].to_string().contains('\u{1b}'));
}

#[test]
fn what_is_in_force_is_shown_with_where_it_comes_from() {
    let text = "[store]\ndata = 'a'\n[server]\nmax_queries = 7";
    let given = [
        given(setting("limits.max_users"), "5", Source::Variable),
        given(setting("log.levels"), "warn", Source::Flag),
    ];
    let found = in_force(text, &given).unwrap();
    let table = show::table(&found);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for row in [
        vec!["read", FILE],
        vec!["store.data", "a", "headcount.toml:2"],
        vec!["server.max_queries", "7", "headcount.toml:4"],
        vec!["limits.max_users", "5", "HEADCOUNT_MAX_USERS"],
        vec!["log.levels", "warn", "--log"],
        vec!["log.format", "text", "default"],
    ] {
        assert!(rows.contains(&row), "{row:?} in {table}");
    }
    assert_eq!(
        show::changed(&found),
        [
            "store.data is a, from headcount.toml:2",
            "server.max_queries is 7, from headcount.toml:4",
            "limits.max_users is 5, from HEADCOUNT_MAX_USERS",
            "log.levels is warn, from --log",
        ]
    );
    let json = show::json(&found, &unknown(["HEADCOUNT_X".into()].into_iter()));
    assert_eq!(json["file"], FILE);
    assert_eq!(
        json["unknown_variables"],
        serde_json::json!(["HEADCOUNT_X"])
    );
    let settings = json["settings"].as_array().unwrap();
    assert_eq!(settings.len(), SETTINGS.len());
    for object in [
        serde_json::json!({"setting": "store.data", "value": "a", "from": "file", "line": 2}),
        serde_json::json!({"setting": "limits.max_users", "value": 5, "from": "environment",
            "variable": "HEADCOUNT_MAX_USERS"}),
        serde_json::json!({"setting": "log.levels", "value": "warn", "from": "flag", "flag": "--log"}),
        serde_json::json!({"setting": "log.format", "value": "text", "from": "default"}),
    ] {
        assert!(settings.contains(&object), "{object}");
    }
}

#[test]
fn a_file_that_can_t_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: PathBuf| file::read(&path).unwrap_err().to_string();
    let missing = folder.path().join("none.toml");
    assert!(error(missing.clone()).starts_with(&format!("{}: ", missing.display())));
    assert!(error(folder.path().into()).contains("directory"));
    assert!(error("/dev/zero".into()).contains("larger than 65536 bytes"));
    let latin = folder.path().join("latin.toml");
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(&latin)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"[log]\n\nx = '\xe4'\n"))
        .unwrap();
    assert!(error(latin).ends_with(":3: is no UTF-8 text"));
}

proptest! {
    /// Whatever a file holds, it is read, or the mistakes have lines that it has.
    #[test]
    fn any_text_has_an_answer(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("[limits]\n".to_owned()),
                Just("[[log]]\n".to_owned()),
                Just("max_users = ".to_owned()),
                Just("'''\n".to_owned()),
                Just("{ a.b = [1,\n".to_owned()),
                Just("}\n".to_owned()),
                "[ -~\n]{0,8}",
                any::<String>(),
            ],
            0..12,
        )
    ) {
        let text = pieces.concat();
        let lines = 1 + text.matches('\n').count();
        let (entries, mistakes) = file::entries(&text);
        for entry in &entries {
            prop_assert!((1..=lines).contains(&entry.line));
            let _ = file::written(&text, &entry.value);
        }
        for Mistake { line, .. } in &mistakes {
            prop_assert!((1..=lines).contains(line));
        }
        if let Err(error) = in_force(&text, &[]) {
            prop_assert!(error.contains(FILE));
        }
    }
}
