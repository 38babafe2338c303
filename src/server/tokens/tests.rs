//! Tests of the file of tokens.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::api::Caller;

const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const OTHER: &str = "cb8379ac2098aa165029e3938a51da0bcecfc008fd6795f401178647f96c5b34";

fn now() -> Timestamp {
    "2026-01-01".parse().unwrap()
}

impl Tokens {
    fn of_token(&self, token: &[u8], now: impl FnOnce() -> Timestamp) -> Option<Arc<Grants>> {
        self.grants(&Shown::token(token), now)
    }

    fn of_certificate(&self, hash: &Hash, now: impl FnOnce() -> Timestamp) -> Option<Arc<Grants>> {
        self.grants(&Shown::certificate(*hash), now)
    }
}

fn entry(lines: &str) -> String {
    format!("[[caller]]\nname = \"a\"\ntoken_sha256 = \"{HASH}\"\n{lines}")
}

fn granted(everywhere: &[Role], inside: &[(&str, Role)]) -> Grants {
    let mut grants = Grants::default();
    for role in everywhere {
        grants.everywhere(*role);
    }
    for (population, role) in inside {
        grants.inside(PopulationName::new(*population).unwrap(), *role);
    }
    grants
}

#[test]
fn a_file_says_who_may_do_what_where() {
    let text = format!(
        "# who calls\n\
         [[caller]]\nname = \"reader\"\ntoken_sha256 = \"{HASH}\"\nread = [\"*\"]\nwrite = [\"a\", \"b\"]\nadmin = []\n\
         [[caller]]\nname = \"feed\"\ncertificate_sha256 = \"{}\"\nwrite = [\"a\"]\n",
        OTHER.to_uppercase()
    );
    let tokens = Tokens::parse(&text).unwrap();
    assert_eq!(tokens.len(), 2);
    let reader = tokens.of_token(b"abc", now).unwrap();
    assert_eq!(
        *reader,
        granted(&[Role::Read], &[("a", Role::Write), ("b", Role::Write)])
    );
    let shown = of_hex(OTHER).unwrap();
    let feed = tokens.of_certificate(&shown, now).unwrap();
    assert_eq!(*feed, granted(&[], &[("a", Role::Write)]));
    // The hash of a token is no certificate, and the other way round.
    assert!(tokens.of_certificate(&of_hex(HASH).unwrap(), now).is_none());
    assert!(tokens.of_token(b"abd", now).is_none());
    assert!(tokens.of_token(HASH.as_bytes(), now).is_none());
    assert!(tokens.of_token(b"", now).is_none());
    // It is what the services are given.
    let _ = Caller::new(feed, Role::Write);
}

#[test]
fn a_token_ends_when_it_expires() {
    for (expires, is_over) in [
        ("2026-01-01", true),
        ("2026-01-02", false),
        ("2025-12-31T23:59:59Z", true),
        ("2026-01-01T00:00:01Z", false),
        ("2026-01-01T01:00:00+01:00", true),
        ("\"2026-01-01T00:00:01Z\"", false),
    ] {
        let tokens = Tokens::parse(&entry(&format!("expires = {expires}\n"))).unwrap();
        assert_eq!(tokens.of_token(b"abc", now).is_none(), is_over, "{expires}");
        assert_eq!(tokens.expired(now()).next(), is_over.then_some("a"));
    }
}

#[test]
fn an_empty_file_lets_nobody_in() {
    for text in ["", "# nobody\n", "caller = []\n"] {
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.len(), 0);
        assert!(tokens.of_token(b"abc", now).is_none());
    }
}

