//! Names, values and times.

use std::collections::BTreeSet;

use crate::api::error::ApiError;
use crate::model::{
    EventName, Finite, NameError, PopulationName, PropertyName, RequestId, SegmentName, Span,
    StreamId, Text, Timestamp, UserId, Value, ValueType,
};
use crate::population::ValueCount;
use crate::proto::{self, value::Kind};

use super::Path;

const MICROS_PER_SECOND: i64 = 1_000_000;
const NANOS_PER_MICRO: i32 = 1_000;
const NANOS_PER_SECOND: i32 = 1_000_000_000;

pub(super) fn name_error(path: &Path<'_>, error: &NameError) -> ApiError {
    match error {
        NameError::TooLong(exceeded) => ApiError::limit(path, exceeded),
        NameError::Empty | NameError::Character { .. } => ApiError::field(path, error),
    }
}

/// A population's name; none is `default`.
pub(in crate::api) fn population_name(text: String) -> Result<PopulationName, ApiError> {
    if text.is_empty() {
        return Ok(PopulationName::default());
    }
    PopulationName::new(text).map_err(|error| name_error(&Path::Root.field("population"), &error))
}

pub(in crate::api) fn user_id(
    text: impl Into<Box<str>>,
    path: &Path<'_>,
) -> Result<UserId, ApiError> {
    UserId::new(text).map_err(|error| name_error(path, &error))
}

/// The id of a request, if it has one.
pub(in crate::api) fn request_id(
    text: String,
    path: &Path<'_>,
) -> Result<Option<RequestId>, ApiError> {
    let given = (!text.is_empty()).then_some(text);
    let id = given.map(RequestId::new).transpose();
    id.map_err(|error| name_error(path, &error))
}

/// The id of a stream, if it has one.
pub(in crate::api) fn stream_id(
    text: String,
    path: &Path<'_>,
) -> Result<Option<StreamId>, ApiError> {
    let given = (!text.is_empty()).then_some(text);
    let id = given.map(StreamId::new).transpose();
    id.map_err(|error| name_error(path, &error))
}

pub(in crate::api) fn segment_name(
    text: impl Into<Box<str>>,
    path: &Path<'_>,
) -> Result<SegmentName, ApiError> {
    SegmentName::new(text).map_err(|error| name_error(path, &error))
}

pub(in crate::api) fn event_name(
    text: impl Into<Box<str>>,
    path: &Path<'_>,
) -> Result<EventName, ApiError> {
    EventName::new(text).map_err(|error| name_error(path, &error))
}

pub(in crate::api) fn property_name(
    text: impl Into<Box<str>>,
    path: &Path<'_>,
) -> Result<PropertyName, ApiError> {
    PropertyName::new(text).map_err(|error| name_error(path, &error))
}

pub(super) fn text(text: String, path: &Path<'_>) -> Result<Text, ApiError> {
    Text::new(text).map_err(|exceeded| ApiError::limit(path, &exceeded))
}

/// A value, or `None` for a null.
pub(in crate::api) fn value(
    value: proto::Value,
    path: &Path<'_>,
) -> Result<Option<Value>, ApiError> {
    let Some(kind) = value.kind else {
        return Err(ApiError::field(
            path,
            "has no value; set one kind of value, such as {\"string_value\": \"FR\"}",
        ));
    };
    Ok(Some(match kind {
        Kind::NullValue(_) => return Ok(None),
        Kind::BoolValue(value) => Value::Bool(value),
        Kind::StringValue(value) => Value::String(text(value, path)?),
        Kind::StringSetValue(set) => {
            let elements = path.field("elements");
            let texts = set.elements.into_iter().enumerate();
            let texts = texts.map(|(position, element)| text(element, &elements.index(position)));
            Value::StringSet(texts.collect::<Result<BTreeSet<_>, _>>()?)
        }
        Kind::Int64Value(value) => Value::Int64(value),
        Kind::DoubleValue(value) => Value::Double(finite(value, path)?),
        Kind::TimestampValue(value) => Value::Timestamp(timestamp(value, path)?),
        Kind::VersionValue(value) => {
            Value::Version(value.parse().map_err(|error| version_error(path, &error))?)
        }
    }))
}

