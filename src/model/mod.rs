//! The words of Headcount: what every other room speaks in.
//!
//! Invariant: a value of one of these types is well-formed from the moment it exists, so that no
//! later step has to check it again. Nothing here does I/O, reads a clock, or knows of any other
//! room.

mod amount;
mod bucket;
mod calendar;
mod command;
mod digest;
mod edge;
mod event;
mod expression;
mod limits;
mod name;
mod near;
mod non_empty;
mod reason;
mod revision;
mod segment;
mod shape;
mod time;
mod value;
mod version;
mod zone;

pub use amount::{Amount, AmountError};
pub use bucket::{BucketError, BucketPredicate, BucketTest, Buckets, Salt};
pub use calendar::Interval;
pub use command::{Action, Change, Command, Once, Operation, PropertyDeclaration, UserUpdate};
pub use digest::{Digest, sha256};
pub use edge::{Edge, Edges};
pub use event::{
    CalendarUnit, Event, EventDeclaration, EventFault, EventMeasure, EventPredicate, EventTest,
    Instant, Measure, Measured, WhichEvent, Window,
};
pub use expression::{
    Comparison, Expression, ExpressionBudget, Mentioned, Operand, Predicate, Quantifier,
    RESERVED_WORDS, Test,
};
pub use limits::{Limit, LimitExceeded, StoreLimits, limit};
pub use name::{
    EventId, EventName, NameError, PopulationName, PropertyName, RequestId, SegmentName, StreamId,
    UserId,
};
pub use near::distance;
pub use non_empty::NonEmpty;
pub use reason::Reason;
pub use revision::Revision;
pub use segment::{
    FirstMembers, FrozenUsers, Labels, ListDeclaration, PastDefinition, SegmentChange,
    SegmentDeclaration,
};
pub use shape::Shape;
pub use time::{Span, SpanError, Timestamp, TimestampError};
pub use value::{CoercionError, Finite, Number, Text, Value, ValueType};
pub use version::{Version, VersionError};
pub use zone::{Zone, ZoneError};
