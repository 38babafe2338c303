//! Between values and what the index stores; the values of a property with their counts.

use super::Population;
use super::catalog::Property;
use crate::index::{Stored, double_from_key, double_to_key};
use crate::model::{Finite, PropertyName, Text, Timestamp, Value, ValueType};

/// Between so many values it is asked whether to go on.
const ASKED_EVERY: u32 = 1_024;

/// A value and how many users have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueCount {
    /// The value; of a string set, one element as a string.
    pub value: Value,
    /// How many users have it.
    pub count: u64,
}

/// Why the values of a property can't be listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// There is no such property.
    #[error("property {property:?} does not exist")]
    NotFound {
        /// The property.
        property: PropertyName,
    },
    /// Values of this type are not listed.
    #[error("property {property:?} is of type {value_type}, whose values can't be listed")]
    Type {
        /// The property.
        property: PropertyName,
        /// Its type.
        value_type: ValueType,
    },
}

/// The code of a bool.
pub(super) fn bool_code(value: bool) -> u32 {
    u32::from(value)
}

impl Property {
    /// The value that something stored stands for. `None` if it can't stand for any, which no
    /// history of commands leads to.
    #[must_use]
    pub fn value_of(&self, stored: &Stored) -> Option<Value> {
        match (stored, self.value_type()) {
            (Stored::Code(code), ValueType::Bool) => Some(Value::Bool(*code == bool_code(true))),
            (Stored::Code(code), ValueType::String | ValueType::StringSet | ValueType::Version) => {
                self.with_dictionary(|dictionary| self.value_of_text(dictionary.text(*code)?))?
            }
            (Stored::Codes(codes), ValueType::StringSet) => self.with_dictionary(|dictionary| {
                let texts = codes
                    .iter()
                    .map(|code| Text::new(dictionary.text(*code)?).ok());
                texts.collect::<Option<_>>().map(Value::StringSet)
            })?,
            (Stored::Number(number), ValueType::Int64) => Some(Value::Int64(*number)),
            (Stored::Number(key), ValueType::Double) => {
                Finite::new(double_from_key(*key)).map(Value::Double)
            }
            (Stored::Number(micros), ValueType::Timestamp) => {
                Timestamp::from_micros(*micros).ok().map(Value::Timestamp)
            }
            _ => None,
        }
    }

    fn value_of_text(&self, text: &str) -> Option<Value> {
        if self.value_type() == ValueType::Version {
            text.parse().ok().map(Value::Version)
        } else {
            Text::new(text).ok().map(Value::String)
        }
    }
}

/// The number that a value is stored as; `None` for values that have a code.
#[must_use]
pub(crate) fn number_of(value: &Value) -> Option<i64> {
    match value {
        Value::Int64(number) => Some(*number),
        Value::Double(number) => Some(double_to_key(number.get())),
        Value::Timestamp(timestamp) => Some(timestamp.micros()),
        Value::Bool(_) | Value::String(_) | Value::StringSet(_) | Value::Version(_) => None,
    }
}

impl Population {
    /// The values in use of a property of type bool, string, string set or version, in their
    /// order: at most `limit` of those that begin with `prefix` and come after `after`. There may be
    /// millions to look at: once `go_on` says no, what is returned is not all.
    ///
    /// # Errors
    /// [`ValuesError`] if there is no such property, or its values can't be listed.
    pub fn values(
        &self,
        property: &PropertyName,
        prefix: &str,
        after: Option<&Value>,
        limit: usize,
        go_on: impl Fn() -> bool,
    ) -> Result<Vec<ValueCount>, ValuesError> {
        let catalog = self.catalog();
        let Some(property) = catalog.get(property) else {
            return Err(ValuesError::NotFound {
                property: property.clone(),
            });
        };
        let is_listed = |value: &Value| after.is_none_or(|after| value > after);
        let mut codes: Vec<(Value, u32)> = match property.value_type() {
            ValueType::Bool => [false, true]
                .into_iter()
                .filter(|value: &bool| value.to_string().starts_with(prefix))
                .map(|value| (Value::Bool(value), bool_code(value)))
                .filter(|(value, _)| is_listed(value))
                .collect(),
            ValueType::String | ValueType::StringSet | ValueType::Version => property
                .with_dictionary(|dictionary| {
                    dictionary
                        .iter()
                        .take_while(|(code, _)| code % ASKED_EVERY != 0 || go_on())
                        .filter(|(_, text)| text.starts_with(prefix))
                        .filter_map(|(code, text)| Some((property.value_of_text(text)?, code)))
                        .filter(|(value, _)| is_listed(value))
                        .collect()
                })
                .unwrap_or_default(),
            value_type @ (ValueType::Int64 | ValueType::Double | ValueType::Timestamp) => {
                return Err(ValuesError::Type {
                    property: property.declaration().name.clone(),
                    value_type,
                });
            }
        };
        let counts = self.kept(|kept| {
            let with_counts = codes.drain(..).map(|(value, code)| ValueCount {
                value,
                count: kept.with_code(property.number(), code),
            });
            with_counts.filter(|counted| counted.count > 0).collect()
        });
        Ok(first(counts, limit))
    }
}

/// The first of some values in their order.
fn first(mut counts: Vec<ValueCount>, limit: usize) -> Vec<ValueCount> {
    if counts.len() > limit && limit > 0 {
        counts.select_nth_unstable_by(limit - 1, |a, b| a.value.cmp(&b.value));
    }
    counts.truncate(limit);
    counts.sort_unstable_by(|a, b| a.value.cmp(&b.value));
    counts
}
