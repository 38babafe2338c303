//! The one table from causes to gRPC statuses.
//!
//! Invariant: every error that leaves the service is made here and carries an `ErrorInfo` with a
//! reason that clients can rely on. The table is exhaustive.

#![expect(
    clippy::disallowed_types,
    reason = "the one place where statuses are made"
)]

use std::collections::HashMap;
use std::time::Duration;

use tonic::codegen::http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::error::ApiError;
use super::notes;
use crate::model::{Reason, limit};
use crate::proto::{ErrorReason, ItemError};

/// What a call ends with when it is not answered.
pub type RpcStatus = Status;

/// The domain of all reasons.
const DOMAIN: &str = "headcount";

/// How many bytes of one text are sent: statuses travel in headers, which clients limit.
const SHOWN_BYTES: usize = 1_500;

/// How soon to try again when too much waits.
const OVERLOAD_DELAY: Duration = Duration::from_millis(250);
/// How soon to try again when the disk is full.
const FULL_DELAY: Duration = Duration::from_secs(10);
/// How soon to try again when the service starts or stops.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// What a reason is sent as.
struct Sent {
    code: Code,
    reason: ErrorReason,
    retry: Option<Duration>,
}

fn sent(reason: Reason) -> Sent {
    let (code, reason, retry) = match reason {
        Reason::InvalidField => (Code::InvalidArgument, ErrorReason::InvalidField, None),
        Reason::FilterSyntax => (Code::InvalidArgument, ErrorReason::FilterSyntax, None),
        Reason::UnknownProperty => (Code::InvalidArgument, ErrorReason::UnknownProperty, None),
        Reason::UnknownEvent => (Code::InvalidArgument, ErrorReason::UnknownEvent, None),
        Reason::PredicateType => (Code::InvalidArgument, ErrorReason::PredicateType, None),
        Reason::PropertyTypeConflict => (
            Code::FailedPrecondition,
            ErrorReason::PropertyTypeConflict,
            None,
        ),
        Reason::NumberOutOfRange => (
            Code::FailedPrecondition,
            ErrorReason::NumberOutOfRange,
            None,
        ),
        Reason::RequestLimitExceeded => (Code::InvalidArgument, ErrorReason::LimitExceeded, None),
        Reason::StoreLimitExceeded => (Code::ResourceExhausted, ErrorReason::LimitExceeded, None),
        Reason::PopulationNotFound => (Code::NotFound, ErrorReason::PopulationNotFound, None),
        Reason::UserNotFound => (Code::NotFound, ErrorReason::UserNotFound, None),
        Reason::PropertyNotFound => (Code::NotFound, ErrorReason::PropertyNotFound, None),
        Reason::PropertyExists => (Code::AlreadyExists, ErrorReason::PropertyExists, None),
        Reason::EventNotFound => (Code::NotFound, ErrorReason::EventNotFound, None),
        Reason::EventExists => (Code::AlreadyExists, ErrorReason::EventExists, None),
        Reason::UnknownSegment => (Code::InvalidArgument, ErrorReason::UnknownSegment, None),
        Reason::SegmentNotFound => (Code::NotFound, ErrorReason::SegmentNotFound, None),
        Reason::SegmentExists => (Code::AlreadyExists, ErrorReason::SegmentExists, None),
        Reason::SegmentChanged => (Code::Aborted, ErrorReason::SegmentChanged, None),
        Reason::SegmentInUse => (Code::FailedPrecondition, ErrorReason::SegmentInUse, None),
        Reason::SegmentCycle => (Code::FailedPrecondition, ErrorReason::SegmentCycle, None),
        Reason::SegmentKind => (Code::FailedPrecondition, ErrorReason::SegmentKind, None),
        Reason::FreezeConflict => (Code::Aborted, ErrorReason::FreezeConflict, None),
        Reason::BeyondRetention => (Code::OutOfRange, ErrorReason::BeyondRetention, None),
        Reason::RequestIdReused => (Code::FailedPrecondition, ErrorReason::RequestIdReused, None),
        Reason::SequenceConflict => (Code::Aborted, ErrorReason::SequenceConflict, None),
        Reason::PageTokenInvalid => (Code::InvalidArgument, ErrorReason::PageTokenInvalid, None),
        Reason::ExportNotFound => (Code::NotFound, ErrorReason::ExportNotFound, None),
        Reason::RevisionInvalid => (Code::InvalidArgument, ErrorReason::RevisionInvalid, None),
        Reason::DeadlineExceeded => (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, None),
        Reason::NotServing => (
            Code::Unavailable,
            ErrorReason::NotServing,
            Some(RESTART_DELAY),
        ),
        Reason::StorageReadOnly => (Code::Unavailable, ErrorReason::StorageReadOnly, None),
        Reason::StorageFull => (
            Code::ResourceExhausted,
            ErrorReason::StorageFull,
            Some(FULL_DELAY),
        ),
        Reason::Overloaded => (
            Code::ResourceExhausted,
            ErrorReason::Overloaded,
            Some(OVERLOAD_DELAY),
        ),
        Reason::Unauthenticated => (Code::Unauthenticated, ErrorReason::Unauthenticated, None),
        Reason::PermissionDenied => (Code::PermissionDenied, ErrorReason::PermissionDenied, None),
        Reason::Internal => (Code::Internal, ErrorReason::Internal, None),
    };
    Sent {
        code,
        reason,
        retry,
    }
}

