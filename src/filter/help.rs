//! The way out of common mistakes: habits of other languages, forgotten quotes, misspelt words.
//!
//! Invariant: nothing here decides whether a text is right; it is asked only once a text is wrong.

use super::parse::is_reserved;
use super::token::{Kind, quote, shorten};
use crate::model::{SpanError, Timestamp, distance};

/// How a span is written.
pub(super) const SPAN: &str =
    "a span is a whole number and its unit without space between: us, ms, s, m, h, d or w";

/// How a test of buckets is written.
pub(super) const BUCKET_EXAMPLE: &str = "for example bucket('spring-test', 100) < 10";

/// What else dividing users is called.
const OTHER_BUCKETS: [&str; 6] = ["buckets", "hash", "mod", "rand", "random", "sample"];

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
const EVENT_FUNCTIONS: [&str; 10] = [
    "count", "days", "weeks", "months", "sum", "avg", "min", "max", "first", "last",
];

/// What else the functions of events are called, and what they are called here.
const OTHER_EVENT_FUNCTIONS: [(&str, &str); 12] = [
    ("average", "avg"),
    ("mean", "avg"),
    ("total", "sum"),
    ("minimum", "min"),
    ("least", "min"),
    ("maximum", "max"),
    ("greatest", "max"),
    ("earliest", "first"),
    ("latest", "last"),
    ("number", "count"),
    ("events", "count"),
    ("did", "count"),
];

/// How questions about the order of events start.
const SEQUENCES: [&str; 6] = [
    "sequence",
    "then",
    "funnel",
    "followed",
    "followed_by",
    "followedby",
];

/// What questions about the order of events are told.
const NO_SEQUENCES: &str = "the order of events, such as one and then another within 7 days, \
    can't be asked yet";

/// What a function of events without a comparison is told.
const NO_COMPARISON: &str =
    "a function of events alone is no test: whether there are any is count(..) > 0";

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
    } else if is_one_of(word, &SEQUENCES) {
        NO_SEQUENCES.into()
    } else if is_one_of(word, &OTHER_BUCKETS) {
        format!("users are divided by bucket: {BUCKET_EXAMPLE}")
    } else if let Some(function) = event_function(word) {
        format!(
            "did you mean {function}? The functions of events are {}",
            EVENT_FUNCTIONS.join(", ")
        )
    } else {
        format!(
            "functions of properties, such as {}, are not supported yet",
            quote(word)
        )
    })
}

/// The function of events that a word was probably meant to be.
fn event_function(word: &str) -> Option<&'static str> {
    let other = OTHER_EVENT_FUNCTIONS
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(word));
    let mistyped = || {
        let near = |function: &&&str| {
            let word = word.to_ascii_lowercase();
            word.len() > 2 && distance(word.as_bytes(), function.as_bytes()) == 1
        };
        EVENT_FUNCTIONS.iter().find(near).copied()
    };
    other.map(|(_, function)| *function).or_else(mistyped)
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
        Kind::Word(word) if is_one_of(word, &SEQUENCES) => Some(NO_SEQUENCES.into()),
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

// Functions of events.

/// Something stands in parentheses where the name of an event was expected.
pub(super) fn in_place_of_event(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Word(word) => Some(format!(
            "{} is a keyword: as the name of an event it needs double quotes: \"{word}\"",
            quote(word)
        )),
        Kind::Text(text) => Some(format!(
            "the name of an event stands plain or in double quotes: \"{}\"",
            shorten(text)
        )),
        Kind::Number(_) | Kind::Suffixed(_) => {
            Some("a name that starts with a digit needs double quotes".into())
        }
        Kind::Symbol(")") => Some("a function is about one event: count(purchase)".into()),
        Kind::Symbol(_) | Kind::QuotedName(_) | Kind::End => None,
    }
}