fn version_error(path: &Path<'_>, error: &crate::model::VersionError) -> ApiError {
    use crate::model::VersionError;
    match error {
        VersionError::TooLong(exceeded) => ApiError::limit(path, exceeded),
        VersionError::Numbers { .. } | VersionError::Identifier { .. } => {
            ApiError::field(path, error)
        }
    }
}

fn finite(number: f64, path: &Path<'_>) -> Result<Finite, ApiError> {
    Finite::new(number).ok_or_else(|| {
        let given = if number.is_nan() {
            "NaN"
        } else if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        };
        ApiError::field(path, format!("expected a finite number, found {given}"))
    })
}

/// An instant; what is finer than a microsecond is cut off.
pub(in crate::api) fn timestamp(
    message: prost_types::Timestamp,
    path: &Path<'_>,
) -> Result<Timestamp, ApiError> {
    if !(0..NANOS_PER_SECOND).contains(&message.nanos) {
        return Err(ApiError::field(
            path,
            format!(
                "expected nanos from 0 to 999,999,999, found {}",
                message.nanos
            ),
        ));
    }
    // Out of i64 is far out of range, too.
    let micros = message
        .seconds
        .saturating_mul(MICROS_PER_SECOND)
        .saturating_add(i64::from(message.nanos / NANOS_PER_MICRO));
    Timestamp::from_micros(micros).map_err(|error| ApiError::field(path, error))
}

/// A span; what is finer than a microsecond is cut off.
pub(super) fn span(message: prost_types::Duration, path: &Path<'_>) -> Result<Span, ApiError> {
    let (seconds, nanos) = (message.seconds, i64::from(message.nanos));
    let one_sign = seconds.signum() * nanos.signum() >= 0;
    if !one_sign || nanos.abs() > 999_999_999 {
        return Err(ApiError::field(
            path,
            "expected nanos from -999,999,999 to 999,999,999 with the sign of the seconds",
        ));
    }
    let micros = seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1_000);
    Span::from_micros(micros).map_err(|error| ApiError::field(path, error))
}

