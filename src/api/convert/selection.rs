//! What a request selects: a filter text, an expression tree or a saved segment, wherever they stand
//! in a request.

use std::sync::Arc;

use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::notes;
use crate::model::limit;
use crate::proto::{
    self, breakdown_request, compare_request, count_request, explain_request, freeze_source,
    list_members_request, stream_members_request, summarize_request,
};
use crate::query::Prepared;

use super::{Path, expression::expression, value::name_error};

/// A selection as given, whichever request it is from.
pub(in crate::api) enum Selecting {
    Filter(String),
    Expression(proto::Expression),
    Segment(String),
}

/// An expression, and the field that it came from.
#[derive(Clone, Debug)]
pub(in crate::api) struct Selected {
    pub(in crate::api) prepared: Arc<Prepared>,
    pub(in crate::api) field: String,
}

macro_rules! selecting {
    ($($selection:path),*) => {
        $(impl From<$selection> for Selecting {
            fn from(selection: $selection) -> Self {
                use $selection as Given;
                match selection {
                    Given::Filter(text) => Self::Filter(text),
                    Given::Expression(tree) => Self::Expression(tree),
                    Given::Segment(name) => Self::Segment(name),
                }
            }
        })*
    };
}

selecting!(
    proto::selection::Selection,
    count_request::Selection,
    list_members_request::Selection,
    stream_members_request::Selection,
    explain_request::Selection,
    freeze_source::Selection,
    breakdown_request::Selection,
    summarize_request::Selection,
    compare_request::Selection
);

/// The selection of a request, or of one part of it.
pub(in crate::api) fn selection(
    filters: &Filters,
    given: Option<impl Into<Selecting>>,
    path: &Path<'_>,
) -> Result<Selected, ApiError> {
    match given.map(Into::into) {
        Some(Selecting::Filter(text)) => from_filter(filters, &text, &path.field("filter")),
        Some(Selecting::Expression(tree)) => from_tree(tree, &path.field("expression")),
        Some(Selecting::Segment(name)) => from_name(filters, &name, &path.field("segment")),
        None => Err(ApiError::field(
            &path.field("filter"),
            "nothing is selected; set filter, expression or segment, or the filter \"TRUE\" for every user",
        )),
    }
}

/// Several filter texts, then several trees, then several segments: 1 to 1,000 together.
pub(in crate::api) fn selections(
    filters: &Filters,
    given: &[String],
    trees: Vec<proto::Expression>,
    names: &[String],
) -> Result<Vec<Selected>, ApiError> {
    let root = Path::Root;
    let (texts, expressions) = (root.field("filters"), root.field("expressions"));
    let segments = root.field("segments");
    let count = given.len() + trees.len() + names.len();
    if count == 0 {
        return Err(ApiError::field(
            &texts,
            "nothing is selected; give at least one of filters, expressions and segments",
        ));
    }
    limit::SELECTIONS_PER_REQUEST
        .check(count as u64)
        .map_err(|exceeded| ApiError::limit(&texts, &exceeded))?;
    let mut selected = Vec::with_capacity(count);
    for (position, text) in given.iter().enumerate() {
        selected.push(from_filter(filters, text, &texts.index(position))?);
    }
    for (position, tree) in trees.into_iter().enumerate() {
        selected.push(from_tree(tree, &expressions.index(position))?);
    }
    for (position, name) in names.iter().enumerate() {
        selected.push(from_name(filters, name, &segments.index(position))?);
    }
    Ok(selected)
}

/// Notes what is selected, for the log.
fn noted(prepared: Arc<Prepared>) -> Arc<Prepared> {
    notes::selection(&prepared);
    prepared
}

fn from_filter(filters: &Filters, text: &str, path: &Path<'_>) -> Result<Selected, ApiError> {
    let prepared = filters.prepared(text);
    Ok(Selected {
        prepared: noted(prepared.map_err(|error| ApiError::from(error).at(path))?),
        field: path.to_string(),
    })
}

fn from_name(filters: &Filters, name: &str, path: &Path<'_>) -> Result<Selected, ApiError> {
    let prepared = filters.segment(name);
    Ok(Selected {
        prepared: noted(prepared.map_err(|error| name_error(path, &error))?),
        field: path.to_string(),
    })
}

fn from_tree(tree: proto::Expression, path: &Path<'_>) -> Result<Selected, ApiError> {
    Ok(Selected {
        prepared: noted(Arc::new(Prepared::new(expression(tree, path)?))),
        field: path.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    #[test]
    fn text_and_tree_are_told_apart() {
        let everyone = proto::Expression {
            kind: Some(proto::expression::Kind::Everyone(proto::Everyone {})),
        };
        let filter = count_request::Selection::Filter("TRUE".into());
        let tree = count_request::Selection::Expression(everyone);
        let filters = Filters::new();
        let of = |given| selection(&filters, Some(given), &Path::Root).unwrap();
        let (filter, tree) = (of(filter), of(tree));
        assert_eq!(filter.prepared.expression(), tree.prepared.expression());
        assert_eq!((&*filter.field, &*tree.field), ("filter", "expression"));
    }

    #[test]
    fn a_fault_in_a_filter_has_a_place() {
        let given = ["TRUE".into(), "age >= ".into()];
        let error = selections(&Filters::new(), &given, vec![], &[]).unwrap_err();
        assert_eq!(error.reason, Reason::FilterSyntax);
        assert_eq!(error.field.as_deref(), Some("filters[1]"));
        assert!(error.facts.contains(&("line", "1".into())));
        assert!(error.facts.iter().any(|(name, _)| *name == "expected"));
    }

    #[test]
    fn nothing_selected_is_an_error() {
        let none: Option<count_request::Selection> = None;
        let filters = Filters::new();
        assert!(selection(&filters, none, &Path::Root).is_err());
        assert!(selections(&filters, &[], vec![], &[]).is_err());
        assert!(selections(&filters, &vec!["TRUE".into(); 1_001], vec![], &[]).is_err());
        let half = || vec!["x".into(); 501];
        assert!(selections(&filters, &vec!["TRUE".into(); 500], vec![], &half()).is_err());
    }

    #[test]
    fn a_segment_is_named() {
        let filters = Filters::new();
        let given = count_request::Selection::Segment("vip".into());
        let selected = selection(&filters, Some(given), &Path::Root).unwrap();
        assert_eq!(
            (selected.prepared.expression().to_string(), &*selected.field),
            ("segment('vip')".into(), "segment")
        );
        let names = ["vip".into(), String::new()];
        let error = selections(&filters, &["TRUE".into()], vec![], &names).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("segments[1]"));
    }
}
