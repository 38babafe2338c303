//! Tokens and certificates, as people set them up.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::service::{Ended, Service, command, run};

/// Makes a token and returns it with its entry.
fn token(arguments: &[&str]) -> (String, String) {
    let made = run(&[&["--output", "json", "token"], arguments].concat());
    assert_eq!(made.code, 0, "{made:?}");
    let made = made.json();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("token"), text("entry"))
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().into()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }
}

fn ended(command: &mut Command) -> Ended {
    command.output().unwrap().into()
}

#[test]
fn a_token_is_made_with_its_entry() {
    let made = run(&[
        "token",
        "feed",
        "--write",
        "shop",
        "--expires",
        "2027-01-31",
    ]);
    assert_eq!(made.code, 0, "{made:?}");
    for part in [
        "shown this once",
        "\n\nhct_",
        "[[caller]]\nname = \"feed\"\ntoken_sha256 = \"",
        "expires = \"2027-01-31T00:00:00Z\"",
        "read = []\nwrite = [\"shop\"]\nadmin = []",
    ] {
        assert!(made.out.contains(part), "{part}: {}", made.out);
    }
    for (arguments, expected) in [
        (&["token", "a b"][..], "the name should be"),
        (&["token", "hct_0123"], "the name should be"),
        (&["token", "a", "--read", "a b"], "--read \"a b\""),
        (&["token", "a", "--admin", ""], "--admin \"\""),
        (&["token", "a", "--expires", "soon"], "--expires"),
        (&["token"], "<NAME>"),
    ] {
        let refused = run(arguments);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains(expected), "{refused:?}");
        assert!(!refused.err.contains("hct_"), "{refused:?}");
    }
}

#[test]
fn a_service_with_tokens_answers_those_who_have_one() {
    let files = Files::new();
    let (reader, entry) = token(&["reader", "--read", "*"]);
    let (writer, other) = token(&["writer", "--write", "*"]);
    let tokens = files.put("tokens.toml", &format!("{entry}\n{other}"));
    let service = Service::start_with(&files.data(), &["--tokens", &tokens]);
    let count = ["count", "TRUE"];

    let refused = service.ask(&count);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("Bearer TOKEN"), "{refused:?}");
    let let_in = |ended: Ended| {
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.out.starts_with("0 users"), "{ended:?}");
    };
    let reader_file = files.put("reader", &format!("{reader}\n"));
    let_in(service.ask(&["--token-file", &reader_file, "count", "TRUE"]));
    let_in(service.ask(&["count", "TRUE", "--token", &reader]));
    let_in(ended(
        service.command(&count).env("HEADCOUNT_TOKEN", &reader),
    ));
    let file = [("HEADCOUNT_TOKEN_FILE", &reader_file)];
    let_in(ended(service.command(&count).envs(file)));

    let denied = ended(service.command(&count).env("HEADCOUNT_TOKEN", &writer));
    assert_eq!(denied.code, 2, "{denied:?}");
    assert!(denied.err.contains("the role read"), "{denied:?}");
    for wrong in [format!("{reader}0"), "häßlich\n".into(), String::new()] {
        let refused = ended(service.command(&count).env("HEADCOUNT_TOKEN", &wrong));
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(!refused.err.contains("hct_"), "{refused:?}");
        assert!(!refused.err.contains("lich"), "{refused:?}");
    }
    let both = service.ask(&[
        "--token",
        "x",
        "--token-file",
        &reader_file,
        "count",
        "TRUE",
    ]);
    assert_eq!(both.code, 2, "{both:?}");
    // Probes need none.
    assert_eq!(service.ask(&["health"]).code, 0);
    service.kill();
}

#[test]
fn a_token_in_the_environment_is_not_shown() {
    let (token, _) = token(&["a"]);
    for arguments in [
        &["--help"][..],
        &["count", "--help"],
        &["-h"],
        &["config"],
        &["count"],
    ] {
        let shown = ended(command().args(arguments).env("HEADCOUNT_TOKEN", &token));
        assert!(
            !shown.out.contains("hct_") && !shown.err.contains("hct_"),
            "{shown:?}"
        );
    }
}

