//! The way out of common mistakes: habits of other languages, forgotten quotes, misspelt words.
//!
//! Invariant: nothing here decides whether a text is right; it is asked only once a text is wrong.

use super::parse::is_reserved;
use super::token::{Kind, quote, shorten};
use crate::model::{SpanError, distance};

/// How a span is written.
pub(super) const SPAN: &str =
    "a span is a whole number and its unit without space between: us, ms, s, m, h, d or w";

/// Tests that other languages have.
const OTHER_TESTS: [&str; 15] = [
    "LIKE",
    "ILIKE",
    "RLIKE",
    "GLOB",
    "SIMILAR",
    "MATCHES",
    "MATCH",
    "REGEXP",
    "CONTAINS",
    "STARTS",
    "STARTSWITH",
    "STARTS_WITH",
    "ENDS",
    "ENDSWITH",
    "ENDS_WITH",
];

/// Functions of events.
const EVENT_FUNCTIONS: [&str; 8] = ["count", "days", "sum", "avg", "min", "max", "first", "last"];

/// Something stands where an expression was expected.
pub(super) fn in_place_of_expression(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Word(word) if is_one_of(word, &["AND", "OR", "NULL"]) => None,
        Kind::Word(word) if is_reserved(word) => Some(format!(
            "{} is a keyword: as the name of a property it needs double quotes: \"{word}\"",
            quote(word)
        )),
        Kind::Text(_) => Some(
            "a test starts with the property, whose name stands plain or in double quotes".into(),
        ),
        Kind::Number(_) => Some("a test starts with the property: age > 18".into()),
        Kind::Suffixed(_) => Some("a name that starts with a digit needs double quotes".into()),
        Kind::Word(_) | Kind::QuotedName(_) | Kind::Symbol(_) | Kind::End => None,
    }
}

/// A word is followed by something where a property was expected: is it a function?
pub(super) fn function(word: &str, following: &Kind<'_>) -> Option<String> {
    if *following != Kind::Symbol("(") {
        return None;
    }
    let is = |function: &&str| function.eq_ignore_ascii_case(word);
    Some(if is(&"now") {
        "a test starts with the property: last_seen >= now() - 30d".into()
    } else if is(&"segment") {
        "saved segments are not supported yet".into()
    } else if EVENT_FUNCTIONS.iter().any(is) {
        format!(
            "functions of events, such as {}, are not supported yet",
            quote(word)
        )
    } else {
        format!(
            "functions of properties, such as {}, are not supported yet",
            quote(word)
        )
    })
}

/// Something stands after a property where its test was expected.
pub(super) fn in_place_of_test(
    property: &str,
    found: &Kind<'_>,
    following: &Kind<'_>,
) -> Option<String> {
    match found {
        Kind::Word(word) if is_one_of(word, &OTHER_TESTS) => {
            Some(format!("{} is not supported yet", quote(word)))
        }
        Kind::Word(word) if word.eq_ignore_ascii_case("EXISTS") => {
            Some("whether there is a value is asked by IS SET".into())
        }
        Kind::Word(word) if word.eq_ignore_ascii_case("EQUALS") => Some("write `=`".into()),
        Kind::Word(word) if is_one_of(word, &["AND", "OR"]) => Some(bool_property(property)),
        Kind::Word(word) => nearest(word, &["IN", "NOT", "BETWEEN", "HAS", "IS"])
            .map(|keyword| format!("did you mean {keyword}?"))
            .or_else(|| {
                // Two words in a row and then a test: the name has a space.
                matches!(
                    following,
                    Kind::Symbol("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=")
                )
                .then(|| quoted_name(&format!("{property} {word}")))
            }),
        Kind::End | Kind::Symbol(")") => Some(bool_property(property)),
        Kind::Symbol("-") => match following {
            Kind::Word(rest) => Some(quoted_name(&format!("{property}-{rest}"))),
            Kind::QuotedName(_)
            | Kind::Text(_)
            | Kind::Number(_)
            | Kind::Suffixed(_)
            | Kind::Symbol(_)
            | Kind::End => None,
        },
        Kind::QuotedName(_)
        | Kind::Text(_)
        | Kind::Number(_)
        | Kind::Suffixed(_)
        | Kind::Symbol(_) => None,
    }
}

