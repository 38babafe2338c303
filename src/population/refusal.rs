//! Why a command was refused. Nothing was changed.

use crate::model::{EventName, LimitExceeded, PropertyName, Reason, SegmentName, ValueType};

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A value or an operation does not fit the property's type.
    #[error("property {property:?} is of type {expected}, so it can't take a {given}")]
    TypeConflict {
        /// The position of the update.
        update: usize,
        /// The property.
        property: PropertyName,
        /// The property's type.
        expected: ValueType,
        /// The type given, or the one that the operation needs.
        given: ValueType,
    },
    /// A whole number can't be held exactly by a property of type double.
    #[error(
        "property {property:?} is of type double, which can't hold {number} exactly; write a double"
    )]
    Inexact {
        /// The position of the update.
        update: usize,
        /// The property.
        property: PropertyName,
        /// The number.
        number: i64,
    },
    /// An increment would leave the range of the type.
    #[error("the increment would take property {property:?} out of the range of {value_type}")]
    OutOfRange {
        /// The position of the update.
        update: usize,
        /// The property.
        property: PropertyName,
        /// Its type.
        value_type: ValueType,
    },
    /// A set would have too many elements.
    #[error("property {property:?}: {exceeded}")]
    SetTooLarge {
        /// The position of the update.
        update: usize,
        /// The property.
        property: PropertyName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The property would have too many different values.
    #[error("property {property:?}: {exceeded}")]
    TooManyValues {
        /// The property.
        property: PropertyName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The population would have too many properties.
    #[error("property {property:?} would be one too many: {exceeded}")]
    TooManyProperties {
        /// The first property that is too many.
        property: PropertyName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The population would have too many users.
    #[error(transparent)]
    TooManyUsers {
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The store would have too many populations.
    #[error(transparent)]
    TooManyPopulations {
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The property to declare exists.
    #[error("property {property:?} exists already, with type {value_type}")]
    PropertyExists {
        /// The property.
        property: PropertyName,
        /// Its type.
        value_type: ValueType,
    },
    /// The property to delete does not exist.
    #[error("property {property:?} does not exist")]
    PropertyNotFound {
        /// The property.
        property: PropertyName,
    },
    /// The population would have too many events.
    #[error(transparent)]
    TooManyEvents {
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The population would have events of too many names.
    #[error("event {event:?} would be one too many: {exceeded}")]
    TooManyEventNames {
        /// The first name that is too many.
        event: EventName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The events to declare exist.
    #[error("event {event:?} exists already")]
    EventExists {
        /// The name.
        event: EventName,
    },
    /// There are no events of the name.
    #[error("event {event:?} does not exist")]
    EventNotFound {
        /// The name.
        event: EventName,
    },
    /// The population would have too many segments.
    #[error("segment {segment:?} would be one too many: {exceeded}")]
    TooManySegments {
        /// The segment.
        segment: SegmentName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The population would have too many static lists.
    #[error("static list {segment:?} would be one too many: {exceeded}")]
    TooManyLists {
        /// The segment.
        segment: SegmentName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// A definition would be too large, with all segments in it.
    #[error("segment {segment:?}, with all segments in it: {exceeded}")]
    SegmentTooLarge {
        /// The segment whose definition that is.
        segment: SegmentName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The segment to create exists.
    #[error("segment {segment:?} exists already")]
    SegmentExists {
        /// The segment.
        segment: SegmentName,
    },
    /// The segment to change does not exist.
    #[error("segment {segment:?} does not exist")]
    SegmentNotFound {
        /// The segment.
        segment: SegmentName,
    },
    /// A definition mentions a segment that does not exist.
    #[error("the definition mentions segment {segment:?}, which does not exist")]
    UnknownSegment {
        /// The segment.
        segment: SegmentName,
    },
    /// The segment was changed since.
    #[error("segment {segment:?} was changed since; read it again, and decide again")]
    SegmentChanged {
        /// The segment.
        segment: SegmentName,
    },
    /// Something is used by the definition of a segment.
    #[error("segment {segment:?} is defined by it; change or delete that first")]
    SegmentInUse {
        /// The segment that uses it.
        segment: SegmentName,
    },
    /// A segment would be defined by itself.
    #[error("segment {segment:?} would be defined by itself")]
    SegmentCycle {
        /// The segment.
        segment: SegmentName,
    },
    /// A static list has no definition that could be changed.
    #[error(
        "segment {segment:?} is a static list, which has no filter; add and remove members, or create another segment"
    )]
    SegmentIsList {
        /// The segment.
        segment: SegmentName,
    },
    /// The members of a segment that is defined by an expression follow from that.
    #[error(
        "segment {segment:?} is no static list: who is in it follows from its filter; change that, or create a static list"
    )]
    SegmentIsNoList {
        /// The segment.
        segment: SegmentName,
    },
    /// Users were erased, and others took their places, since the users to freeze were found.
    #[error(
        "users were erased, and others came, while the members of segment {segment:?} were being found; try again"
    )]
    FreezeConflict {
        /// The segment.
        segment: SegmentName,
    },
    /// The id of the request was used for another one.
    #[error(
        "the id was used for another request with other content; give every request an id of its own, and send the same content again with the same id"
    )]
    RequestIdReused,
    /// The batch does not follow the last one of its stream that was carried out.
    #[error(
        "the batch follows sequence {previous}, but the last one carried out is {last}: a batch in between was not carried out, another connection uses the stream, or the stream was forgotten; open the stream again to learn where to go on"
    )]
    SequenceConflict {
        /// The sequence that the batch follows.
        previous: u64,
        /// The last sequence that was carried out, 0 for none.
        last: u64,
    },
}

