//! How often each method was called, how long that took and how it ended.
//!
//! Invariant: there is a row for each method of the protocol and one for all others, so that no client
//! makes the numbers more.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tonic::Code;

use crate::api::{METHODS, Messages, Method};
use crate::meter::{Counted, DURATIONS, Histogram, LONG_DURATIONS};
use crate::proto::ErrorReason;

/// How many status codes there are.
const CODES: usize = 17;
/// More than there are reasons.
const REASONS: usize = 128;
/// What methods are called that the protocol does not have.
const OTHER: &str = "_OTHER";

/// What is counted of all calls.
#[derive(Debug)]
pub(super) struct Calls {
    /// Those of the methods in the order of their table, and one for all others.
    rows: Vec<Row>,
    /// By the number of the reason; 0 for those that have none of ours.
    refused: [AtomicU64; REASONS],
}

/// What is counted of the calls of a method.
#[derive(Debug)]
pub(super) struct Row {
    /// The service and the method: `headcount.v1.QueryService/Count`.
    pub(super) label: String,
    pub(super) is_stream: bool,
    in_flight: AtomicI64,
    slow: AtomicU64,
    by_code: [OnceLock<Histogram>; CODES],
}

impl Row {
    fn new(label: String, is_stream: bool) -> Self {
        Self {
            label,
            is_stream,
            in_flight: AtomicI64::new(0),
            slow: AtomicU64::new(0),
            by_code: [const { OnceLock::new() }; CODES],
        }
    }

    pub(super) fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// What was counted by code, for codes with which any call ended.
    pub(super) fn ended(&self) -> impl Iterator<Item = (&'static str, Counted)> {
        let by_code = self.by_code.iter().enumerate();
        by_code.filter_map(|(code, histogram)| {
            let code = Code::from(i32::try_from(code).ok()?);
            Some((code_name(code), histogram.get()?.counted()))
        })
    }
}

impl Calls {
    pub(super) fn new() -> Self {
        let mut rows: Vec<Row> = METHODS
            .iter()
            .map(|method| {
                let label = format!("{}/{}", method.service, method.name);
                Row::new(label, method.messages == Messages::Stream)
            })
            .collect();
        rows.push(Row::new(OTHER.into(), false));
        Self {
            rows,
            refused: [const { AtomicU64::new(0) }; REASONS],
        }
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many calls were refused for each reason there is, so that the first one is seen as one more.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let refused = self.refused.iter().enumerate();
        refused.filter_map(|(number, count)| {
            let count = count.load(Ordering::Relaxed);
            let reason = ErrorReason::try_from(i32::try_from(number).ok()?).ok()?;
            Some((crate::api::reason_name(reason), count))
        })
    }

    /// A call of a method begins. Returns the row of the method.
    pub(super) fn begin(&self, method: Option<&'static Method>) -> usize {
        let row = method
            .and_then(|method| METHODS.element_offset(method))
            .unwrap_or(METHODS.len());
        if let Some(row) = self.rows.get(row) {
            row.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        row
    }

    /// A call has ended.
    pub(super) fn end(&self, row: usize, code: Code, took: Duration) {
        let Some(row) = self.rows.get(row) else {
            return;
        };
        row.in_flight.fetch_sub(1, Ordering::Relaxed);
        let bounds = if row.is_stream {
            &LONG_DURATIONS[..]
        } else {
            &DURATIONS
        };
        if let Some(histogram) = row.by_code.get(code as usize) {
            let histogram = histogram.get_or_init(|| Histogram::new(bounds));
            histogram.time(took);
        }
    }

    /// A call was refused for a reason.
    pub(super) fn refused(&self, reason: Option<ErrorReason>) {
        let number = reason.unwrap_or(ErrorReason::Unspecified) as usize;
        if let Some(count) = self.refused.get(number) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A call was slow.
    pub(super) fn slow(&self, row: usize) {
        if let Some(row) = self.rows.get(row) {
            row.slow.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn label(&self, row: usize) -> &str {
        self.rows.get(row).map_or(OTHER, |row| &row.label)
    }
}

/// The name of a status code, as the standards of gRPC and OpenTelemetry write it.
pub(super) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::method;

    #[test]
    fn each_method_has_its_row() {
        let calls = Calls::new();
        assert_eq!(calls.rows().len(), METHODS.len() + 1);
        for method in METHODS {
            let row = calls.begin(Some(method));
            assert!(calls.label(row).ends_with(&format!("/{}", method.name)));
            assert_eq!(calls.rows()[row].in_flight(), 1);
            calls.end(row, Code::Ok, Duration::from_micros(60));
            assert_eq!(calls.rows()[row].in_flight(), 0);
        }
        assert_eq!(calls.label(calls.begin(None)), OTHER);
    }

    #[test]
    fn calls_are_counted_by_code() {
        let calls = Calls::new();
        let count = method("/headcount.v1.QueryService/Count");
        for code in [Code::Ok, Code::Ok, Code::Unauthenticated] {
            let row = calls.begin(count);
            calls.end(row, code, Duration::from_micros(60));
        }
        let row = &calls.rows()[calls.begin(count)];
        let ended: Vec<_> = row.ended().map(|(code, c)| (code, c.count())).collect();
        assert_eq!(ended, [("OK", 2), ("UNAUTHENTICATED", 1)]);
    }

    #[test]
    fn every_reason_is_counted_apart() {
        let calls = Calls::new();
        let all = (0..1_000).filter_map(|number| ErrorReason::try_from(number).ok());
        let all: Vec<_> = all.collect();
        for reason in &all {
            calls.refused(Some(*reason));
        }
        calls.refused(None);
        assert_eq!(calls.refusals().count(), all.len());
        let (without, count) = calls.refusals().next().unwrap();
        assert_eq!((without, count), ("UNSPECIFIED", 2));
        assert!(calls.refusals().skip(1).all(|(_, count)| count == 1));
    }
}
