//! Every error that can leave the service, as clients see it.

use std::sync::Arc;

use super::*;
use crate::api::access;
use crate::api::convert::{Origins, Path};
use crate::api::token::Tokens;
use crate::api::{Caller, Role};
use crate::engine::{CommitError, SnapshotError};
use crate::filter;
use crate::model::{EventName, LimitExceeded, PropertyName, SegmentName, Timestamp, ValueType};
use crate::population::{Refusal, ValuesError};
use crate::proto::WriteRequest;
use crate::query::{BindError, Stopped};

const REASONS: [Reason; 37] = [
    Reason::Unauthenticated,
    Reason::PermissionDenied,
    Reason::InvalidField,
    Reason::FilterSyntax,
    Reason::UnknownProperty,
    Reason::PredicateType,
    Reason::PropertyTypeConflict,
    Reason::NumberOutOfRange,
    Reason::RequestLimitExceeded,
    Reason::StoreLimitExceeded,
    Reason::PopulationNotFound,
    Reason::UserNotFound,
    Reason::PropertyNotFound,
    Reason::PropertyExists,
    Reason::RequestIdReused,
    Reason::SequenceConflict,
    Reason::PageTokenInvalid,
    Reason::RevisionInvalid,
    Reason::ExportNotFound,
    Reason::DeadlineExceeded,
    Reason::NotServing,
    Reason::StorageReadOnly,
    Reason::Overloaded,
    Reason::UnknownEvent,
    Reason::EventNotFound,
    Reason::EventExists,
    Reason::BeyondRetention,
    Reason::UnknownSegment,
    Reason::SegmentNotFound,
    Reason::SegmentExists,
    Reason::SegmentChanged,
    Reason::SegmentInUse,
    Reason::SegmentCycle,
    Reason::SegmentKind,
    Reason::FreezeConflict,
    Reason::StorageFull,
    Reason::Internal,
];

fn property() -> PropertyName {
    PropertyName::new("age").unwrap()
}

fn segment() -> SegmentName {
    SegmentName::new("vip").unwrap()
}

fn event() -> EventName {
    EventName::new("purchase").unwrap()
}

fn exceeded() -> LimitExceeded {
    limit::SET_ELEMENTS.check(1_001).unwrap_err()
}

fn refusals() -> Vec<Refusal> {
    let (property, exceeded) = (property(), exceeded());
    let (update, value_type) = (3, ValueType::Int64);
    vec![
        Refusal::TypeConflict {
            update,
            property: property.clone(),
            expected: value_type,
            given: ValueType::String,
        },
        Refusal::Inexact {
            update,
            property: property.clone(),
            number: i64::MAX,
        },
        Refusal::OutOfRange {
            update,
            property: property.clone(),
            value_type,
        },
        Refusal::SetTooLarge {
            update,
            property: property.clone(),
            exceeded: exceeded.clone(),
        },
        Refusal::TooManyValues {
            property: property.clone(),
            exceeded: exceeded.clone(),
        },
        Refusal::TooManyProperties {
            property: property.clone(),
            exceeded: exceeded.clone(),
        },
        Refusal::TooManyUsers {
            exceeded: exceeded.clone(),
        },
        Refusal::TooManyPopulations {
            exceeded: exceeded.clone(),
        },
        Refusal::TooManyEvents {
            exceeded: exceeded.clone(),
        },
        Refusal::TooManyEventNames {
            event: event(),
            exceeded: exceeded.clone(),
        },
        Refusal::TooManySegments {
            segment: segment(),
            exceeded: exceeded.clone(),
        },
        Refusal::TooManyLists {
            segment: segment(),
            exceeded: exceeded.clone(),
        },
        Refusal::SegmentTooLarge {
            segment: segment(),
            exceeded,
        },
        Refusal::SegmentExists { segment: segment() },
        Refusal::SegmentNotFound { segment: segment() },
        Refusal::UnknownSegment { segment: segment() },
        Refusal::SegmentChanged { segment: segment() },
        Refusal::SegmentInUse { segment: segment() },
        Refusal::SegmentCycle { segment: segment() },
        Refusal::SegmentIsList { segment: segment() },
        Refusal::SegmentIsNoList { segment: segment() },
        Refusal::FreezeConflict { segment: segment() },
        Refusal::EventExists { event: event() },
        Refusal::EventNotFound { event: event() },
        Refusal::PropertyExists {
            property: property.clone(),
            value_type,
        },
        Refusal::PropertyNotFound { property },
        Refusal::RequestIdReused,
        Refusal::SequenceConflict {
            previous: 7,
            last: 5,
        },
    ]
}

