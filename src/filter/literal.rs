//! Reads numbers and the texts after TIMESTAMP, DATE and VERSION into values.

use super::error::Fault;
use crate::model::{Finite, Timestamp, TimestampError, Value, Version, VersionError};

/// A literal that stands for no value.
pub(super) enum Problem {
    /// What would have been right, and the way out if one is known.
    Expected(&'static str, Option<String>),
    /// A limit.
    Limit(crate::model::LimitExceeded),
}

impl Problem {
    pub(super) fn at(self, offset: usize, written: &str) -> Fault {
        match self {
            Self::Expected(expected, help) => {
                Fault::new(offset, expected, super::token::quote(written)).maybe_help(help)
            }
            Self::Limit(exceeded) => Fault::limit(offset, exceeded),
        }
    }
}

/// Reads a number without sign; the sign is given, since the smallest whole number has no positive
/// counterpart.
pub(super) fn number(digits: &str, negative: bool) -> Result<Value, Problem> {
    let signed = format!("{}{digits}", if negative { "-" } else { "" });
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        signed.parse().map(Value::Int64).map_err(|_| {
            Problem::Expected(
                "a whole number from -9223372036854775808 to 9223372036854775807",
                Some(
                    "a number with a point, such as 1e20 or 12.0, is a double and reaches further"
                        .into(),
                ),
            )
        })
    } else {
        signed
            .parse()
            .ok()
            .and_then(Finite::new)
            .map(Value::Double)
            .ok_or(Problem::Expected(
                "a number that a double can hold, up to about 1.8e308",
                None,
            ))
    }
}

/// How the text after a keyword is read.
type Read = fn(&str) -> Result<Value, Problem>;

/// How the text after a word is read, if the word is one of those that stand before a text.
pub(super) fn prefixed(word: &str) -> Option<Read> {
    let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
    if is("TIMESTAMP") {
        Some(|text| timestamp(text).map(Value::Timestamp))
    } else if is("DATE") {
        Some(|text| {
            let expected = "a date such as '2026-01-31', for its midnight in UTC";
            date(text, expected).map(Value::Timestamp)
        })
    } else if is("VERSION") {
        Some(version)
    } else {
        None
    }
}

/// Reads the text after TIMESTAMP.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|error| match error {
        TimestampError::Form { .. } => Problem::Expected(
            "a date such as '2026-01-31', or RFC 3339 with an offset such as '2026-01-31T09:30:00Z'",
            None,
        ),
        TimestampError::Range => Problem::Expected("an instant in the years 1 to 9999", None),
    })
}

/// Reads the text after DATE as its midnight in UTC.
pub(super) fn date(text: &str, expected: &'static str) -> Result<Timestamp, Problem> {
    let form = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(position, b)| match position {
                4 | 7 => b == b'-',
                _ => b.is_ascii_digit(),
            });
    let date: Option<Timestamp> = if form { text.parse().ok() } else { None };
    date.ok_or_else(|| {
        let help = text
            .parse::<Timestamp>()
            .is_ok()
            .then(|| "write TIMESTAMP before a date with a time".to_string());
        Problem::Expected(expected, help)
    })
}

fn version(text: &str) -> Result<Value, Problem> {
    text.parse::<Version>().map(Value::Version).map_err(|error| match error {
        VersionError::TooLong(exceeded) => Problem::Limit(exceeded),
        VersionError::Numbers { .. } | VersionError::Identifier { .. } => Problem::Expected(
            "a version: 1 to 4 numbers below 2^32 with dots between, such as '2.10' or '2.10.1-beta.2'",
            None,
        ),
    })
}
