//! The filter texts that were asked last, parsed, and bound as they were the last time: a client
//! asks the same ones all day.
//!
//! Invariants: an answer never depends on what is remembered here; what is remembered is bounded in
//! number and in bytes, and texts that can't be parsed are not remembered.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::filter::{self, FilterError};
use crate::query::Prepared;

/// How many texts are remembered, about.
const TEXTS: usize = 4_096;
/// How many bytes they may take, about: a parsed text takes some times as many as the text.
const BYTES: u64 = 32 << 20;

/// Texts by what they take.
#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Box<str>, Arc<Prepared>> for ByBytes {
    fn weight(&self, text: &Box<str>, _: &Arc<Prepared>) -> u64 {
        // Of short texts, the tree and what was bound; of lists, the texts of their values twice
        // over, each in an allocation of its own.
        512 + 16 * text.len() as u64
    }
}

/// The filter texts that were asked last.
#[derive(Clone, Debug)]
pub(super) struct Filters(Arc<Cache<Box<str>, Arc<Prepared>, ByBytes>>);

impl Filters {
    pub(super) fn new() -> Self {
        Self(Arc::new(Cache::with_weighter(TEXTS, BYTES, ByBytes)))
    }

    /// The expression of a text.
    pub(super) fn prepared(&self, text: &str) -> Result<Arc<Prepared>, FilterError> {
        if let Some(known) = self.0.get(text) {
            return Ok(known);
        }
        let prepared = Arc::new(Prepared::new(filter::parse(text)?));
        self.0.insert(text.into(), Arc::clone(&prepared));
        Ok(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once() {
        let filters = Filters::new();
        let first = filters.prepared("age > 4").unwrap();
        assert!(Arc::ptr_eq(&first, &filters.prepared("age > 4").unwrap()));
        let other = filters.prepared("age > 5").unwrap();
        assert_ne!(first.expression(), other.expression());
        assert!(filters.prepared("age >").is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let filters = Filters::new();
        for n in 0..10_000 {
            filters.prepared(&format!("age > {n}")).unwrap();
        }
        assert!(filters.0.len() <= 65_536 && filters.0.weight() <= BYTES);
        let long: Vec<String> = (0..5_000).map(|n| format!("'{n}'")).collect();
        for n in 0..200 {
            let text = format!("a = 'x{n}' OR city IN ({})", long.join(", "));
            filters.prepared(&text).unwrap();
        }
        assert!(filters.0.weight() <= BYTES, "{}", filters.0.weight());
    }
}