fn errors() -> Vec<ApiError> {
    let property = property();
    let mut errors: Vec<ApiError> = refusals().into_iter().map(ApiError::from).collect();
    let nobody = Caller::new(Arc::default(), Role::Write);
    let mut request = tonic::Request::new(WriteRequest::default());
    request.extensions_mut().insert(nobody);
    errors.push(access::begin(request).unwrap_err());
    errors.extend([
        CommitError::ReadOnly {
            cause: "log/1: no space".into(),
        }
        .into(),
        CommitError::Full {
            cause: "log/2: no space".into(),
        }
        .into(),
        CommitError::Stopping.into(),
        CommitError::Overloaded.into(),
        filter::parse("age >= ").unwrap_err().into(),
        filter::parse(&"(".repeat(1_000)).unwrap_err().into(),
        BindError::UnknownProperty {
            property: property.clone(),
            suggestions: vec![PropertyName::new("page").unwrap()],
        }
        .into(),
        BindError::UnknownEvent {
            event: EventName::new("purchse").unwrap(),
            suggestions: vec![event()],
        }
        .into(),
        BindError::TooManyUnits {
            exceeded: limit::WINDOW_UNITS.check(20_001).unwrap_err(),
        }
        .into(),
        BindError::TooLarge {
            exceeded: limit::SELECTION_NODES.check(4_097).unwrap_err(),
        }
        .into(),
        BindError::UnknownSegment {
            segment: SegmentName::new("vpi").unwrap(),
            suggestions: vec![segment()],
        }
        .into(),
        BindError::BeyondRetention {
            event: event(),
            from: Timestamp::MIN,
            kept_from: Timestamp::MAX,
        }
        .into(),
        BindError::LiteralType {
            property: property.clone(),
            expected: ValueType::Int64,
            given: ValueType::String,
        }
        .into(),
        BindError::Inexact {
            property: property.clone(),
            number: i64::MAX,
        }
        .into(),
        BindError::Operator {
            property: property.clone(),
            value_type: ValueType::Bool,
            operator: "<".into(),
            way_out: "use =",
        }
        .into(),
        ValuesError::NotFound {
            property: property.clone(),
        }
        .into(),
        ValuesError::Type {
            property: property.clone(),
            value_type: ValueType::Int64,
        }
        .into(),
        crate::engine::QueryFailed.into(),
        SnapshotError::ReadOnly {
            cause: "log/1: no space".into(),
        }
        .into(),
        SnapshotError::Stopping.into(),
        Stopped.into(),
        ApiError::stopping(),
        ApiError::overloaded(),
        ApiError::property_not_found(&property, std::slice::from_ref(&property)),
        ApiError::field(&Path::Root, "must not be empty"),
        Tokens::bad_page(),
        Tokens::new(1).read_revision("x").unwrap_err(),
    ]);
    errors
}

#[test]
fn every_reason_has_one_row_and_every_row_a_reason() {
    let mut rows: Vec<i32> = REASONS.iter().map(|r| sent(*r).reason.into()).collect();
    rows.sort_unstable();
    rows.dedup();
    // All of the protocol but UNSPECIFIED; the two limits share a row.
    let all: Vec<i32> = (1..1_000)
        .filter(|n| ErrorReason::try_from(*n).is_ok())
        .collect();
    assert_eq!(rows, all);
    assert_eq!(rows.len(), REASONS.len() - 1);
}

#[test]
fn every_error_is_printed() {
    for error in errors() {
        let reason = error.reason;
        let printed = error.message.clone();
        let status: Status = error.into();
        println!("{:?} {:?} {printed}", status.code(), reason);

        assert!(!printed.is_empty());
        assert!(!printed.ends_with('.'), "{printed}");
        let info = status.get_details_error_info().expect("an ErrorInfo");
        assert_eq!(info.domain, "headcount");
        assert!(!info.reason.is_empty() && !info.reason.contains("ERROR_REASON"));
        let retry = status.get_details_retry_info().is_some();
        let waits = matches!(
            reason,
            Reason::Overloaded | Reason::NotServing | Reason::StorageFull
        );
        assert_eq!(retry, waits, "{printed}");
        let bytes = status.details().len() + printed.len();
        assert!(bytes < 8_192, "{bytes} bytes of headers");
    }
}