pub(crate) fn timestamp_message(timestamp: Timestamp) -> prost_types::Timestamp {
    let micros = timestamp.micros();
    let nanos = micros.rem_euclid(MICROS_PER_SECOND) * i64::from(NANOS_PER_MICRO);
    prost_types::Timestamp {
        seconds: micros.div_euclid(MICROS_PER_SECOND),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

pub(in crate::api) fn duration_message(elapsed: std::time::Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(elapsed.subsec_nanos()).unwrap_or_default(),
    }
}

pub(super) fn span_message(span: Span) -> prost_types::Duration {
    let micros = span.micros();
    let nanos = micros % MICROS_PER_SECOND * i64::from(NANOS_PER_MICRO);
    prost_types::Duration {
        seconds: micros / MICROS_PER_SECOND,
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

pub(crate) fn value_message(value: Value) -> proto::Value {
    let kind = match value {
        Value::Bool(value) => Kind::BoolValue(value),
        Value::String(text) => Kind::StringValue(text.as_str().into()),
        Value::StringSet(elements) => Kind::StringSetValue(proto::StringSet {
            elements: elements.iter().map(|text| text.as_str().into()).collect(),
        }),
        Value::Int64(number) => Kind::Int64Value(number),
        Value::Double(number) => Kind::DoubleValue(number.get()),
        Value::Timestamp(timestamp) => Kind::TimestampValue(timestamp_message(timestamp)),
        Value::Version(version) => Kind::VersionValue(version.to_string()),
    };
    proto::Value { kind: Some(kind) }
}

pub(in crate::api) fn value_count_message(counted: ValueCount) -> proto::ValueCount {
    proto::ValueCount {
        value: Some(value_message(counted.value)),
        count: counted.count,
    }
}

/// A span in seconds, as near as a double comes.
#[expect(clippy::cast_precision_loss, reason = "an approximate figure")]
pub(in crate::api) fn seconds(span: Span) -> f64 {
    span.micros() as f64 / MICROS_PER_SECOND as f64
}

/// A property's type, which must be given.
pub(in crate::api) fn value_type(number: i32, path: &Path<'_>) -> Result<ValueType, ApiError> {
    use proto::ValueType as Message;
    Ok(match Message::try_from(number) {
        Ok(Message::Bool) => ValueType::Bool,
        Ok(Message::String) => ValueType::String,
        Ok(Message::StringSet) => ValueType::StringSet,
        Ok(Message::Int64) => ValueType::Int64,
        Ok(Message::Double) => ValueType::Double,
        Ok(Message::Timestamp) => ValueType::Timestamp,
        Ok(Message::Version) => ValueType::Version,
        Ok(Message::Unspecified) | Err(_) => {
            return Err(ApiError::field(
                path,
                "expected a type of values, such as VALUE_TYPE_STRING",
            ));
        }
    })
}

pub(in crate::api) fn value_type_message(value_type: ValueType) -> proto::ValueType {
    use proto::ValueType as Message;
    match value_type {
        ValueType::Bool => Message::Bool,
        ValueType::String => Message::String,
        ValueType::StringSet => Message::StringSet,
        ValueType::Int64 => Message::Int64,
        ValueType::Double => Message::Double,
        ValueType::Timestamp => Message::Timestamp,
        ValueType::Version => Message::Version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::generate::{self, Choices};

    fn refused(kind: Kind) -> String {
        let path = Path::Root.field("set");
        let message = proto::Value { kind: Some(kind) };
        let error = value(message, &path.key("x")).unwrap_err();
        assert!(error.field.as_deref().unwrap().starts_with("set[\"x\"]"));
        error.message
    }

    #[test]
    fn any_value_comes_back_as_it_was() {
        for value_type in ValueType::ALL {
            for seed in 0..200 {
                let bytes = generate::bytes(seed, 32);
                let word = generate::value(&mut Choices::new(&bytes), value_type);
                let back = value(value_message(word.clone()), &Path::Root).unwrap();
                assert_eq!(back, Some(word), "seed {seed}");
            }
        }
    }

    #[test]
    fn types_come_back_as_they_were() {
        for word in ValueType::ALL {
            let message = value_type_message(word) as i32;
            assert_eq!(value_type(message, &Path::Root).unwrap(), word);
        }
        for bad in [0, -1, 8] {
            assert!(value_type(bad, &Path::Root).is_err());
        }
    }

    #[test]
    fn a_null_is_no_value_and_no_kind_is_an_error() {
        let null = proto::Value {
            kind: Some(Kind::NullValue(0)),
        };
        assert_eq!(value(null, &Path::Root).unwrap(), None);
        assert!(value(proto::Value { kind: None }, &Path::Root).is_err());
    }

    #[test]
    fn numbers_are_finite() {
        for (bad, shown) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(
                refused(Kind::DoubleValue(bad)),
                format!("expected a finite number, found {shown}")
            );
        }
    }

    #[test]
    fn what_is_too_long_or_malformed_is_refused() {
        assert!(refused(Kind::StringValue("x".repeat(1_025))).contains("text_bytes"));
        assert!(refused(Kind::VersionValue("v1".into())).contains("no version"));
        let set = proto::StringSet {
            elements: vec!["a".into(), "x".repeat(1_025)],
        };
        assert!(refused(Kind::StringSetValue(set)).contains("text_bytes"));
        for (seconds, nanos) in [
            (0, -1),
            (0, 1_000_000_000),
            (i64::MAX, 0),
            (i64::MIN, 0),
            (253_402_300_800, 0),
        ] {
            refused(Kind::TimestampValue(prost_types::Timestamp {
                seconds,
                nanos,
            }));
        }
    }

    #[test]
    fn time_is_cut_to_the_microsecond() {
        let message = prost_types::Timestamp {
            seconds: -1,
            nanos: 999_999_999,
        };
        assert_eq!(timestamp(message, &Path::Root).unwrap().micros(), -1);
    }
}
