//! Rows to what the engine takes.

use headcount::model::{
    Action, Change, Finite, NonEmpty, Operation, PropertyName, Text, Timestamp, UserId, UserUpdate,
    Value,
};

use crate::world::{
    GENDERS, PLANS, Row, SYSTEMS, city_name, country_name, language_name, tag_name, user_id,
    version_name,
};

/// Properties in the order of [`Names`].
const PROPERTIES: [&str; 13] = [
    "country",
    "city",
    "plan",
    "os",
    "app_version",
    "language",
    "gender",
    "subscriber",
    "age",
    "amount",
    "signed_up",
    "last_seen",
    "tags",
];

pub struct Names([PropertyName; 13]);

fn text(text: impl Into<Box<str>>) -> Text {
    Text::new(text).expect("a short text")
}

fn seconds(seconds: i64) -> Value {
    Value::Timestamp(
        Timestamp::from_micros(seconds * 1_000_000).expect("an instant of this century"),
    )
}

impl Names {
    pub fn new() -> Self {
        Self(PROPERTIES.map(|name| PropertyName::new(name).expect("a good name")))
    }

    pub fn update(&self, number: u64, row: &Row) -> UserUpdate {
        let values = [
            Value::String(text(country_name(row.country))),
            Value::String(text(city_name(row.city))),
            Value::String(text(PLANS[row.plan].0)),
            Value::String(text(SYSTEMS[row.system].0)),
            Value::Version(version_name(row.app_version).parse().expect("a version")),
            Value::String(text(language_name(row.language))),
            Value::String(text(GENDERS[row.gender].0)),
            Value::Bool(row.subscriber),
            Value::Int64(row.age),
            Value::Double(Finite::new(row.amount as f64 / 100.0).expect("a finite amount")),
            seconds(row.signed_up),
            seconds(row.last_seen),
            Value::StringSet(row.tags.iter().map(|&tag| text(tag_name(tag))).collect()),
        ];
        let changes = self.0.iter().zip(values).map(|(property, value)| Change {
            property: property.clone(),
            operation: Operation::Set(value),
        });
        UserUpdate {
            user: UserId::new(user_id(number)).expect("a short id"),
            value_time: None,
            changes: changes.collect(),
            events: Vec::new(),
        }
    }

    pub fn write(&self, first: u64, rows: &[Row]) -> Action {
        let updates = (first..)
            .zip(rows)
            .map(|(number, row)| self.update(number, row));
        Action::Write(NonEmpty::new(updates.collect()).expect("some rows"))
    }
}