#[test]
fn mistakes_name_the_line_and_show_no_secret() {
    const SECRET: &str = "hct_0123456789";
    let cases = [
        (entry("reads = []\n"), "4: there is no such key"),
        (entry(&format!("{SECRET} = 1\n")), "4: there is no such key"),
        (entry("read = \"*\"\n"), "4: read: expected a list"),
        (entry("read = [1]\n"), "4: read: expected a list"),
        (
            entry("\n\nadmin = [\"a b\"]\n"),
            "6: admin: a name has the character",
        ),
        (
            entry("write = [\"\"]\n"),
            "4: write: a name must not be empty",
        ),
        (entry("expires = \"soon\"\n"), "4: expires: expected a date"),
        (
            entry("expires = 2026-01-01T00:00:00\n"),
            "4: expires: expected a date",
        ),
        (entry("expires = 12:00:00\n"), "4: expires: expected a date"),
        (entry("name = \"b\"\n"), "4: duplicate key"),
        (
            entry(&format!("certificate_sha256 = \"{OTHER}\"\n")),
            "an entry has either",
        ),
        (
            format!("[[caller]]\nname = \"a\"\ntoken_sha256 = \"{SECRET}\"\n"),
            "3: expected a SHA-256 hash",
        ),
        (
            format!(
                "[[caller]]\nname = \"a\"\ntoken_sha256 = \"{}\"\n",
                "g".repeat(64)
            ),
            "3: expected a SHA-256 hash",
        ),
        (
            format!("[[caller]]\nname = \"{SECRET}\"\ntoken_sha256 = \"{HASH}\"\n"),
            "2: name: expected",
        ),
        (
            format!("[[caller]]\ntoken_sha256 = \"{HASH}\"\n"),
            "1: the entry has no name",
        ),
        (
            "[[caller]]\nname = \"a\"\n".into(),
            "1: the entry has no token_sha256",
        ),
        (
            entry(&entry("")),
            "4: there are two entries with the name \"a\"",
        ),
        (
            entry(&entry("").replace("\"a\"", "\"b\"")),
            "4: \"b\" has the hash of another entry",
        ),
        ("token = 1\n".into(), "1: only entries are expected here"),
        (
            format!("{SECRET} = 1\n"),
            "1: only entries are expected here",
        ),
        (
            "\n[caller]\nname = \"a\"\n".into(),
            "2: only entries are expected here",
        ),
        ("caller = [1]\n".into(), "1: expected a table"),
        (format!("\n{SECRET}\n"), "2: "),
        (entry(&format!("read = [{SECRET}]\n")), "4: "),
    ];
    for (text, expected) in cases {
        let error = Tokens::parse(&text).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}\n{text}");
        assert!(!error.contains(SECRET), "{error}");
    }
}

#[test]
fn a_file_is_bounded() {
    let mut text = String::new();
    for number in 0..ENTRIES {
        let hash = hex(&sha256(&number.to_le_bytes()));
        let _ = write!(
            text,
            "[[caller]]\nname = \"a{number}\"\ntoken_sha256 = \"{hash}\"\n"
        );
    }
    assert_eq!(Tokens::parse(&text).unwrap().len(), ENTRIES);
    text.push_str(&entry(""));
    let error = Tokens::parse(&text).unwrap_err();
    assert!(
        error.ends_with("there are more than 1000 entries"),
        "{error}"
    );
}

#[test]
fn a_new_token_is_found_by_the_hash_that_is_shown_with_it() {
    let new = NewToken::make().unwrap();
    assert_eq!(new.token.len(), PREFIX.len() + 64);
    assert_ne!(new.token, NewToken::make().unwrap().token);
    let text = format!(
        "[[caller]]\nname = \"a\"\ntoken_sha256 = \"{}\"\nread = [\"*\"]\n",
        new.sha256
    );
    let tokens = Tokens::parse(&text).unwrap();
    let grants = tokens.of_token(new.token.as_bytes(), now).unwrap();
    assert_eq!(*grants, granted(&[Role::Read], &[]));
}

#[test]
fn every_entry_is_found_wherever_it_stands() {
    let mut text = String::new();
    for number in 0..5 {
        let hash = hex(&sha256(format!("t{number}").as_bytes()));
        let _ = write!(
            text,
            "[[caller]]\nname = \"a{number}\"\ntoken_sha256 = \"{hash}\"\nread = [\"p{number}\"]\n"
        );
    }
    let tokens = Tokens::parse(&text).unwrap();
    for number in 0..5 {
        let grants = tokens.of_token(format!("t{number}").as_bytes(), now);
        let population = format!("p{number}");
        assert_eq!(*grants.unwrap(), granted(&[], &[(&population, Role::Read)]));
    }
    assert!(tokens.of_token(b"t5", now).is_none());
}

/// The example of the page is one that is read.
#[test]
fn the_page_shows_a_file_that_can_be_used() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md");
    let page = std::fs::read_to_string(page).unwrap();
    let after = page.split("```toml\n# tokens.toml\n").nth(1).unwrap();
    let tokens = Tokens::parse(after.split("```").next().unwrap()).unwrap();
    assert!(tokens.len() >= 3);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_line(text in "(\\[\\[caller\\]\\]|name|=|\"|a|\n|\\[|\\]|1|,|expires|read|#|\\*| ){0,40}") {
        if let Err(error) = Tokens::parse(&text) {
            let line = error.split(':').next().unwrap();
            prop_assert!(line.parse::<usize>().unwrap() >= 1, "{error}");
        }
    }
}
