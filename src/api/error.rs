//! Why a call, or one item of it, is not answered: a stable reason, a sentence for people, the
//! field at fault and the facts.
//!
//! Invariant: texts name properties and positions, never the value of a property of a user.

use std::fmt::{Debug, Display};
use std::time::Duration;

use crate::engine::{CommitError, Crowded, QueryFailed, SnapshotError};
use crate::filter::FilterError;
use crate::model::{EventName, LimitExceeded, PropertyName, Reason, SegmentName};
use crate::population::{Refusal, ValuesError};
use crate::query::{BindError, Stopped};

use super::convert::{Origins, Path};

/// The fact that names what may have been meant.
const SUGGESTIONS: &str = "suggestions";
/// How texts begin to name it.
const DID_YOU_MEAN: &str = "; did you mean ";

/// Why a call, or one item of it, is not answered.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// The path of the field at fault, as in `updates[3].set["age"]`.
    pub(super) field: Option<String>,
    /// Machine-readable facts, by name.
    pub(super) facts: Vec<(&'static str, String)>,
    /// How soon to try again, if something else is known than what the reason says.
    pub(super) retry_after: Option<Duration>,
}

impl ApiError {
    pub(super) fn new(reason: Reason, message: impl Display) -> Self {
        Self {
            reason,
            message: message.to_string(),
            field: None,
            facts: Vec::new(),
            retry_after: None,
        }
    }

    /// A malformed field.
    pub(super) fn field(path: &Path<'_>, message: impl Display) -> Self {
        Self::new(Reason::InvalidField, message).at(path)
    }

    /// A field beyond a limit of one request.
    pub(super) fn limit(path: &Path<'_>, exceeded: &LimitExceeded) -> Self {
        Self::new(Reason::RequestLimitExceeded, exceeded)
            .exceeding(exceeded)
            .at(path)
    }

    /// Says it in other words.
    pub(super) fn saying(mut self, message: impl Display) -> Self {
        self.message = message.to_string();
        self
    }

    /// Says which field is at fault.
    pub(super) fn at(mut self, path: impl Display) -> Self {
        self.field = Some(path.to_string());
        self
    }

    pub(super) fn fact(mut self, name: &'static str, value: impl Display) -> Self {
        self.facts.push((name, value.to_string()));
        self
    }

    fn exceeding(self, exceeded: &LimitExceeded) -> Self {
        self.fact("limit", exceeded.limit.name)
            .fact("allowed", exceeded.allowed)
            .fact("given", exceeded.given)
    }

    /// Names that the caller may have meant.
    pub(super) fn suggesting(self, names: &[impl Display]) -> Self {
        if names.is_empty() {
            return self;
        }
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.fact(SUGGESTIONS, names.join(", "))
    }

    /// Leaves out names that may have been meant.
    pub(super) fn without_suggestions(mut self) -> Self {
        if let Some(end) = self.message.find(DID_YOU_MEAN) {
            self.message.truncate(end);
        }
        self.facts.retain(|(name, _)| *name != SUGGESTIONS);
        self
    }

    pub(super) fn deadline() -> Self {
        Self::new(
            Reason::DeadlineExceeded,
            "the time given for the call ran out before the answer was known; allow more time",
        )
    }

    pub(super) fn overloaded() -> Self {
        Self::new(
            Reason::Overloaded,
            "too many queries wait already; try again after a moment",
        )
    }

    pub(super) fn unread(patience: Duration) -> Self {
        Self::new(
            Reason::DeadlineExceeded,
            format!(
                "nothing was read of the answer for {patience:?}, so it was ended; read on while it is sent, and go on from where a stream was"
            ),
        )
    }

    pub(super) fn starting() -> Self {
        Self::new(
            Reason::NotServing,
            "the service is starting: it reads what it keeps; try again after a moment",
        )
    }

    pub(super) fn stopping() -> Self {
        Self::new(
            Reason::NotServing,
            "the service is stopping; try again, here or elsewhere",
        )
    }

    pub(super) fn property_not_found(name: &PropertyName, near: &[PropertyName]) -> Self {
        let help = did_you_mean(near);
        Self::new(
            Reason::PropertyNotFound,
            format!("property {name:?} does not exist{help}"),
        )
        .fact("property", name)
        .suggesting(near)
    }

    pub(super) fn event_not_found(name: &EventName, near: &[EventName]) -> Self {
        let help = did_you_mean(near);
        Self::new(
            Reason::EventNotFound,
            format!("event {name:?} does not exist{help}"),
        )
        .fact("event", name)
        .suggesting(near)
    }

    pub(super) fn segment_not_found(name: &SegmentName, near: &[SegmentName]) -> Self {
        let help = did_you_mean(near);
        Self::new(
            Reason::SegmentNotFound,
            format!("segment {name:?} does not exist{help}"),
        )
        .fact("segment", name)
        .suggesting(near)
    }

    /// A refused write, with the field that the refused change came from.
    pub(super) fn refused_write(error: CommitError, origins: &Origins, root: &Path<'_>) -> Self {
        let field = match &error {
            CommitError::Refused(Refusal::RequestIdReused) => {
                Some(Path::Field(root, "request_id").to_string())
            }
            CommitError::Refused(Refusal::SequenceConflict { .. }) => {
                Some(Path::Field(root, "sequence").to_string())
            }
            CommitError::Refused(refusal) | CommitError::RefusedBefore(refusal) => {
                origins.field(refusal.update(), refusal.property(), root)
            }
            CommitError::ReadOnly { .. }
            | CommitError::Full { .. }
            | CommitError::Stopping
            | CommitError::Overloaded(_) => None,
        };
        let api: Self = error.into();
        match field {
            Some(field) => api.at(field),
            None => api,
        }
    }
}

