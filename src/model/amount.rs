//! Amounts of events: decimal numbers, exact to a millionth.
//!
//! Invariant: sums of amounts are exact and do not depend on the order in which they are added,
//! which sums of floating point numbers are not and do.

use std::fmt;
use std::str::FromStr;

/// Millionths in one.
const SCALE: i64 = 1_000_000;

/// Why a number is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The number is NaN or infinite, or larger than a trillion.
    #[error("must be a number from -1,000,000,000,000 to 1,000,000,000,000")]
    Range,
    /// The number has more decimals than are kept.
    #[error("has more than 6 decimals, and amounts are exact to a millionth")]
    Decimals,
    /// The text is no number.
    #[error("must be a number such as 42 or -0.5")]
    Form,
}

/// A decimal number with at most 6 decimals, at most a trillion either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest one: a trillion.
    pub const MAX: Self = Self(1_000_000_000_000 * SCALE);

    /// So many millionths.
    ///
    /// # Errors
    /// [`AmountError::Range`] if that is more than a trillion either way.
    pub fn from_millionths(millionths: i64) -> Result<Self, AmountError> {
        if millionths.unsigned_abs() <= Self::MAX.0.unsigned_abs() {
            Ok(Self(millionths))
        } else {
            Err(AmountError::Range)
        }
    }

    /// The amount nearest to a number; of two equally near, the one further from zero. The number
    /// stands for the shortest decimal that reads back as it, so that 0.1 is a tenth.
    ///
    /// # Errors
    /// [`AmountError::Range`].
    pub fn nearest(number: f64) -> Result<Self, AmountError> {
        Self::parse(&decimal(number)?, true)
    }

    /// The amount that a number is, taken for the shortest decimal that reads back as it.
    ///
    /// # Errors
    /// [`AmountError::Range`]; [`AmountError::Decimals`] if it has more than 6.
    pub fn exactly(number: f64) -> Result<Self, AmountError> {
        Self::parse(&decimal(number)?, false)
    }

    /// The amount of a whole number.
    ///
    /// # Errors
    /// [`AmountError::Range`].
    pub fn whole(number: i64) -> Result<Self, AmountError> {
        let millionths = number.checked_mul(SCALE).ok_or(AmountError::Range)?;
        Self::from_millionths(millionths)
    }

    /// Its millionths.
    #[must_use]
    pub const fn millionths(self) -> i64 {
        self.0
    }

    /// The number, if it is whole.
    #[must_use]
    pub const fn as_whole(self) -> Option<i64> {
        if self.0 % SCALE == 0 {
            Some(self.0 / SCALE)
        } else {
            None
        }
    }

    /// The floating point number nearest to it.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "the nearest is what is asked for"
    )]
    pub fn to_f64(self) -> f64 {
        // The division of two exact numbers is rounded once; large amounts are rounded twice,
        // which can be the next number but one.
        self.0 as f64 / SCALE as f64
    }

    /// Reads what `f64` prints: digits, maybe a point, maybe a sign.
    fn parse(text: &str, rounds: bool) -> Result<Self, AmountError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let kept = &fraction[..fraction.len().min(6)];
        let cut = &fraction[kept.len()..];
        if !rounds && cut.bytes().any(|digit| digit != b'0') {
            return Err(AmountError::Decimals);
        }
        let number = format!("{whole}{kept:0<6}");
        let mut millionths: i64 = number.parse().map_err(|_| AmountError::Range)?;
        if cut.bytes().next().is_some_and(|digit| digit >= b'5') {
            millionths += 1;
        }
        Self::from_millionths(if negative { -millionths } else { millionths })
    }
}

/// A number as digits without an exponent.
fn decimal(number: f64) -> Result<String, AmountError> {
    // Beyond this it is out of range anyway, and prints as hundreds of digits.
    if number.is_finite() && number.abs() <= 1e13 {
        Ok(format!("{number}"))
    } else {
        Err(AmountError::Range)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    /// Reads digits, maybe with a sign before and a point and more digits after them. Nothing is
    /// rounded, also where a floating point number would be.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if number(whole) && number(fraction) {
            Self::parse(text, false)
        } else {
            Err(AmountError::Form)
        }
    }
}

impl fmt::Display for Amount {
    /// Prints the number with as many decimals as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let scale = SCALE.unsigned_abs();
        let (whole, rest) = (self.0.unsigned_abs() / scale, self.0.unsigned_abs() % scale);
        write!(f, "{sign}{whole}")?;
        if rest > 0 {
            let digits = format!("{rest:06}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_the_decimals_that_they_print_as() {
        for (number, millionths, printed) in [
            (0.0, 0, "0"),
            (-0.0, 0, "0"),
            (11.77, 11_770_000, "11.77"),
            (0.1, 100_000, "0.1"),
            (-2.5, -2_500_000, "-2.5"),
            (1e-6, 1, "0.000001"),
            (1e12, 1_000_000_000_000_000_000, "1000000000000"),
            (123_456.789_012, 123_456_789_012, "123456.789012"),
        ] {
            let amount = Amount::exactly(number).unwrap();
            assert_eq!(amount.millionths(), millionths);
            assert_eq!(amount.to_string(), printed);
            assert_eq!(Amount::nearest(number), Ok(amount));
            assert!((amount.to_f64() - number).abs() <= number.abs() * 1e-15);
        }
    }

    #[test]
    fn what_is_finer_than_a_millionth_is_rounded_or_refused() {
        for (number, millionths) in [
            (0.000_000_5, 1),
            (0.000_000_49, 0),
            (-0.000_000_5, -1),
            (3.333_333_333, 3_333_333),
            (0.999_999_9, 1_000_000),
        ] {
            assert_eq!(Amount::nearest(number).unwrap().millionths(), millionths);
            assert_eq!(Amount::exactly(number), Err(AmountError::Decimals));
        }
    }

    #[test]
    fn texts_are_read_exactly() {
        for (text, millionths) in [
            ("0", 0),
            ("-0.0", 0),
            ("007", 7_000_000),
            ("-2.50000000", -2_500_000),
            ("999999999999.999999", 999_999_999_999_999_999),
            ("-1000000000000", -1_000_000_000_000_000_000),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount.millionths(), millionths);
            assert_eq!(amount.to_string().parse(), Ok(amount));
        }
        for (text, error) in [
            ("", AmountError::Form),
            ("-", AmountError::Form),
            ("1.", AmountError::Form),
            (".5", AmountError::Form),
            ("1e3", AmountError::Form),
            ("--1", AmountError::Form),
            ("+1", AmountError::Form),
            ("0.0000001", AmountError::Decimals),
            ("1000000000000.000001", AmountError::Range),
            ("99999999999999999999", AmountError::Range),
        ] {
            assert_eq!(text.parse::<Amount>(), Err(error), "{text}");
        }
    }

    #[test]
    fn amounts_end_at_a_trillion() {
        for number in [1_000_000_000_000.01, -1e13, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(Amount::nearest(number), Err(AmountError::Range));
        }
        assert_eq!(Amount::whole(i64::MAX), Err(AmountError::Range));
        assert_eq!(Amount::whole(1_000_000_000_000), Ok(Amount::MAX));
        assert_eq!(Amount::MAX.as_whole(), Some(1_000_000_000_000));
        assert_eq!(Amount::nearest(0.5).unwrap().as_whole(), None);
    }
}