fn bool_property(property: &str) -> String {
    format!("a property alone is no test: {} = TRUE", shorten(property))
}

fn quoted_name(name: &str) -> String {
    format!(
        "a name with other characters than letters, digits, `_` and `.` needs double quotes: \"{}\"",
        shorten(name)
    )
}

/// Something stands after `property NOT`.
pub(super) fn after_not(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Symbol("=") => Some("write `!=`".into()),
        Kind::Word(word) if word.eq_ignore_ascii_case("HAS") => Some("write HAS NONE (..)".into()),
        Kind::Word(word) if is_one_of(word, &["SET", "NULL"]) => {
            Some(format!("write IS NOT {}", word.to_ascii_uppercase()))
        }
        Kind::Word(word) if is_one_of(word, &OTHER_TESTS) => {
            Some(format!("{} is not supported yet", quote(word)))
        }
        Kind::Word(word) => {
            nearest(word, &["IN", "BETWEEN"]).map(|keyword| format!("did you mean {keyword}?"))
        }
        Kind::Symbol(_) => Some("NOT stands before the whole test: NOT age < 18".into()),
        Kind::QuotedName(_) | Kind::Text(_) | Kind::Number(_) | Kind::Suffixed(_) | Kind::End => {
            None
        }
    }
}

/// Something stands after `property IS`, or `property IS NOT`.
pub(super) fn after_is(found: &Kind<'_>, negated: bool) -> Option<String> {
    let comparison = if negated { "!=" } else { "=" };
    match found {
        Kind::Word(word) if is_one_of(word, &["TRUE", "FALSE"]) => {
            Some(format!("write {comparison} {}", word.to_ascii_uppercase()))
        }
        Kind::Word(word) if is_one_of(word, &["MISSING", "EMPTY"]) => {
            Some("users without a value are found by IS NOT SET".into())
        }
        Kind::Word(word) if word.eq_ignore_ascii_case("IN") => Some("write IN without IS".into()),
        Kind::Word(word) => nearest(word, &["SET", "NOT", "NULL"])
            .map(|keyword| format!("did you mean {keyword}?"))
            .or_else(|| Some(format!("values are compared by `{comparison}`"))),
        Kind::QuotedName(_) | Kind::Text(_) | Kind::Number(_) | Kind::Suffixed(_) => {
            Some(format!("values are compared by `{comparison}`"))
        }
        Kind::Symbol(_) | Kind::End => None,
    }
}

/// A word stands where a value was expected.
pub(super) fn word_in_place_of_value(word: &str, following: &Kind<'_>) -> Option<String> {
    let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
    if is("NULL") {
        return Some("users without a value are found by IS NOT SET".into());
    }
    // The value is missing, not its quotes.
    if is_reserved(word) {
        return None;
    }
    Some(unquoted(word, following))
}

fn unquoted(word: &str, following: &Kind<'_>) -> String {
    let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
    if is("INTERVAL") {
        return format!("spans are added to now(): now() - 30d; {SPAN}");
    }
    if is("CURRENT_TIMESTAMP") || is("CURRENT_DATE") || is("now") && *following != Kind::Symbol("(")
    {
        return "the instant of the question is now()".into();
    }
    if is("now") {
        return "now() can't be in a list: compare with it".into();
    }
    if *following == Kind::Symbol("(") {
        return format!("functions, such as {}, are not supported yet", quote(word));
    }
    if matches!(following, Kind::QuotedName(_)) && super::literal::prefixed(word).is_some() {
        return "use single quotes for texts".into();
    }
    format!("texts need single quotes: '{}'", shorten(word))
}