/// Something stands in parentheses after the name of an event, or after the window.
pub(super) fn after_event(
    previous: &str,
    found: &Kind<'_>,
    following: &Kind<'_>,
    windowed: bool,
) -> Option<String> {
    match found {
        Kind::Suffixed(_) if !windowed => {
            Some("a window stands after a comma: count(purchase, 30d)".into())
        }
        Kind::Word(word) if !windowed && is_one_of(word, &["THIS", "LAST"]) => {
            Some("a window stands after a comma: count(purchase, last 30 days)".into())
        }
        Kind::Word(word) if is_one_of(word, &["WHERE", "AND", "OR"]) => {
            Some("events have no properties of their own to test".into())
        }
        Kind::Word(word) if !windowed => Some(quoted_name(&format!("{previous} {word}"))),
        Kind::Symbol("-") if !windowed => match following {
            Kind::Word(rest) => Some(quoted_name(&format!("{previous}-{rest}"))),
            Kind::QuotedName(_)
            | Kind::Text(_)
            | Kind::Number(_)
            | Kind::Suffixed(_)
            | Kind::Symbol(_)
            | Kind::End => None,
        },
        Kind::Symbol("-" | "+") => Some(SPAN.into()),
        Kind::Symbol(",") => Some("a function has one event and one window".into()),
        Kind::Symbol("=" | "!=" | "<>" | "<" | "<=" | ">" | ">=") => {
            Some("the comparison stands after the parenthesis: count(purchase) > 3".into())
        }
        Kind::End => Some("a `(` is not closed".into()),
        Kind::Text(_) => Some("a time zone stands after IN: IN 'Europe/Paris'".into()),
        Kind::Word(_)
        | Kind::QuotedName(_)
        | Kind::Number(_)
        | Kind::Suffixed(_)
        | Kind::Symbol(_) => None,
    }
}

/// Something stands where a window was expected.
pub(super) fn in_place_of_window(found: &Kind<'_>, following: &Kind<'_>) -> Option<String> {
    match (found, following) {
        (Kind::Number(number), Kind::Word(unit)) => Some(match short_unit(unit) {
            Some((short, Some(calendar))) => format!(
                "write {0}{short} for so much time, or last {0} {calendar} for whole {calendar}",
                shorten(number)
            ),
            Some((short, None)) => format!("write {}{short}", shorten(number)),
            None if is_one_of(unit, &["MONTH", "MONTHS"]) => {
                format!("write last {} months", shorten(number))
            }
            None => SPAN.into(),
        }),
        (Kind::Number(_), Kind::Symbol("-")) => in_place_of_instant(found),
        (Kind::Number(_), _) => Some(SPAN.into()),
        (Kind::Text(text), _) if text.parse::<Timestamp>().is_ok() => in_place_of_instant(found),
        (Kind::Text(_), _) => Some("a window stands without quotes: 30d".into()),
        (Kind::Word(word), _) if word.eq_ignore_ascii_case("INTERVAL") => Some(SPAN.into()),
        (Kind::Word(word), _) if word.eq_ignore_ascii_case("today") => {
            Some("write this day".into())
        }
        (Kind::Word(word), _) if word.eq_ignore_ascii_case("yesterday") => {
            Some("write last 1 day".into())
        }
        _ => in_place_of_instant(found),
    }
}

/// The unit of spans that a word means, and what it is in the calendar.
fn short_unit(word: &str) -> Option<(&'static str, Option<&'static str>)> {
    let is = |one: &str, many: &str| is_one_of(word, &[one, many]);
    if is("day", "days") {
        Some(("d", Some("days")))
    } else if is("week", "weeks") {
        Some(("w", Some("weeks")))
    } else if is("hour", "hours") {
        Some(("h", None))
    } else if is("minute", "minutes") {
        Some(("m", None))
    } else if is("second", "seconds") {
        Some(("s", None))
    } else {
        None
    }
}

/// Something stands after LAST where a whole number was expected.
pub(super) fn in_place_of_units(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Word(word) if is_one_of(word, &["DAY", "WEEK", "MONTH"]) => {
            Some(format!("write last 1 {}", word.to_ascii_lowercase()))
        }
        Kind::Suffixed(piece) if piece.parse::<crate::model::Span>().is_ok() => Some(format!(
            "a span stands alone: {}; whole days, weeks and months stand after LAST: last 30 days",
            shorten(piece)
        )),
        Kind::Word(_)
        | Kind::QuotedName(_)
        | Kind::Text(_)
        | Kind::Number(_)
        | Kind::Suffixed(_)
        | Kind::Symbol(_)
        | Kind::End => None,
    }
}

/// Something stands after THIS, or after LAST and a number, where a unit was expected.
pub(super) fn in_place_of_unit(found: &Kind<'_>, previous: &str) -> Option<String> {
    let Kind::Word(word) = found else {
        return None;
    };
    match short_unit(word) {
        Some((short, _)) => {
            let this = previous.eq_ignore_ascii_case("THIS");
            let count = if this { "1" } else { previous };
            let count = shorten(count);
            Some(format!(
                "windows of hours and less are exact: {count}{short}"
            ))
        }
        None if is_one_of(word, &["YEAR", "YEARS", "QUARTER", "QUARTERS"]) => {
            Some("years are counted in months: last 12 months".into())
        }
        None => nearest(word, &["DAYS", "WEEKS", "MONTHS"])
            .map(|unit| format!("did you mean {}?", unit.to_ascii_lowercase())),
    }
}

