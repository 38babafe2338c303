//! Instants and spans of time, to the microsecond.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;

/// Civil time reaches further than jiff's instants, which end a day before the year 9999 does.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Why a text or number is no instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// The text is not in one of the accepted forms.
    #[error(
        "{text:?} is no timestamp: expected a date such as 2026-01-31, or RFC 3339 with an offset such as 2026-01-31T09:30:00Z"
    )]
    Form {
        /// The text.
        text: String,
    },
    /// The instant is outside the years 1 to 9999.
    #[error("the instant is outside the years 1 to 9999")]
    Range,
}

/// An instant: microseconds since 1970-01-01T00:00:00Z, within the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The last microsecond of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The instant so many microseconds after 1970.
    ///
    /// # Errors
    /// [`TimestampError::Range`] outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Result<Self, TimestampError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(TimestampError::Range)
        }
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The instant a span later; the first or last instant where that would be out of range.
    #[must_use]
    pub fn saturating_add(self, span: Span) -> Self {
        Self(
            self.0
                .saturating_add(span.0)
                .clamp(Self::MIN.0, Self::MAX.0),
        )
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339 with an offset, or a date, which stands for its midnight in UTC. What is
    /// finer than a microsecond is cut off.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let form = || TimestampError::Form { text: text.into() };
        let pieces = Pieces::parse(text).map_err(|_| form())?;
        if pieces.time_zone_annotation().is_some() {
            return Err(form());
        }
        let (time, offset) = match (pieces.time(), pieces.to_numeric_offset()) {
            (Some(time), Some(offset)) => (time, offset.seconds()),
            (None, None) => (jiff::civil::Time::midnight(), 0),
            (Some(_), None) | (None, Some(_)) => return Err(form()),
        };
        let since_epoch = pieces
            .date()
            .to_datetime(time)
            .duration_since(EPOCH)
            .as_nanos()
            - i128::from(offset) * 1_000_000_000;
        // Round towards the past, before 1970 too.
        let micros = since_epoch.div_euclid(1_000);
        Self::from_micros(i64::try_from(micros).map_err(|_| TimestampError::Range)?)
    }
}

impl fmt::Display for Timestamp {
    /// Prints RFC 3339 in UTC with as many decimals as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match EPOCH.checked_add(SignedDuration::from_micros(self.0)) {
            Ok(datetime) => write!(f, "{datetime}Z"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// Why a text is no span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// The text is not a number and a unit.
    #[error(
        "{text:?} is no span of time: expected a whole number and a unit (us, ms, s, m, h, d or w), such as 30d"
    )]
    Form {
        /// The text.
        text: String,
    },
    /// The span is longer than 10,000 years.
    #[error("the span is longer than 10,000 years")]
    Range,
}

/// A signed span of time in microseconds, at most 10,000 years long. A day is 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Units from the longest to the shortest, in microseconds. Weeks are read but never printed.
const UNITS: [(&str, i64); 7] = [
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    const MAX_MICROS: i64 = 3_652_500 * 86_400_000_000;

    /// The longest one: 10,000 years.
    pub const LONGEST: Self = Self(Self::MAX_MICROS);

    /// The span of so many hours.
    #[must_use]
    pub const fn hours(hours: u16) -> Self {
        Self(hours as i64 * 3_600_000_000)
    }

    /// The span of so many microseconds.
    ///
    /// # Errors
    /// [`SpanError::Range`] if it is longer than 10,000 years either way.
    pub fn from_micros(micros: i64) -> Result<Self, SpanError> {
        if (-Self::MAX_MICROS..=Self::MAX_MICROS).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(SpanError::Range)
        }
    }

    /// Its microseconds, negative for a span into the past.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The same span in the other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self(-self.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    /// Reads a whole number without sign and a unit: `30d`.
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let form = || SpanError::Form { text: text.into() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(form());
        }
        let (_, micros) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(form)?;
        let number: i64 = number.parse().map_err(|_| SpanError::Range)?;
        Self::from_micros(number.checked_mul(*micros).ok_or(SpanError::Range)?)
    }
}

impl fmt::Display for Span {
    /// Prints the whole number of the longest unit from days down that has one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, micros) = UNITS[1..]
            .iter()
            .find(|(_, micros)| self.0 % micros == 0)
            .unwrap_or(&("us", 1));
        write!(f, "{}{name}", self.0 / micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_what_parses_to_the_same() {
        for (given, printed) in [
            ("1970-01-01", "1970-01-01T00:00:00Z"),
            ("2026-01-31T09:30:00+01:00", "2026-01-31T08:30:00Z"),
            (
                "2026-01-31T09:30:00.000001999Z",
                "2026-01-31T09:30:00.000001Z",
            ),
            (
                "1969-12-31T23:59:59.9999999Z",
                "1969-12-31T23:59:59.999999Z",
            ),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("9999-12-31", "9999-12-31T00:00:00Z"),
        ] {
            let timestamp: Timestamp = given.parse().unwrap();
            assert_eq!(timestamp.to_string(), printed);
            assert_eq!(printed.parse(), Ok(timestamp));
        }
        for bad in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-30",
            "2026-01-31T09:30:00",
            "0000-12-31",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_bounds_are_the_years_1_to_9999() {
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(
            Timestamp::from_micros(Timestamp::MIN.micros() - 1),
            Err(TimestampError::Range)
        );
        assert_eq!(
            Timestamp::from_micros(Timestamp::MAX.micros() + 1),
            Err(TimestampError::Range)
        );
        assert_eq!(
            Timestamp::MAX.to_string().parse::<Timestamp>(),
            Ok(Timestamp::MAX)
        );
    }

    #[test]
    fn spans_print_what_parses_to_the_same() {
        for (given, printed) in [
            ("2w", "14d"),
            ("30d", "30d"),
            ("36h", "36h"),
            ("24h", "1d"),
            ("90m", "90m"),
            ("60s", "1m"),
            ("1500ms", "1500ms"),
            ("7us", "7us"),
            ("0s", "0d"),
        ] {
            let span: Span = given.parse().unwrap();
            assert_eq!(span.to_string(), printed);
            assert_eq!(printed.parse(), Ok(span));
        }
        for bad in [
            "",
            "d",
            "30",
            "30 d",
            "-30d",
            "1.5d",
            "30y",
            "99999999999999999999d",
            "9999999d",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