/// Something that is no word stands where a value was expected.
pub(super) fn in_place_of_value(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::QuotedName(name) => Some(format!(
            "use single quotes for texts: '{}'; double quotes are for names",
            shorten(name)
        )),
        Kind::Suffixed(piece) => Some(suffixed(piece)),
        Kind::Word(_) | Kind::Text(_) | Kind::Number(_) | Kind::Symbol(_) | Kind::End => None,
    }
}

fn suffixed(piece: &str) -> String {
    let only = |also: char| piece.chars().all(|c| c.is_ascii_digit() || c == also);
    if only('_') {
        format!(
            "numbers stand without separators: {}",
            shorten(&piece.replace('_', ""))
        )
    } else if only('.') && piece.ends_with('.') {
        "a number ends with a digit".into()
    } else if only('.') {
        format!(
            "a version needs its word and single quotes: VERSION '{}'",
            shorten(piece)
        )
    } else if piece.parse::<crate::model::Span>().is_ok() {
        format!("spans are added to now(): now() - {}", shorten(piece))
    } else {
        format!("texts need single quotes: '{}'", shorten(piece))
    }
}

/// A span is wrong.
pub(super) fn span(error: &SpanError) -> String {
    match error {
        SpanError::Form { .. } => SPAN.into(),
        SpanError::Range => error.to_string(),
    }
}

/// Something stands after a value where the list or expression should go on or end.
pub(super) fn after_value(previous: &str, adjacent: bool, found: &Kind<'_>) -> Option<String> {
    let number_before = previous.starts_with(|c: char| c.is_ascii_digit());
    match found {
        Kind::Symbol(",") | Kind::Number(_) if number_before => Some(
            "numbers stand without separators, with a point before decimals: 1000000 or 0.5".into(),
        ),
        Kind::Symbol("-") if number_before => {
            Some("a date needs its word and single quotes: DATE '2026-01-31'".into())
        }
        Kind::Symbol("+" | "-") => Some("only spans can be added, and only to now()".into()),
        Kind::Word(_) | Kind::Text(_) if adjacent && previous.ends_with('\'') => {
            Some("a `'` within a text is written twice: 'it''s'".into())
        }
        Kind::Symbol("(") => Some("functions are not supported yet".into()),
        Kind::Word(_)
        | Kind::QuotedName(_)
        | Kind::Text(_)
        | Kind::Number(_)
        | Kind::Suffixed(_)
        | Kind::Symbol(_)
        | Kind::End => None,
    }
}

/// Something stands after an expression where it should go on or end.
pub(super) fn after_expression(previous: &str, adjacent: bool, found: &Kind<'_>) -> Option<String> {
    after_value(previous, adjacent, found).or_else(|| match found {
        Kind::Word(word) => {
            nearest(word, &["AND", "OR"]).map(|keyword| format!("did you mean {keyword}?"))
        }
        Kind::Symbol(")") => Some("there is no `(` for it".into()),
        Kind::End => Some("a `(` is not closed".into()),
        Kind::Symbol("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=")
            if is_one_of(previous, &["TRUE", "FALSE"]) =>
        {
            Some("a test starts with the property: active = TRUE".into())
        }
        Kind::Symbol("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") => {
            Some("one test has one comparison: a range is age BETWEEN 18 AND 30".into())
        }
        Kind::QuotedName(_)
        | Kind::Text(_)
        | Kind::Number(_)
        | Kind::Suffixed(_)
        | Kind::Symbol(_) => None,
    })
}

fn is_one_of(word: &str, keywords: &[&str]) -> bool {
    keywords
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// The keyword that a word was probably meant to be.
fn nearest(word: &str, keywords: &[&'static str]) -> Option<&'static str> {
    let word = word.to_ascii_uppercase();
    // Of short words nearly every other is near.
    let allowed = match word.len() {
        2..=4 => 1,
        5..=16 => 2,
        _ => return None,
    };
    keywords
        .iter()
        .map(|keyword| (distance(word.as_bytes(), keyword.as_bytes()), *keyword))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, keyword)| keyword)
}