#[test]
fn a_service_that_is_told_to_reads_its_tokens_again() {
    let files = Files::new();
    let (old, entry) = token(&["old", "--read", "*"]);
    let tokens = files.put("tokens.toml", &entry);
    let arguments = ["--tokens", &tokens, "--reload-interval", "1h"];
    let service = Service::start_with(&files.data(), &arguments);
    let is_let_in = |token: &str| {
        let populations = service.ask(&["populations", "--token", token]);
        populations.code == 0
    };
    assert!(is_let_in(&old));
    let (new, entry) = token(&["new", "--read", "*"]);
    files.put("tokens.toml", &entry);
    assert!(!is_let_in(&new));
    let pid = service.pid().to_string();
    assert!(
        Command::new("kill")
            .args(["-HUP", &pid])
            .status()
            .unwrap()
            .success()
    );
    let end = Instant::now() + Duration::from_secs(20);
    while !is_let_in(&new) {
        assert!(Instant::now() < end, "the tokens are read again");
    }
    assert!(!is_let_in(&old));
    service.kill();
}

#[test]
fn listening_in_the_clear_where_others_reach_it_has_to_be_asked_for() {
    let files = Files::new();
    let data = files.data();
    let data = data.to_str().unwrap();
    let refused = run(&["serve", "--listen", "0.0.0.0:0", "--data", data]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("--insecure"), "{refused:?}");
    assert!(!Path::new(data).exists(), "nothing is opened before");
    let refused = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "0.0.0.0:0",
        "--data",
        data,
    ]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("--admin-insecure"), "{refused:?}");
    let refused = run(&["demo", "--exit", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let mut open = command();
    open.args([
        "serve",
        "--insecure",
        "--listen",
        "0.0.0.0:0",
        "--data",
        data,
    ]);
    let service = Service::started_by(&mut open);
    let address = service.address().replace("0.0.0.0", "127.0.0.1");
    assert_eq!(run(&["--server", &address, "health"]).code, 0);
    service.kill();
}

#[test]
fn mistakes_in_the_files_are_told_before_anything_is_opened() {
    let files = Files::new();
    let data = files.data();
    let serve = |arguments: &[&str]| {
        let start = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            data.to_str().unwrap(),
        ];
        let refused = run(&[&start[..], arguments].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(!data.exists());
        refused.err
    };
    let tokens = files.put("tokens.toml", "\n[[caller]]\nname = \"a\"\nwrites = []\n");
    let error = serve(&["--tokens", &tokens]);
    assert!(
        error.contains("tokens.toml:4: there is no such key"),
        "{error}"
    );
    let error = serve(&["--tls-certificate", &tokens]);
    assert!(error.contains("tls.key is missing"), "{error}");
    let error = serve(&["--tls-certificate", &tokens, "--tls-key", &tokens]);
    assert!(error.contains("there is no certificate in it"), "{error}");
}

/// One who signs certificates, and the file of its own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: String,
}