/// Something stands after IN where a time zone was expected.
pub(super) fn in_place_of_zone(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Word(name) if !is_reserved(name) => Some(format!(
            "the name of a zone stands in single quotes: '{}'",
            shorten(name)
        )),
        Kind::QuotedName(name) => Some(format!(
            "the name of a zone stands in single quotes: '{}'",
            shorten(name)
        )),
        Kind::Word(_)
        | Kind::Text(_)
        | Kind::Number(_)
        | Kind::Suffixed(_)
        | Kind::Symbol(_)
        | Kind::End => None,
    }
}

/// Something stands after a function of events where its comparison was expected.
pub(super) fn in_place_of_event_test(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Word(word) if is_one_of(word, &SEQUENCES) => Some(NO_SEQUENCES.into()),
        Kind::Word(word) if is_one_of(word, &["AND", "OR", "IS"]) => Some(NO_COMPARISON.into()),
        Kind::Word(word) => {
            nearest(word, &["IN", "NOT", "BETWEEN"]).map(|near| format!("did you mean {near}?"))
        }
        Kind::End | Kind::Symbol(")" | ",") => Some(NO_COMPARISON.into()),
        Kind::QuotedName(_)
        | Kind::Text(_)
        | Kind::Number(_)
        | Kind::Suffixed(_)
        | Kind::Symbol(_) => None,
    }
}

/// Something stands after a bucket where its comparison was expected.
pub(super) fn in_place_of_bucket_test(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Word(word) if !is_one_of(word, &["AND", "OR", "IS"]) => {
            nearest(word, &["IN", "NOT", "BETWEEN"]).map(|near| format!("did you mean {near}?"))
        }
        Kind::Word(_) | Kind::End | Kind::Symbol(")" | ",") => {
            Some(format!("a bucket alone is no test: {BUCKET_EXAMPLE}"))
        }
        Kind::QuotedName(_)
        | Kind::Text(_)
        | Kind::Number(_)
        | Kind::Suffixed(_)
        | Kind::Symbol(_) => None,
    }
}

/// Something stands where an instant was expected.
pub(super) fn in_place_of_instant(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Suffixed(piece) if piece.parse::<crate::model::Span>().is_ok() => Some(format!(
            "spans are added to now(): now() - {}",
            shorten(piece)
        )),
        Kind::Text(text) => Some(format!(
            "an instant needs its word: {} '{}'",
            if text.len() > 10 { "TIMESTAMP" } else { "DATE" },
            shorten(text)
        )),
        Kind::Number(_) => {
            Some("a date needs its word and single quotes: DATE '2026-01-31'".into())
        }
        Kind::Word(word) => word_in_event_test(word),
        Kind::QuotedName(_) | Kind::Suffixed(_) | Kind::Symbol(_) | Kind::End => None,
    }
}

/// Something stands where the number was expected that a function of events is compared with.
pub(super) fn in_place_of_amount(found: &Kind<'_>) -> Option<String> {
    match found {
        Kind::Suffixed(piece) => Some(match piece.parse::<crate::model::Span>() {
            Ok(_) => "the time of events is compared by first(..) and last(..)".into(),
            Err(_) => suffixed(piece),
        }),
        Kind::Text(_) => Some("numbers stand without quotes".into()),
        Kind::Symbol("(") => Some("a list needs IN: count(purchase) IN (1, 2)".into()),
        Kind::Word(word) if is_one_of(word, &["now", "TIMESTAMP", "DATE"]) => {
            Some("the time of events is compared by first(..) and last(..)".into())
        }
        Kind::Word(word) => word_in_event_test(word),
        Kind::QuotedName(_) | Kind::Number(_) | Kind::Symbol(_) | Kind::End => None,
    }
}

fn word_in_event_test(word: &str) -> Option<String> {
    if word.eq_ignore_ascii_case("NULL") {
        Some("users without events are found by count(..) = 0".into())
    } else if is_one_of(word, &["now", "CURRENT_TIMESTAMP", "CURRENT_DATE"]) {
        Some("the instant of the question is now()".into())
    } else if is_one_of(word, &["TIMESTAMP", "DATE"]) {
        Some("use single quotes for texts".into())
    } else if word.eq_ignore_ascii_case("INTERVAL") {
        Some(format!("spans are added to now(): now() - 30d; {SPAN}"))
    } else if is_one_of(word, &EVENT_FUNCTIONS) {
        Some("two functions of events can't be compared with each other".into())
    } else {
        None
    }
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
