//! Values of many users for one property, and what they change.
//!
//! Going through a property at a time instead of a user at a time finds its postings and columns
//! in the cache.

use std::ops::Range;

use super::shard::IndexKind;

/// Values that users are to have for one property, in the order in which they are given. Who a
/// user is, by what number, is up to the caller.
#[derive(Clone, Debug)]
pub enum Cells {
    /// Codes, or none.
    Codes(Vec<(u32, Option<u32>)>),
    /// Sets, sorted and without repetition, as ranges of a list of codes. An empty one is none.
    Sets(Vec<(u32, Range<usize>)>, Vec<u32>),
    /// Numbers, or none.
    Numbers(Vec<(u32, Option<i64>)>),
}

macro_rules! each_kind {
    ($cells:expr, $list:ident => $body:expr) => {
        match $cells {
            Cells::Codes($list) => $body,
            Cells::Sets($list, _) => $body,
            Cells::Numbers($list) => $body,
        }
    };
}

impl Cells {
    /// The kind of index that has such values.
    #[must_use]
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Codes(_) => IndexKind::Codes,
            Self::Sets(..) => IndexKind::Sets,
            Self::Numbers(_) => IndexKind::Numbers,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        each_kind!(self, list => list.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The user of the value at a position; `None` beyond the end.
    #[must_use]
    pub fn user_at(&self, position: usize) -> Option<u32> {
        each_kind!(self, list => list.get(position).map(|(user, _)| *user))
    }

    /// Brings them in the order of a key of their users. Values of one user keep their order.
    pub fn sort_by_key(&mut self, key: impl Fn(u32) -> u32) {
        each_kind!(self, list => list.sort_by_key(|(user, _)| key(*user)));
    }

    /// Whether any of the values in a range is one.
    pub(super) fn has_values(&self, range: Range<usize>) -> bool {
        match self {
            Self::Codes(list) => list[range].iter().any(|(_, code)| code.is_some()),
            Self::Sets(list, _) => list[range].iter().any(|(_, codes)| !codes.is_empty()),
            Self::Numbers(list) => list[range].iter().any(|(_, number)| number.is_some()),
        }
    }
}

/// What changed values change in the counts of a property.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// How many more users have a value than before.
    pub having: i64,
    /// The codes that users got, once for each.
    pub added: Vec<u32>,
    /// The codes that users lost, once for each.
    pub removed: Vec<u32>,
}

impl Difference {
    /// Makes it no difference.
    pub fn clear(&mut self) {
        self.having = 0;
        self.added.clear();
        self.removed.clear();
    }

    /// Notes that a user had codes and has others, or none.
    pub fn note(&mut self, before: &[u32], after: &[u32]) {
        self.note_having(!before.is_empty(), !after.is_empty());
        self.added.extend_from_slice(after);
        self.removed.extend_from_slice(before);
    }

    /// Notes that a user had a value or none, and has one or none.
    pub fn note_having(&mut self, before: bool, after: bool) {
        self.having += i64::from(after) - i64::from(before);
    }
}