impl Refusal {
    /// The stable cause.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::TypeConflict { .. } => Reason::PropertyTypeConflict,
            Self::Inexact { .. } | Self::OutOfRange { .. } => Reason::NumberOutOfRange,
            Self::SetTooLarge { .. } | Self::SegmentTooLarge { .. } => Reason::RequestLimitExceeded,
            Self::TooManyValues { .. }
            | Self::TooManyProperties { .. }
            | Self::TooManyUsers { .. }
            | Self::TooManyPopulations { .. }
            | Self::TooManyEvents { .. }
            | Self::TooManyEventNames { .. }
            | Self::TooManySegments { .. }
            | Self::TooManyLists { .. } => Reason::StoreLimitExceeded,
            Self::SegmentExists { .. } => Reason::SegmentExists,
            Self::SegmentNotFound { .. } => Reason::SegmentNotFound,
            Self::UnknownSegment { .. } => Reason::UnknownSegment,
            Self::SegmentChanged { .. } => Reason::SegmentChanged,
            Self::SegmentInUse { .. } => Reason::SegmentInUse,
            Self::SegmentCycle { .. } => Reason::SegmentCycle,
            Self::SegmentIsList { .. } | Self::SegmentIsNoList { .. } => Reason::SegmentKind,
            Self::FreezeConflict { .. } => Reason::FreezeConflict,
            Self::PropertyExists { .. } => Reason::PropertyExists,
            Self::PropertyNotFound { .. } => Reason::PropertyNotFound,
            Self::EventExists { .. } => Reason::EventExists,
            Self::EventNotFound { .. } => Reason::EventNotFound,
            Self::RequestIdReused => Reason::RequestIdReused,
            Self::SequenceConflict { .. } => Reason::SequenceConflict,
        }
    }

    /// The segment at fault, or that stands in the way, if there is one.
    #[must_use]
    pub fn segment(&self) -> Option<&SegmentName> {
        match self {
            Self::TooManySegments { segment, .. }
            | Self::TooManyLists { segment, .. }
            | Self::SegmentTooLarge { segment, .. }
            | Self::SegmentExists { segment }
            | Self::SegmentNotFound { segment }
            | Self::UnknownSegment { segment }
            | Self::SegmentChanged { segment }
            | Self::SegmentInUse { segment }
            | Self::SegmentCycle { segment }
            | Self::SegmentIsList { segment }
            | Self::SegmentIsNoList { segment }
            | Self::FreezeConflict { segment } => Some(segment),
            Self::TypeConflict { .. }
            | Self::Inexact { .. }
            | Self::OutOfRange { .. }
            | Self::SetTooLarge { .. }
            | Self::TooManyValues { .. }
            | Self::TooManyProperties { .. }
            | Self::TooManyUsers { .. }
            | Self::TooManyPopulations { .. }
            | Self::TooManyEvents { .. }
            | Self::TooManyEventNames { .. }
            | Self::EventExists { .. }
            | Self::EventNotFound { .. }
            | Self::PropertyExists { .. }
            | Self::PropertyNotFound { .. }
            | Self::RequestIdReused
            | Self::SequenceConflict { .. } => None,
        }
    }

    /// The position of the update at fault, if it is one.
    #[must_use]
    pub fn update(&self) -> Option<usize> {
        match self {
            Self::TypeConflict { update, .. }
            | Self::Inexact { update, .. }
            | Self::OutOfRange { update, .. }
            | Self::SetTooLarge { update, .. } => Some(*update),
            Self::TooManyValues { .. }
            | Self::TooManyProperties { .. }
            | Self::TooManyUsers { .. }
            | Self::TooManyPopulations { .. }
            | Self::PropertyExists { .. }
            | Self::PropertyNotFound { .. }
            | Self::TooManyEvents { .. }
            | Self::TooManyEventNames { .. }
            | Self::EventExists { .. }
            | Self::EventNotFound { .. }
            | Self::TooManySegments { .. }
            | Self::SegmentTooLarge { .. }
            | Self::SegmentExists { .. }
            | Self::SegmentNotFound { .. }
            | Self::UnknownSegment { .. }
            | Self::SegmentChanged { .. }
            | Self::SegmentInUse { .. }
            | Self::SegmentCycle { .. }
            | Self::TooManyLists { .. }
            | Self::SegmentIsList { .. }
            | Self::SegmentIsNoList { .. }
            | Self::FreezeConflict { .. }
            | Self::RequestIdReused
            | Self::SequenceConflict { .. } => None,
        }
    }

    /// The property at fault, if it is one.
    #[must_use]
    pub fn property(&self) -> Option<&PropertyName> {
        match self {
            Self::TypeConflict { property, .. }
            | Self::Inexact { property, .. }
            | Self::OutOfRange { property, .. }
            | Self::SetTooLarge { property, .. }
            | Self::TooManyValues { property, .. }
            | Self::TooManyProperties { property, .. }
            | Self::PropertyExists { property, .. }
            | Self::PropertyNotFound { property, .. } => Some(property),
            Self::TooManyUsers { .. }
            | Self::TooManyPopulations { .. }
            | Self::TooManyEvents { .. }
            | Self::TooManyEventNames { .. }
            | Self::EventExists { .. }
            | Self::EventNotFound { .. }
            | Self::TooManySegments { .. }
            | Self::SegmentTooLarge { .. }
            | Self::SegmentExists { .. }
            | Self::SegmentNotFound { .. }
            | Self::UnknownSegment { .. }
            | Self::SegmentChanged { .. }
            | Self::SegmentInUse { .. }
            | Self::SegmentCycle { .. }
            | Self::TooManyLists { .. }
            | Self::SegmentIsList { .. }
            | Self::SegmentIsNoList { .. }
            | Self::FreezeConflict { .. }
            | Self::RequestIdReused
            | Self::SequenceConflict { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Action, Change, NonEmpty, Operation, Revision, StoreLimits, Text, UserId, UserUpdate, Value,
    };
    use crate::population::Population;

    fn set(user: &str, property: &str, value: Value) -> Action {
        let change = Change {
            property: PropertyName::new(property).unwrap(),
            operation: Operation::Set(value),
        };
        Action::Write(NonEmpty::one(UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: vec![change],
            events: Vec::new(),
        }))
    }

    fn texts(number: usize) -> Value {
        Value::StringSet(
            (0..number)
                .map(|n| Text::new(n.to_string()).unwrap())
                .collect(),
        )
    }

    #[test]
    fn limits_hold_at_their_edge_and_refused_writes_change_nothing() {
        let population = Population::new(StoreLimits {
            users: 2,
            properties: 3,
            distinct_values: 2,
            set_elements: 2,
            ..StoreLimits::default()
        });
        let apply = |action: &Action| population.apply(Revision::new(1), action);
        let text = |text: &str| Value::String(Text::new(text).unwrap());
        for accepted in [
            set("u1", "plan", text("free")),
            set("u2", "plan", text("pro")),
            set("u1", "tags", texts(2)),
            set("u1", "age", Value::Int64(1)),
        ] {
            apply(&accepted).unwrap();
        }
        let refused = |action: &Action| apply(action).unwrap_err();
        assert!(matches!(
            refused(&set("u3", "plan", text("free"))),
            Refusal::TooManyUsers { .. }
        ));
        assert!(matches!(
            refused(&set("u1", "plan", text("basic"))),
            Refusal::TooManyValues { .. }
        ));
        assert!(matches!(
            refused(&set("u1", "tags", texts(3))),
            Refusal::SetTooLarge { .. }
        ));
        assert!(matches!(
            refused(&set("u1", "city", text("Rome"))),
            Refusal::TooManyProperties { .. }
        ));
        assert_eq!(
            (population.user_count(), population.properties().len()),
            (2, 3)
        );
        // What goes out of use makes room.
        apply(&Action::Erase(UserId::new("u2").unwrap())).unwrap();
        apply(&set("u3", "plan", text("basic"))).unwrap();
        assert!(
            refused(&set("u3", "plan", text("pro")))
                .to_string()
                .contains("plan")
        );
    }

    #[test]
    fn no_configuration_exceeds_what_the_index_can_number() {
        let population = Population::new(StoreLimits {
            set_elements: u64::MAX,
            users: u64::MAX,
            distinct_values: u64::MAX,
            ..StoreLimits::default()
        });
        population
            .apply(Revision::new(1), &set("u", "tags", texts(65_535)))
            .unwrap();
        let refusal = population.apply(Revision::new(2), &set("u", "tags", texts(65_536)));
        assert!(matches!(refusal, Err(Refusal::SetTooLarge { .. })));
    }
}
