//! What the log records and `apply` executes.

use super::event::{Event, EventDeclaration};
use super::limits::StoreLimits;
use super::name::{
    EventName, PopulationName, PropertyName, RequestId, SegmentName, StreamId, UserId,
};
use super::non_empty::NonEmpty;
use super::revision::Revision;
use super::segment::{ListDeclaration, SegmentChange, SegmentDeclaration};
use super::time::Timestamp;
use super::value::{Number, Text, Value, ValueType};

/// What one request asks, atomically.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Something done to one population.
    Population {
        /// The population. It is created by the first command that names it and is accepted.
        name: PopulationName,
        /// By what it is known when it is sent again, if it is to take effect once.
        once: Option<Once>,
        /// What to do.
        action: Action,
    },
    /// Sets the limits by which later commands are judged.
    SetLimits(StoreLimits),
}

/// Something done to a population: all of it or nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Changes users, in this order.
    Write(NonEmpty<UserUpdate>),
    /// Erases a user; nothing happens if there is none.
    Erase(UserId),
    /// Declares a property.
    CreateProperty(PropertyDeclaration),
    /// Deletes a property with all its values.
    DeleteProperty(PropertyName),
    /// Declares the events of a name.
    CreateEvent(EventDeclaration),
    /// Declares the events of a name anew.
    UpdateEvent(EventDeclaration),
    /// Deletes all events of a name, and what was declared of them.
    DeleteEvent(EventName),
    /// Saves a segment under a new name.
    CreateSegment(Box<SegmentDeclaration>, Timestamp),
    /// Changes a segment.
    UpdateSegment(Box<SegmentChange>, Timestamp),
    /// Deletes a segment that no other one is defined by; with a revision, only if that is the one
    /// of its last change.
    DeleteSegment(SegmentName, Option<Revision>),
    /// Saves a static list of users as a segment under a new name.
    CreateList(Box<ListDeclaration>, Timestamp),
    /// Adds those of some users who exist to a static list.
    AddMembers(SegmentName, NonEmpty<UserId>),
    /// Removes users from a static list.
    RemoveMembers(SegmentName, NonEmpty<UserId>),
}

/// By what a command is known when it is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// By an id of its own.
    Request {
        /// The id.
        id: RequestId,
        /// Stands for what the command does: one that does something else has another.
        content: u64,
    },
    /// By its place in a stream of commands.
    Batch {
        /// The stream.
        stream: StreamId,
        /// The sequence that must be the last one carried out so far, 0 for none: that of the
        /// command before it in the stream.
        previous: u64,
        /// Its own, above that.
        sequence: u64,
    },
}

/// What is fixed about a property when it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyDeclaration {
    /// The name.
    pub name: PropertyName,
    /// The type of its values.
    pub value_type: ValueType,
    /// Whether texts match without regard to case. Only for strings and string sets.
    pub case_insensitive: bool,
}

/// The changes of one user, in this order. A user appears with the first update, even an empty one.
#[derive(Clone, Debug, PartialEq)]
pub struct UserUpdate {
    /// The user.
    pub user: UserId,
    /// The time of the values, if the caller gave one. Then all changes are `Set` or `Unset`.
    pub value_time: Option<Timestamp>,
    /// The changes. No property is named twice.
    pub changes: Vec<Change>,
    /// What the user did, in the order in which it is told.
    pub events: Vec<Event>,
}

/// One change of one property.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The property.
    pub property: PropertyName,
    /// What to do with its value.
    pub operation: Operation,
}

/// What to do with a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Replaces it. An empty set unsets it.
    Set(Value),
    /// Sets it if there is none.
    SetOnce(Value),
    /// Takes it away.
    Unset,
    /// Adds to it; a missing value counts as 0.
    Increment(Number),
    /// Adds elements to the set; a missing set counts as empty.
    AddToSet(NonEmpty<Text>),
    /// Removes elements from the set. A set without elements is not set.
    RemoveFromSet(NonEmpty<Text>),
}
