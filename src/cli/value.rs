//! Protocol values as people and programs read them.

use serde_json::{Value as Json, json};

use crate::model;
use crate::proto::value::Kind;
use crate::proto::{Value, ValueType};

/// A value as text: as it would be in a CSV file.
pub(super) fn text(value: &Value) -> String {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => String::new(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::StringValue(text) | Kind::VersionValue(text)) => text.clone(),
        Some(Kind::StringSetValue(set)) => set.elements.join(", "),
        Some(Kind::Int64Value(number)) => number.to_string(),
        Some(Kind::DoubleValue(number)) => number.to_string(),
        Some(Kind::TimestampValue(timestamp)) => timestamp_text(timestamp),
    }
}

/// A value as JSON: sets as arrays, timestamps and versions as texts.
pub(super) fn json(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => json!(value),
        Some(Kind::StringValue(text) | Kind::VersionValue(text)) => json!(text),
        Some(Kind::StringSetValue(set)) => json!(set.elements),
        Some(Kind::Int64Value(number)) => json!(number),
        Some(Kind::DoubleValue(number)) => json!(number),
        Some(Kind::TimestampValue(timestamp)) => json!(timestamp_text(timestamp)),
    }
}

/// An instant in RFC 3339.
pub(super) fn timestamp_text(timestamp: &prost_types::Timestamp) -> String {
    let micros = timestamp
        .seconds
        .checked_mul(1_000_000)
        .and_then(|micros| micros.checked_add(i64::from(timestamp.nanos / 1_000)));
    match micros.map(model::Timestamp::from_micros) {
        Some(Ok(timestamp)) => timestamp.to_string(),
        Some(Err(_)) | None => format!("{} s", timestamp.seconds),
    }
}

/// An instant as the protocol has it.
pub(super) fn timestamp_message(timestamp: model::Timestamp) -> prost_types::Timestamp {
    let micros = timestamp.micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

/// A span as the protocol has it.
pub(super) fn span_message(span: model::Span) -> prost_types::Duration {
    let micros = span.micros();
    prost_types::Duration {
        seconds: micros / 1_000_000,
        nanos: i32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0),
    }
}

/// A span as it is given on the command line, such as 400d.
pub(super) fn span_text(span: &prost_types::Duration) -> String {
    let micros = span
        .seconds
        .checked_mul(1_000_000)
        .and_then(|micros| micros.checked_add(i64::from(span.nanos / 1_000)));
    match micros.map(model::Span::from_micros) {
        Some(Ok(span)) => span.to_string(),
        Some(Err(_)) | None => format!("{}s", span.seconds),
    }
}

/// The name of a type on the command line.
pub(super) fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Unspecified => "unspecified",
        ValueType::Bool => "bool",
        ValueType::String => "string",
        ValueType::StringSet => "string_set",
        ValueType::Int64 => "int64",
        ValueType::Double => "double",
        ValueType::Timestamp => "timestamp",
        ValueType::Version => "version",
    }
}

/// The type of a name on the command line.
pub(super) fn type_of_name(name: &str) -> Option<ValueType> {
    [
        ValueType::Bool,
        ValueType::String,
        ValueType::StringSet,
        ValueType::Int64,
        ValueType::Double,
        ValueType::Timestamp,
        ValueType::Version,
    ]
    .into_iter()
    .find(|value_type| type_name(*value_type) == name)
}
