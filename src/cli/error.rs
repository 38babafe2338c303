//! What went wrong, as people read it, and the exit code for programs.
#![expect(
    clippy::disallowed_types,
    reason = "a client is answered with statuses"
)]

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Characters shown on either side of a place in a filter.
const AROUND: usize = 50;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The command line or a file is at fault.
    #[error("{0}")]
    Input(String),
    /// The service can't be reached.
    #[error(
        "can't reach the service at {server}: {cause}; is it running? (`headcount serve`, or another address with --server)"
    )]
    Unreachable { server: String, cause: String },
    /// The connection broke in the middle.
    #[error("the connection to the service broke: {cause}; is it still running?")]
    Broken { cause: String },
    /// The service answered with an error.
    #[error("{}", explain(.0))]
    Refused(Box<Status>),
    /// What a command is about is damaged.
    #[error("{0}")]
    Damaged(String),
    /// Nobody reads the answer any more, as in `headcount members .. | head`.
    #[error("standard output was closed")]
    Unread,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        // An error that the service sent has no source on this side.
        match std::error::Error::source(&status) {
            Some(source) if status.details().is_empty() => Self::Broken {
                cause: super::client::innermost(source),
            },
            Some(_) | None => Self::Refused(Box::new(status)),
        }
    }
}

impl CliError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Damaged(_) => 1,
            Self::Input(_) => 2,
            Self::Unreachable { .. } | Self::Broken { .. } => 3,
            Self::Refused(status) => match status.code() {
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::OutOfRange
                // Asked again as it is, it is refused again.
                | Code::PermissionDenied
                | Code::Unauthenticated => 2,
                Code::Unavailable
                | Code::ResourceExhausted
                | Code::DeadlineExceeded
                | Code::Cancelled
                // Something else came between: sent again, it can succeed.
                | Code::Aborted => 3,
                Code::Ok
                | Code::Unknown
                | Code::Unimplemented
                | Code::Internal
                | Code::DataLoss => 4,
            },
            Self::Other(_) => 4,
        }
    }

    /// Whether the service refused what was written for what it is, not for the state the service
    /// is in. A limit of the store is about what went over it; too much load has the same code,
    /// and says when to try again.
    pub(super) fn blames_what_was_written(&self) -> bool {
        let Self::Refused(status) = self else {
            return false;
        };
        match status.code() {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => true,
            Code::ResourceExhausted => status.get_details_retry_info().is_none(),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => false,
        }
    }
}

/// The message, the field at fault and, for a filter, its place.
fn explain(status: &Status) -> String {
    let mut text = status.message().to_owned();
    if text.is_empty() {
        text = format!("the service answered {:?}", status.code());
    }
    let details = status.get_error_details();
    if let Some(bad_request) = details.bad_request() {
        for violation in &bad_request.field_violations {
            if !violation.field.is_empty() && !text.contains(&violation.field) {
                text = format!("{text} (in {})", violation.field);
            }
            if !text.contains(&violation.description) {
                text = format!("{text}: {}", violation.description);
            }
        }
    }
    text
}

impl CliError {
    /// Adds to a syntax error the line of the filter that it is about, with a mark below the place.
    pub(super) fn about_filter(self, filter: &str) -> Self {
        let Self::Refused(status) = &self else {
            return self;
        };
        let details = status.get_error_details();
        let place = details.error_info().and_then(|info| {
            let number = |name: &str| info.metadata.get(name)?.parse::<usize>().ok();
            Some((number("line")?, number("column")?))
        });
        let Some((line, column)) = place else {
            return self;
        };
        let Some(text) = filter.lines().nth(line.saturating_sub(1)) else {
            return self;
        };
        // Of a long line, what is around the place.
        let column = column.saturating_sub(1);
        let skipped = column.saturating_sub(AROUND);
        let text: String = text.chars().skip(skipped).take(2 * AROUND).collect();
        let text = super::output::printable(&text);
        let mark = " ".repeat(column - skipped);
        Self::Input(format!("{self}\n  {text}\n  {mark}^"))
    }

    /// The field that the error names first.
    pub(super) fn field(&self) -> Option<String> {
        let Self::Refused(status) = self else {
            return None;
        };
        let details = status.get_error_details();
        let violation = details.bad_request()?.field_violations.first()?;
        Some(violation.field.clone())
    }

    /// The same for the one of several filters that the error names, as `filters[1]` or
    /// `selections[1].filter`.
    pub(super) fn about_one_of(self, filters: &[String]) -> Self {
        let position = self.field().and_then(|field| {
            let mut lists = ["filters[", "selections["].into_iter();
            let rest = lists.find_map(|list| field.strip_prefix(list))?;
            rest.split_once(']')?.0.parse::<usize>().ok()
        });
        match position.and_then(|position| filters.get(position)) {
            Some(filter) => self.about_filter(filter),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_tried_again_has_a_code_of_its_own() {
        for (code, expected) in [
            (Code::InvalidArgument, 2),
            (Code::FailedPrecondition, 2),
            // Users were erased while they were frozen into a list, for one.
            (Code::Aborted, 3),
            (Code::Unavailable, 3),
            (Code::Internal, 4),
        ] {
            let error = CliError::from(Status::new(code, "said"));
            assert_eq!(error.exit_code(), expected, "{code:?}");
        }
    }
}