impl Authority {
    fn new(files: &Files) -> Self {
        let mut params = CertificateParams::new(Vec::default()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = files.put("ca.pem", &params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        Self { issuer, file }
    }

    /// The files of a certificate for a name, and of its key.
    fn signed(&self, files: &Files, name: &str, file: &str) -> [String; 2] {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        [
            files.put(&format!("{file}.pem"), &certificate.pem()),
            files.put(&format!("{file}.key"), &key.serialize_pem()),
        ]
    }
}

#[test]
fn a_bench_shows_its_token_over_tls() {
    let files = Files::new();
    let authority = Authority::new(&files);
    let [certificate, key] = authority.signed(&files, "127.0.0.1", "server");
    let (owner, owners) = token(&["owner", "--admin", "*"]);
    let (writer, writers) = token(&["writer", "--read", "*", "--write", "*"]);
    let (reader, readers) = token(&["reader", "--read", "*"]);
    let entries = format!("{owners}\n{writers}\n{readers}");
    let tokens = files.put("tokens.toml", &entries);
    let service = Service::start_with(
        &files.data(),
        &[
            "--tokens",
            &tokens,
            "--tls-certificate",
            &certificate,
            "--tls-key",
            &key,
        ],
    );
    let bench = |token: &str, arguments: &[&str]| {
        let bench = ["--ca", &authority.file, "--output", "json", "bench"];
        let mut command = service.command(&[&bench, arguments].concat());
        ended(command.env("HEADCOUNT_TOKEN", token))
    };
    let prepare = ["--prepare", "--users", "200", "--calls", "100"];
    // Nothing is written for those who may not do all of it.
    for caller in [&reader, &writer] {
        let refused = bench(caller, &prepare);
        assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{refused:?}");
        assert!(refused.err.contains("the role "), "{refused:?}");
        assert!(!refused.err.contains("hct_"), "{refused:?}");
        let checked = bench(&reader, &["--profile", "checks"]);
        assert!(
            checked.code == 2 && checked.err.contains("no users of a bench"),
            "{checked:?}"
        );
    }
    let made = bench(&owner, &prepare);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(made.json()["all"]["answered"], 100);
    assert_eq!(made.json()["watch"]["lost"], 0);
    for (caller, profile) in [(&reader, "checks"), (&writer, "writes"), (&writer, "watch")] {
        let asked = bench(caller, &["--profile", profile, "--calls", "50"]);
        assert_eq!(asked.code, 0, "{asked:?}");
        assert_eq!(asked.json()["all"]["answered"], 50);
    }
    // Who may not write is told of each write.
    let denied = bench(&reader, &["--profile", "writes", "--calls", "20"]);
    assert_eq!(denied.code, 1, "{denied:?}");
    let json = denied.json();
    assert_eq!(json["all"]["failed"], 20);
    assert_eq!(json["all"]["answered_per_second"], 0.0);
    let errors = json["operations"]["write"]["errors"].as_object().unwrap();
    assert!(
        errors
            .keys()
            .all(|error| error.starts_with("PermissionDenied"))
    );
    let nobody = bench("", &prepare);
    assert_eq!(nobody.code, 2, "{nobody:?}");
    service.kill();
}

#[test]
fn commands_speak_tls_and_trust_what_they_are_told_to() {
    let files = Files::new();
    let authority = Authority::new(&files);
    let ca = authority.file.clone();
    let [certificate, key] = authority.signed(&files, "127.0.0.1", "server");
    let [own, own_key] = authority.signed(&files, "somebody", "client");
    let arguments = [
        "--tls-certificate",
        &certificate,
        "--tls-key",
        &key,
        "--tls-client-ca",
        &ca,
    ];
    let service = Service::start_with(&files.data(), &arguments);
    assert!(
        service.address().starts_with("https://"),
        "{}",
        service.address()
    );
    let shows = ["--client-certificate", &own, "--client-key", &own_key];
    let ask = |arguments: &[&str]| service.ask(&[arguments, &["populations"]].concat());
    let answered = ask(&[&["--ca", &ca], &shows[..]].concat());
    assert_eq!(answered.code, 0, "{answered:?}");
    // Without a scheme, what is said of certificates says which it is.
    let bare = service.address().trim_start_matches("https://");
    let bare = [
        &["--server", bare, "--ca", &ca],
        &shows[..],
        &["populations"],
    ]
    .concat();
    assert_eq!(run(&bare).code, 0);

    let nothing_shown = ask(&["--ca", &ca]);
    assert_eq!(nothing_shown.code, 3, "{nothing_shown:?}");
    let trusts_another = ask(&[&["--ca", &own], &shows[..]].concat());
    assert_eq!(trusts_another.code, 3, "{trusts_another:?}");
    assert!(
        trusts_another.err.contains("certificate"),
        "{trusts_another:?}"
    );
    for (arguments, expected) in [
        (vec![], "give with --ca"),
        (vec!["--ca", &ca, "--client-key", &own_key], "go together"),
        (vec!["--ca", &key], "there is no certificate in it"),
        (vec!["--ca", "gone.pem"], "gone.pem: "),
        (
            vec![
                "--ca",
                &ca,
                "--client-certificate",
                &own_key,
                "--client-key",
                &own,
            ],
            "can't be used",
        ),
    ] {
        let refused = ask(&arguments);
        assert_eq!(refused.code, 2, "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(expected), "{refused:?}");
    }
    let plain = service.address().replace("https", "http");
    let refused = run(&["--server", &plain, "--ca", &ca, "populations"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("begins with https://"), "{refused:?}");
    service.kill();
}
