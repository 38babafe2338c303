//! Why an expression can't be asked of a population.

use crate::model::{
    EventName, LimitExceeded, PropertyName, Reason, SegmentName, Timestamp, ValueType,
};

/// Why an expression can't be asked of a population.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// There is no such property.
    #[error("property {property:?} does not exist{}", did_you_mean(.suggestions))]
    UnknownProperty {
        /// The property.
        property: PropertyName,
        /// Names like it, the nearest first.
        suggestions: Vec<PropertyName>,
    },
    /// There is no such event.
    #[error("event {event:?} does not exist{}", did_you_mean(.suggestions))]
    UnknownEvent {
        /// The event.
        event: EventName,
        /// Names like it, the nearest first.
        suggestions: Vec<EventName>,
    },
    /// There is no such segment.
    #[error("segment {segment:?} does not exist{}", did_you_mean(.suggestions))]
    UnknownSegment {
        /// The segment.
        segment: SegmentName,
        /// Names like it, the nearest first.
        suggestions: Vec<SegmentName>,
    },
    /// Windows reach over too many days, weeks or months of a zone to tell them apart.
    #[error("{exceeded}; ask for shorter windows, or for days in UTC, which are not limited")]
    TooManyUnits {
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// With all segments in it, it has too many nodes or values.
    #[error(
        "{exceeded}, with all segments that are asked for; ask for fewer of them, or for less at a time"
    )]
    TooLarge {
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// A window reaches back to events that are not kept any more.
    #[error(
        "the window begins at {from}, but events {event:?} are kept from {kept_from} on; ask for a shorter window, or leave it out to ask of all that are kept"
    )]
    BeyondRetention {
        /// The event.
        event: EventName,
        /// Where the window begins.
        from: Timestamp,
        /// From when on events are kept.
        kept_from: Timestamp,
    },
    /// A literal does not fit the property's type.
    #[error("property {property:?} is of type {expected}, so it can't be compared with a {given}{}", hint(*.expected))]
    LiteralType {
        /// The property.
        property: PropertyName,
        /// Its type.
        expected: ValueType,
        /// The literal's type.
        given: ValueType,
    },
    /// A whole number can't be compared exactly with a property of type double.
    #[error(
        "property {property:?} is of type double, which can't hold {number} exactly; write a number with a point"
    )]
    Inexact {
        /// The property.
        property: PropertyName,
        /// The number.
        number: i64,
    },
    /// The operator is not one of the property's type.
    #[error(
        "property {property:?} is of type {value_type}, which has no operator {operator}; {way_out}"
    )]
    Operator {
        /// The property.
        property: PropertyName,
        /// Its type.
        value_type: ValueType,
        /// The operator.
        operator: String,
        /// What to use.
        way_out: &'static str,
    },
}

fn did_you_mean(suggestions: &[impl std::fmt::Debug]) -> String {
    let names: Vec<String> = suggestions.iter().map(|name| format!("{name:?}")).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", names.join(" or "))
    }
}

fn hint(expected: ValueType) -> &'static str {
    match expected {
        ValueType::Bool => "; write TRUE or FALSE",
        ValueType::String => "; write a text such as 'FR'",
        ValueType::StringSet => "; use HAS ANY, HAS ALL or HAS NONE with texts",
        ValueType::Int64 => "; write a whole number",
        ValueType::Double => "; write a number",
        ValueType::Timestamp => {
            "; write TIMESTAMP '2026-01-31T00:00:00Z', DATE '2026-01-31' or now() - 30d"
        }
        ValueType::Version => "; write VERSION '2.10'",
    }
}

impl BindError {
    /// The stable cause.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnknownProperty { .. } => Reason::UnknownProperty,
            Self::UnknownEvent { .. } => Reason::UnknownEvent,
            Self::UnknownSegment { .. } => Reason::UnknownSegment,
            Self::BeyondRetention { .. } => Reason::BeyondRetention,
            Self::TooManyUnits { .. } | Self::TooLarge { .. } => Reason::RequestLimitExceeded,
            Self::LiteralType { .. } | Self::Inexact { .. } | Self::Operator { .. } => {
                Reason::PredicateType
            }
        }
    }

    /// Whether what was asked is nothing that can be asked of the property's type.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        matches!(self, Self::Operator { .. })
    }

    /// What is at fault, such as `property` or `event`, and its name.
    #[must_use]
    pub fn subject(&self) -> (&'static str, &str) {
        match self {
            Self::UnknownProperty { property, .. }
            | Self::LiteralType { property, .. }
            | Self::Inexact { property, .. }
            | Self::Operator { property, .. } => ("property", property.as_str()),
            Self::UnknownEvent { event, .. } | Self::BeyondRetention { event, .. } => {
                ("event", event.as_str())
            }
            Self::UnknownSegment { segment, .. } => ("segment", segment.as_str()),
            Self::TooManyUnits { exceeded } | Self::TooLarge { exceeded } => {
                ("limit", exceeded.limit.name)
            }
        }
    }
}
