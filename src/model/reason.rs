//! Stable causes of errors. The protocol's `ErrorReason` lists the same, with an example each.

/// Why a request failed, in the words that clients can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field of the request is malformed.
    InvalidField,
    /// The filter text does not follow the grammar.
    FilterSyntax,
    /// An expression names a property that does not exist.
    UnknownProperty,
    /// An expression names an event that does not exist.
    UnknownEvent,
    /// An expression uses a property against its type.
    PredicateType,
    /// A write gives a property a value of another type.
    PropertyTypeConflict,
    /// A number would leave its range.
    NumberOutOfRange,
    /// One request is larger than allowed.
    RequestLimitExceeded,
    /// The store would become larger than allowed.
    StoreLimitExceeded,
    /// The population does not exist.
    PopulationNotFound,
    /// The user does not exist.
    UserNotFound,
    /// The property does not exist.
    PropertyNotFound,
    /// The property exists already.
    PropertyExists,
    /// There are no events of the name.
    EventNotFound,
    /// Events of the name exist already.
    EventExists,
    /// An expression names a segment that does not exist.
    UnknownSegment,
    /// The segment does not exist.
    SegmentNotFound,
    /// The segment exists already.
    SegmentExists,
    /// The segment was changed since.
    SegmentChanged,
    /// Something is used by the definition of a segment.
    SegmentInUse,
    /// A segment would be defined by itself.
    SegmentCycle,
    /// A segment is a static list, or it is none, and the other is needed.
    SegmentKind,
    /// Users were erased, and others came, while a selection was frozen.
    FreezeConflict,
    /// A window reaches back to events that are not kept any more.
    BeyondRetention,
    /// The id of the request was used for another one.
    RequestIdReused,
    /// A batch of a stream does not follow the last one carried out.
    SequenceConflict,
    /// The page token is damaged or belongs to another request.
    PageTokenInvalid,
    /// The export is not kept any more.
    ExportNotFound,
    /// The revision is no revision of this store.
    RevisionInvalid,
    /// The client's time ran out.
    DeadlineExceeded,
    /// The service is starting or stopping.
    NotServing,
    /// The disk failed; writes are refused until a restart.
    StorageReadOnly,
    /// The disk is full; writes are refused until there is space.
    StorageFull,
    /// Too many requests wait already.
    Overloaded,
    /// It is not known who calls.
    Unauthenticated,
    /// The caller may not do that there.
    PermissionDenied,
    /// A fault of the service itself.
    Internal,
}
