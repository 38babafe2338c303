//! Segments: expressions and lists of users that are saved under a name.

use std::collections::BTreeMap;

use super::expression::Expression;
use super::name::{SegmentName, UserId};
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

/// A static list as it is to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct ListDeclaration {
    /// The name, one of a segment.
    pub name: SegmentName,
    /// What it is for; can be empty.
    pub description: Text,
    /// Texts by key.
    pub labels: Labels,
    /// Who is in it at first.
    pub members: FirstMembers,
}

/// Who is in a static list when it is created.
#[derive(Clone, Debug, PartialEq)]
pub enum FirstMembers {
    /// Those of these users who exist.
    Users(Vec<UserId>),
    /// Those whom a question selected, as far as they still exist.
    Frozen(FrozenUsers),
}

/// Whom a question selected, in a form that means something to the population that was asked and
/// to no one else: shard by shard, by the places that users have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenUsers {
    since: Revision,
    shards: Vec<(u32, Vec<u8>)>,
}

impl FrozenUsers {
    /// The users of some shards, whom a question selected that held all up to `since`; `None`
    /// unless the numbers of the shards ascend.
    #[must_use]
    pub fn new(since: Revision, shards: Vec<(u32, Vec<u8>)>) -> Option<Self> {
        let ascend = shards.is_sorted_by(|(a, _), (b, _)| a < b);
        ascend.then_some(Self { since, shards })
    }

    /// The revision up to which everything was known when the question was answered.
    #[must_use]
    pub fn since(&self) -> Revision {
        self.since
    }

    /// The shards that have any such user, with these users as bytes.
    pub(crate) fn shards(&self) -> &[(u32, Vec<u8>)] {
        &self.shards
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let shards = self.shards.iter();
        shards.map(|(_, users)| users.len() as u64).sum()
    }
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