/// Asks whether another name was meant, if there are any like the one given.
fn did_you_mean(near: &[impl Debug]) -> String {
    let quoted: Vec<String> = near.iter().map(|name| format!("{name:?}")).collect();
    if quoted.is_empty() {
        String::new()
    } else {
        format!("{DID_YOU_MEAN}{}?", quoted.join(" or "))
    }
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        let api = Self::new(error.reason(), &error)
            .fact("line", error.line())
            .fact("column", error.column());
        match error {
            FilterError::Syntax(syntax) => api
                .fact("expected", syntax.expected)
                .fact("found", syntax.found),
            FilterError::Limit { exceeded, .. } => api.exceeding(&exceeded),
        }
    }
}

impl From<BindError> for ApiError {
    fn from(error: BindError) -> Self {
        let (kind, name) = error.subject();
        let api = Self::new(error.reason(), &error).fact(kind, name);
        match error {
            BindError::UnknownProperty { suggestions, .. } => api.suggesting(&suggestions),
            BindError::UnknownEvent { suggestions, .. } => api.suggesting(&suggestions),
            BindError::UnknownSegment { suggestions, .. } => api.suggesting(&suggestions),
            BindError::TooManyUnits { exceeded } => {
                Self::new(Reason::RequestLimitExceeded, &exceeded).exceeding(&exceeded)
            }
            BindError::TooLarge { exceeded } => api.exceeding(&exceeded),
            BindError::BeyondRetention { kept_from, .. } => api.fact("kept_from", kept_from),
            BindError::LiteralType {
                expected, given, ..
            } => api.fact("expected", expected).fact("given", given),
            BindError::Inexact { number, .. } => {
                api.fact("expected", "double").fact("given", number)
            }
            BindError::Operator {
                value_type,
                operator,
                ..
            } => api.fact("expected", value_type).fact("given", operator),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let mut api = Self::new(refusal.reason(), &refusal);
        if let Some(property) = refusal.property() {
            api = api.fact("property", property);
        }
        match refusal {
            Refusal::TypeConflict {
                expected, given, ..
            } => api.fact("expected", expected).fact("given", given),
            Refusal::Inexact { .. } => api.fact("expected", "double").fact("given", "int64"),
            Refusal::SetTooLarge { exceeded, .. }
            | Refusal::TooManyValues { exceeded, .. }
            | Refusal::TooManyProperties { exceeded, .. }
            | Refusal::TooManyUsers { exceeded }
            | Refusal::TooManyPopulations { exceeded }
            | Refusal::TooManyEvents { exceeded } => api.exceeding(&exceeded),
            Refusal::TooManyEventNames { event, exceeded } => {
                api.fact("event", event).exceeding(&exceeded)
            }
            Refusal::TooManySegments { segment, exceeded }
            | Refusal::TooManyLists { segment, exceeded }
            | Refusal::SegmentTooLarge { segment, exceeded } => {
                api.fact("segment", segment).exceeding(&exceeded)
            }
            Refusal::SegmentExists { segment }
            | Refusal::SegmentNotFound { segment }
            | Refusal::UnknownSegment { segment }
            | Refusal::SegmentChanged { segment }
            | Refusal::SegmentInUse { segment }
            | Refusal::SegmentCycle { segment }
            | Refusal::SegmentIsList { segment }
            | Refusal::SegmentIsNoList { segment }
            | Refusal::FreezeConflict { segment } => api.fact("segment", segment),
            Refusal::EventExists { event } | Refusal::EventNotFound { event } => {
                api.fact("event", event)
            }
            Refusal::OutOfRange { value_type, .. } | Refusal::PropertyExists { value_type, .. } => {
                api.fact("type", value_type)
            }
            Refusal::SequenceConflict { last, .. } => api.fact("last_sequence", last),
            Refusal::PropertyNotFound { .. } | Refusal::RequestIdReused => api,
        }
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(refusal) => refusal.into(),
            CommitError::RefusedBefore(refusal) => Self::from(refusal).fact("replayed", true),
            CommitError::Overloaded(Crowded { retry_after }) => Self {
                retry_after: Some(retry_after),
                ..Self::new(Reason::Overloaded, error).fact("limit", "write_wait")
            },
            error @ (CommitError::ReadOnly { .. }
            | CommitError::Full { .. }
            | CommitError::Stopping) => Self::new(error.reason(), error),
        }
    }
}

impl From<ValuesError> for ApiError {
    fn from(error: ValuesError) -> Self {
        let api = |reason| Self::new(reason, &error);
        match &error {
            ValuesError::NotFound { property } => {
                api(Reason::PropertyNotFound).fact("property", property)
            }
            ValuesError::Type {
                property,
                value_type,
            } => api(Reason::InvalidField)
                .fact("property", property)
                .fact("type", value_type)
                .at("property"),
        }
    }
}

impl From<Stopped> for ApiError {
    fn from(_: Stopped) -> Self {
        Self::deadline()
    }
}

impl From<Crowded> for ApiError {
    fn from(Crowded { retry_after }: Crowded) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::overloaded().fact("limit", "query_wait")
        }
    }
}

impl From<QueryFailed> for ApiError {
    fn from(error: QueryFailed) -> Self {
        Self::new(Reason::Internal, error)
    }
}

impl From<SnapshotError> for ApiError {
    fn from(error: SnapshotError) -> Self {
        Self::new(error.reason(), error)
    }
}
