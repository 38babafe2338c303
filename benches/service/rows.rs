//! Rows of the world as the protocol has them.

use headcount::proto::value::Kind;
use headcount::proto::{StringSet, UserUpdate, Value};

use crate::world::{
    GENDERS, PLANS, Row, SYSTEMS, city_name, country_name, language_name, tag_name, user_id,
    version_name,
};

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn text(text: impl Into<String>) -> Value {
    value(Kind::StringValue(text.into()))
}

fn seconds(seconds: i64) -> Value {
    value(Kind::TimestampValue(prost_types::Timestamp {
        seconds,
        nanos: 0,
    }))
}

/// A user with all 13 properties.
pub fn update(number: u64, row: &Row) -> UserUpdate {
    let tags = row.tags.iter().map(|&tag| tag_name(tag)).collect();
    let values = [
        ("country", text(country_name(row.country))),
        ("city", text(city_name(row.city))),
        ("plan", text(PLANS[row.plan].0)),
        ("os", text(SYSTEMS[row.system].0)),
        (
            "app_version",
            value(Kind::VersionValue(version_name(row.app_version))),
        ),
        ("language", text(language_name(row.language))),
        ("gender", text(GENDERS[row.gender].0)),
        ("subscriber", value(Kind::BoolValue(row.subscriber))),
        ("age", value(Kind::Int64Value(row.age))),
        (
            "amount",
            value(Kind::DoubleValue(row.amount as f64 / 100.0)),
        ),
        ("signed_up", seconds(row.signed_up)),
        ("last_seen", seconds(row.last_seen)),
        (
            "tags",
            value(Kind::StringSetValue(StringSet { elements: tags })),
        ),
    ];
    UserUpdate {
        user_id: user_id(number),
        set: values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        ..UserUpdate::default()
    }
}

/// Three new values of a user.
pub fn change(number: u64, step: u64) -> UserUpdate {
    let values = [
        ("plan", text(PLANS[(step % 4) as usize].0)),
        ("age", value(Kind::Int64Value(13 + (step % 70) as i64))),
        ("last_seen", seconds(crate::world::NOW + step as i64)),
    ];
    UserUpdate {
        user_id: user_id(number),
        set: values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        ..UserUpdate::default()
    }
}
