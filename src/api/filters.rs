//! The filter texts that were asked last, parsed, and the names of segments, all bound as they were
//! the last time: a client asks the same ones all day.
//!
//! Invariants: an answer never depends on what is remembered here; what is remembered is bounded in
//! number and in bytes, what the segments stand for that are named included, and texts that can't be
//! parsed are not remembered.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::filter::{self, FilterError};
use crate::model::{Expression, NameError, SegmentName};
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

/// How many names of segments are remembered, about: most of those that are checked all day.
const SEGMENTS: usize = 4_096;

/// Nodes and values of the definition of a segment that is remembered as it was bound; a larger one
/// is bound each time.
const MOST_OF_SEGMENT: u64 = 1_024;
/// The same of all segments that a text names, beside what the text has itself.
const MOST_OF_SEGMENTS_NAMED: u64 = 128;

/// The filter texts and segments that were asked last.
#[derive(Clone, Debug)]
pub(super) struct Filters {
    texts: Arc<Cache<Box<str>, Arc<Prepared>, ByBytes>>,
    segments: Arc<Cache<Box<str>, Arc<Prepared>>>,
}

impl Filters {
    pub(super) fn new() -> Self {
        Self {
            texts: Arc::new(Cache::with_weighter(TEXTS, BYTES, ByBytes)),
            segments: Arc::new(Cache::new(SEGMENTS)),
        }
    }

    /// How many texts and segments are remembered.
    pub(super) fn load(&self) -> (u64, u64) {
        (self.texts.len() as u64, self.segments.len() as u64)
    }

    /// The expression that stands for the users of a saved segment. Whether there is one is known
    /// only to a population.
    pub(super) fn segment(&self, name: &str) -> Result<Arc<Prepared>, NameError> {
        if let Some(known) = self.segments.get(name) {
            return Ok(known);
        }
        let segment = Expression::Segment(SegmentName::new(name)?);
        let prepared = Arc::new(Prepared::with_most(segment, MOST_OF_SEGMENT));
        self.segments.insert(name.into(), Arc::clone(&prepared));
        Ok(prepared)
    }

    /// The expression of a text.
    pub(super) fn prepared(&self, text: &str) -> Result<Arc<Prepared>, FilterError> {
        if let Some(known) = self.texts.get(text) {
            return Ok(known);
        }
        let most = MOST_OF_SEGMENTS_NAMED + text.len() as u64;
        let prepared = Arc::new(Prepared::with_most(filter::parse(text)?, most));
        self.texts.insert(text.into(), Arc::clone(&prepared));
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
    fn a_segment_is_prepared_once() {
        let filters = Filters::new();
        let first = filters.segment("vip").unwrap();
        assert!(Arc::ptr_eq(&first, &filters.segment("vip").unwrap()));
        assert_eq!(first.expression().to_string(), "segment('vip')");
        assert!(filters.segment("").is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let filters = Filters::new();
        for n in 0..10_000 {
            filters.segment(&format!("s{n}")).unwrap();
        }
        assert!(filters.segments.len() <= 2 * SEGMENTS);
        for n in 0..10_000 {
            filters.prepared(&format!("age > {n}")).unwrap();
        }
        assert!(filters.texts.len() <= 65_536 && filters.texts.weight() <= BYTES);
        let long: Vec<String> = (0..5_000).map(|n| format!("'{n}'")).collect();
        for n in 0..200 {
            let text = format!("a = 'x{n}' OR city IN ({})", long.join(", "));
            filters.prepared(&text).unwrap();
        }
        assert!(
            filters.texts.weight() <= BYTES,
            "{}",
            filters.texts.weight()
        );
    }
}