/// The reason as clients see it: without the prefix that enum values have.
#[must_use]
pub fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// Why a call was not answered, from the headers or trailers that say so: nothing if it was, or if the
/// reason is none of ours.
#[must_use]
pub fn reason_of(headers: &HeaderMap) -> Option<ErrorReason> {
    let info = Status::from_header_map(headers)?.get_details_error_info()?;
    let is_ours = info.domain == DOMAIN;
    is_ours.then(|| ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason)))?
}

/// The beginning of a text, if all of it would be too long for a header.
fn shown(mut text: String) -> String {
    if text.len() > SHOWN_BYTES {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES));
        text.push_str("...");
    }
    text
}

impl From<ApiError> for Status {
    fn from(mut error: ApiError) -> Self {
        if notes::is_asked_by_a_writer() {
            error = error.without_suggestions();
        }
        let Sent {
            code,
            reason,
            retry,
        } = sent(error.reason);
        let message = shown(error.message);
        let facts: HashMap<String, String> = error
            .facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), shown(value)))
            .collect();
        let mut details = ErrorDetails::with_error_info(reason_name(reason), DOMAIN, facts);
        if let Some(field) = error.field {
            let violation = FieldViolation::new(shown(field), message.clone());
            details.set_bad_request(vec![violation]);
        }
        if let Some(delay) = error.retry_after.or(retry) {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(code, message, details)
    }
}

impl From<ApiError> for ItemError {
    fn from(error: ApiError) -> Self {
        let sent = sent(error.reason);
        Self {
            code: sent.code.into(),
            reason: reason_name(sent.reason).to_owned(),
            message: shown(error.message),
            field: shown(error.field.unwrap_or_default()),
        }
    }
}

/// Says that there is no room for a call now.
#[must_use]
pub fn overloaded(limit: &'static str, allowed: usize) -> Status {
    ApiError::new(
        Reason::Overloaded,
        format!(
            "the service has as much to do as {limit} allows ({allowed}); try again after a moment"
        ),
    )
    .fact("limit", limit)
    .fact("allowed", allowed)
    .into()
}

/// Says that a request did not arrive in time.
#[must_use]
pub fn too_slow(limit: &'static str, allowed: Duration) -> Status {
    ApiError::new(
        Reason::DeadlineExceeded,
        format!(
            "the message did not arrive within the {} s that {limit} allows; send it faster, or less at a time",
            allowed.as_secs_f64()
        ),
    )
    .fact("limit", limit)
    .fact("allowed", format!("{} s", allowed.as_secs_f64()))
    .into()
}

/// What an answer ends with of which nothing was read for so long.
#[must_use]
pub fn unread(patience: Duration) -> Status {
    ApiError::unread(patience).into()
}

/// What a call ends with while the store is being opened.
#[must_use]
pub fn not_serving_yet() -> Status {
    ApiError::starting().into()
}

/// Says in our words what the transport refused in its own: a message that is too large or no
/// message at all. `None` if the status is to stay as it is.
#[must_use]
pub fn of_transport(code: i32, message: &str) -> Option<Status> {
    let code = Code::from(code);
    let error = if code == Code::OutOfRange {
        let numbers: Vec<&str> = message
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .collect();
        let error = |text: String| {
            ApiError::new(Reason::RequestLimitExceeded, text).fact("limit", "message_bytes")
        };
        match numbers.as_slice() {
            [given, allowed] => error(format!(
                "the message of {given} bytes is larger than the limit message_bytes allows for this method ({allowed}); send less at a time"
            ))
            .fact("allowed", allowed)
            .fact("given", given),
            _ => error("the message is larger than this method allows; send less at a time".into()),
        }
    } else if code == Code::Internal && message.contains("recursion limit") {
        let limit = limit::EXPRESSION_DEPTH;
        ApiError::new(
            Reason::RequestLimitExceeded,
            format!(
                "the message is nested too deeply; an expression has at most {} {}",
                limit.default, limit.unit
            ),
        )
        .fact("limit", limit.name)
        .fact("allowed", limit.default)
    } else if code == Code::Internal && message.contains("Unexpected EOF decoding") {
        ApiError::new(
            Reason::InvalidField,
            "the bytes end within a message; send all that was announced",
        )
    } else if code == Code::Internal && message.contains("invalid compression flag") {
        ApiError::new(
            Reason::InvalidField,
            "the first byte of a message is neither 0 nor 1, so that it is no gRPC",
        )
    } else if code == Code::Internal && message.contains("Missing request message") {
        ApiError::new(
            Reason::InvalidField,
            "there is no message; send one, which may be empty",
        )
    } else if code == Code::Internal && message.contains("decode") {
        ApiError::new(
            Reason::InvalidField,
            format!("the bytes are no message of this method: {message}"),
        )
    } else {
        return None;
    };
    Some(error.into())
}

#[cfg(test)]
mod tests;
