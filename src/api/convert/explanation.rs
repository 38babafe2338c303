//! Why a user is in a selection, as a message.

use crate::proto;
use crate::query::{ExplainedCheck, ExplainedClause};

use super::value::{timestamp_message, value_message};

/// What is told of one selection.
pub(in crate::api) fn explanation_message(check: ExplainedCheck) -> proto::CheckExplanation {
    proto::CheckExplanation {
        clause: Some(clause_message(check.clause)),
        valid_until: check.valid_until.map(timestamp_message),
    }
}

fn clause_message(clause: ExplainedClause) -> proto::ExplainedClause {
    proto::ExplainedClause {
        text: clause.text,
        holds: clause.holds,
        value: clause.value.map(value_message),
        clauses: clause.clauses.into_iter().map(clause_message).collect(),
    }
}
