//! Segments: expressions that are saved under a name.

use std::collections::BTreeMap;

use super::expression::Expression;
use super::name::SegmentName;
use super::revision::Revision;
use super::time::Timestamp;
use super::value::Text;

/// What is said of a segment besides its definition: by whom it is used, what it is for.
pub type Labels = BTreeMap<Text, Text>;

/// A segment as it is to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentDeclaration {
    /// The name.
    pub name: SegmentName,
    /// Who is in it. As filter text no longer than a filter may be.
    pub definition: Expression,
    /// What it is for; can be empty.
    pub description: Text,
    /// Texts by key.
    pub labels: Labels,
}

/// What is to be changed of a segment. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentChange {
    /// The segment.
    pub name: SegmentName,
    /// Who is in it from now on. As filter text no longer than a filter may be.
    pub definition: Option<Expression>,
    /// What it is for.
    pub description: Option<Text>,
    /// All labels.
    pub labels: Option<Labels>,
    /// The revision of its last change; the change is refused if there was another one since.
    pub unchanged_since: Option<Revision>,
}

/// A definition that a segment had.
#[derive(Clone, Debug, PartialEq)]
pub struct PastDefinition {
    /// Who was in it.
    pub definition: Expression,
    /// Since which revision.
    pub revision: Revision,
    /// When it was saved.
    pub saved: Timestamp,
}
