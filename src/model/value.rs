//! Typed values of properties, and the one table of what is coerced to what.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::limits::{LimitExceeded, limit};
use super::time::Timestamp;
use super::version::Version;

/// The type of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueType {
    /// True or false.
    Bool,
    /// Text.
    String,
    /// A set of texts.
    StringSet,
    /// A whole number.
    Int64,
    /// A finite floating point number.
    Double,
    /// An instant.
    Timestamp,
    /// A version number.
    Version,
}

impl ValueType {
    /// All types.
    pub const ALL: [Self; 7] = [
        Self::Bool,
        Self::String,
        Self::StringSet,
        Self::Int64,
        Self::Double,
        Self::Timestamp,
        Self::Version,
    ];

    /// Whether values have an order that `<` and its kin can use.
    #[must_use]
    pub const fn is_ordered(self) -> bool {
        matches!(
            self,
            Self::Int64 | Self::Double | Self::Timestamp | Self::Version
        )
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::String => "string",
            Self::StringSet => "string set",
            Self::Int64 => "int64",
            Self::Double => "double",
            Self::Timestamp => "timestamp",
            Self::Version => "version",
        })
    }
}

/// A text of at most 1,024 bytes of UTF-8: a string value or an element of a set.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Box<str>);

impl Text {
    /// Takes a text within the limit.
    ///
    /// # Errors
    /// [`LimitExceeded`] if it is longer than [`limit::TEXT_BYTES`].
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, LimitExceeded> {
        let text = text.into();
        limit::TEXT_BYTES.check(text.len() as u64)?;
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

impl fmt::Display for Text {
    /// Prints the text as a literal of the filter language: `'it''s'`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}

/// A finite number; never -0.0, so that equal numbers have equal bits.
#[derive(Clone, Copy, Debug)]
pub struct Finite(f64);

impl Finite {
    /// Takes a finite number, making 0.0 of -0.0; `None` for NaN and the infinities.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        // Adding 0.0 turns -0.0 into 0.0 and changes nothing else.
        number.is_finite().then_some(Self(number + 0.0))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Finite {}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Finite {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// A number that an increment adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// A whole number.
    Int64(i64),
    /// A finite number.
    Double(Finite),
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Int64(number) => Self::Int64(number),
            Number::Double(number) => Self::Double(number),
        }
    }
}

/// A typed value of a property, or of a literal in an expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// Text.
    String(Text),
    /// A set of texts; the empty set is the same as no value.
    StringSet(BTreeSet<Text>),
    /// A whole number.
    Int64(i64),
    /// A finite number.
    Double(Finite),
    /// An instant.
    Timestamp(Timestamp),
    /// A version number.
    Version(Version),
}

/// A value does not fit the type it is needed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoercionError {
    /// The value has another type, and is not coerced.
    #[error("expected {expected}, not {given}")]
    Type {
        /// The type needed.
        expected: ValueType,
        /// The type of the value.
        given: ValueType,
    },
    /// The whole number has no exact double.
    #[error("the whole number {number} can't be held exactly by a double")]
    Inexact {
        /// The number.
        number: i64,
    },
}

impl Value {
    /// The type of the value.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::StringSet(_) => ValueType::StringSet,
            Self::Int64(_) => ValueType::Int64,
            Self::Double(_) => ValueType::Double,
            Self::Timestamp(_) => ValueType::Timestamp,
            Self::Version(_) => ValueType::Version,
        }
    }

    /// The value as one of type `expected`. Only whole numbers are widened to doubles, where that
    /// is exact; nothing else is coerced.
    ///
    /// # Errors
    /// [`CoercionError`] if the value does not fit the type.
    pub fn coerced_to(self, expected: ValueType) -> Result<Self, CoercionError> {
        match (self, expected) {
            (Self::Int64(number), ValueType::Double) => exact_double(number).map(Self::Double),
            (value, expected) if value.value_type() == expected => Ok(value),
            (value, expected) => Err(CoercionError::Type {
                expected,
                given: value.value_type(),
            }),
        }
    }
}

fn exact_double(number: i64) -> Result<Finite, CoercionError> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "compared with the original below"
    )]
    let double = number as f64;
    // In i128, since 2^63 as a double is no i64.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a double made of an i64 fits an i128"
    )]
    let back = double as i128;
    match Finite::new(double) {
        Some(finite) if back == i128::from(number) => Ok(finite),
        _ => Err(CoercionError::Inexact { number }),
    }
}

impl fmt::Display for Value {
    /// Prints the value as a literal of the filter language; a set as a list in parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(true) => f.write_str("TRUE"),
            Self::Bool(false) => f.write_str("FALSE"),
            Self::String(text) => write!(f, "{text}"),
            Self::StringSet(elements) => {
                f.write_str("(")?;
                for (position, element) in elements.iter().enumerate() {
                    f.write_str(if position == 0 { "" } else { ", " })?;
                    write!(f, "{element}")?;
                }
                f.write_str(")")
            }
            Self::Int64(number) => write!(f, "{number}"),
            // Debug always prints a point or an exponent, so that it reads as a double again.
            Self::Double(number) => write!(f, "{:?}", number.get()),
            Self::Timestamp(timestamp) => write!(f, "TIMESTAMP '{timestamp}'"),
            Self::Version(version) => write!(f, "VERSION '{version}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_are_widened() {
        let double = |number| Value::Double(Finite::new(number).unwrap());
        assert_eq!(
            Value::Int64(3).coerced_to(ValueType::Double),
            Ok(double(3.0))
        );
        assert_eq!(
            double(3.0).coerced_to(ValueType::Int64),
            Err(CoercionError::Type {
                expected: ValueType::Int64,
                given: ValueType::Double
            })
        );
        assert!(Value::Bool(true).coerced_to(ValueType::Int64).is_err());
        assert!(
            Value::String(Text::new("2.9").unwrap())
                .coerced_to(ValueType::Version)
                .is_err()
        );
    }

    #[test]
    fn widening_is_exact_or_refused() {
        let limit = 1_i64 << 53;
        assert!(Value::Int64(limit).coerced_to(ValueType::Double).is_ok());
        assert!(Value::Int64(-limit).coerced_to(ValueType::Double).is_ok());
        assert!(Value::Int64(i64::MIN).coerced_to(ValueType::Double).is_ok());
        for inexact in [limit + 1, -limit - 1, i64::MAX] {
            assert_eq!(
                Value::Int64(inexact).coerced_to(ValueType::Double),
                Err(CoercionError::Inexact { number: inexact })
            );
        }
    }

    #[test]
    fn numbers_that_are_not_finite_do_not_exist() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Finite::new(bad).is_none());
        }
        assert_eq!(Finite::new(-0.0).unwrap().get().to_bits(), 0);
    }

    #[test]
    fn a_text_is_limited_by_bytes() {
        assert!(Text::new("x".repeat(1_024)).is_ok());
        assert!(Text::new("x".repeat(1_025)).is_err());
    }
}