#[test]
fn facts_are_where_the_protocol_says() {
    for error in errors() {
        let names: Vec<&str> = error.facts.iter().map(|(name, _)| *name).collect();
        let expected: &[&str] = match error.reason {
            Reason::FilterSyntax => &["line", "column", "expected"],
            Reason::UnknownProperty => &["property", "suggestions"],
            Reason::PredicateType | Reason::PropertyTypeConflict => {
                &["property", "expected", "given"]
            }
            Reason::RequestLimitExceeded | Reason::StoreLimitExceeded => {
                &["limit", "allowed", "given"]
            }
            Reason::UnknownEvent => &["event", "suggestions"],
            Reason::EventNotFound | Reason::EventExists => &["event"],
            Reason::UnknownSegment
            | Reason::SegmentNotFound
            | Reason::SegmentExists
            | Reason::SegmentChanged
            | Reason::SegmentInUse
            | Reason::SegmentCycle
            | Reason::SegmentKind
            | Reason::FreezeConflict => &["segment"],
            Reason::BeyondRetention => &["event", "kept_from"],
            Reason::PropertyNotFound | Reason::PropertyExists => &["property"],
            Reason::SequenceConflict => &["last_sequence"],
            Reason::InvalidField
            | Reason::NumberOutOfRange
            | Reason::PopulationNotFound
            | Reason::UserNotFound
            | Reason::RequestIdReused
            | Reason::PageTokenInvalid
            | Reason::RevisionInvalid
            | Reason::ExportNotFound
            | Reason::DeadlineExceeded
            | Reason::NotServing
            | Reason::StorageReadOnly
            | Reason::StorageFull
            | Reason::Overloaded
            | Reason::Unauthenticated
            | Reason::Internal => &[],
            Reason::PermissionDenied => &["role", "population"],
        };
        for name in expected {
            assert!(names.contains(name), "{name} is missing: {error:?}");
        }
    }
}

#[test]
fn a_refused_write_names_its_field() {
    for refusal in refusals() {
        let fields = [
            (Reason::RequestIdReused, "request_id"),
            (Reason::SequenceConflict, "sequence"),
        ];
        let of_request = fields.iter().find(|(r, _)| *r == refusal.reason());
        let of_update = refusal.update().map(|_| r#"updates[3].set["age"]"#);
        let expected = of_request.map(|(_, field)| *field).or(of_update);
        let error = CommitError::Refused(refusal.clone());
        let error = ApiError::refused_write(error, &Origins::default(), &Path::Root);
        assert_eq!(error.field.as_deref(), expected);
        let again = CommitError::RefusedBefore(refusal);
        let again = ApiError::refused_write(again, &Origins::default(), &Path::Root);
        assert_eq!(again.message, error.message);
        assert!(again.facts.contains(&("replayed", "true".to_owned())));
        let item = ItemError::from(error);
        assert!(item.code != 0 && !item.reason.is_empty() && !item.message.is_empty());
    }
}

#[test]
fn long_texts_are_cut() {
    let error = ApiError::field(&Path::Root, "é".repeat(100_000)).fact("x", "y".repeat(100_000));
    let status: Status = error.into();
    assert!(status.message().len() < 1_600);
    assert!(status.details().len() < 8_192);
}

#[test]
fn what_the_transport_refuses_is_said_in_our_words() {
    let large =
        "Error, decoded message length too large: found 5242888 bytes, the limit is: 1048576 bytes";
    let status = of_transport(Code::OutOfRange.into(), large).unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "LIMIT_EXCEEDED");
    assert_eq!(info.metadata["given"], "5242888");
    assert_eq!(info.metadata["allowed"], "1048576");

    let deep = "failed to decode Protobuf message: Expression.kind: recursion limit reached";
    let status = of_transport(Code::Internal.into(), deep).unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);

    let bytes = "failed to decode Protobuf message: invalid wire type";
    let status = of_transport(Code::Internal.into(), bytes).unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);

    assert!(of_transport(Code::Unimplemented.into(), "").is_none());
}
