//! Tests of the buckets that users are divided into.
//!
//! Invariant: what passes is a list of ranges, sorted and apart, so that every test costs a hash and
//! a search.

use std::cmp::Ordering;

use crate::model::{BucketPredicate, BucketTest, Comparison};
use crate::population::ShardReader;

/// One test of a user's bucket.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BucketLeaf {
    asked: BucketPredicate,
    /// The buckets that pass: the first and the last of each range.
    ranges: Box<[(u32, u32)]>,
    /// Which of the predicates of the expression it stands for, counted from the left.
    predicate: usize,
}

impl BucketLeaf {
    /// The test at one position of an expression.
    pub(super) fn new(asked: &BucketPredicate, predicate: usize) -> Self {
        let last = asked.buckets().get() - 1;
        let below = |number: u32| (number > 0).then(|| (0, number - 1));
        let from = |number: u32| (number <= last).then_some((number, last));
        let ranges: Vec<(u32, u32)> = match asked.test() {
            BucketTest::Compare(comparison, number) => {
                let number = *number;
                let parts = match comparison {
                    Comparison::Equal => [Some((number, number)), None],
                    Comparison::NotEqual => [below(number), from(number + 1)],
                    Comparison::Less => [below(number), None],
                    Comparison::LessOrEqual => [below(number + 1), None],
                    Comparison::Greater => [from(number + 1), None],
                    Comparison::GreaterOrEqual => [from(number), None],
                };
                parts.into_iter().flatten().collect()
            }
            BucketTest::In { numbers, negated } => {
                let mut numbers = numbers.to_vec();
                numbers.sort_unstable();
                numbers.dedup();
                if *negated {
                    let starts = std::iter::once(0).chain(numbers.iter().map(|number| number + 1));
                    let ends = numbers.iter().copied().chain([last + 1]);
                    let gaps = starts.zip(ends).filter(|(start, end)| start < end);
                    gaps.map(|(start, end)| (start, end - 1)).collect()
                } else {
                    numbers.into_iter().map(|number| (number, number)).collect()
                }
            }
        };
        Self {
            asked: asked.clone(),
            ranges: ranges.into(),
            predicate,
        }
    }

    /// The place of its predicate in the expression.
    pub(super) const fn predicate(&self) -> usize {
        self.predicate
    }

    /// Whether nobody can pass.
    pub(super) const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether everybody passes.
    pub(super) fn is_whole(&self) -> bool {
        self.passing() == self.asked.buckets().get()
    }

    fn passing(&self) -> u32 {
        let ranges = self.ranges.iter();
        ranges.map(|(first, last)| last - first + 1).sum()
    }

    /// How many of so many users are expected to pass.
    pub(super) fn estimate(&self, users: u64) -> u64 {
        let buckets = u64::from(self.asked.buckets().get());
        users.saturating_mul(u64::from(self.passing())) / buckets
    }

    /// The bucket of a live user of a shard.
    pub(super) fn bucket(&self, reader: &ShardReader<'_>, user: u16) -> Option<u32> {
        reader.with_user_id(user, |id| self.asked.bucket(id))
    }

    /// Whether a user passes.
    pub(super) fn holds(&self, reader: &ShardReader<'_>, user: u16) -> bool {
        let bucket = self.bucket(reader, user);
        bucket.is_some_and(|bucket| self.passes(bucket))
    }

    fn passes(&self, bucket: u32) -> bool {
        let found = self.ranges.binary_search_by(|(first, last)| {
            if *last < bucket {
                Ordering::Less
            } else if *first > bucket {
                Ordering::Greater
            } else {
                Ordering::Equal
            }
        });
        found.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Buckets, NonEmpty, Salt};

    #[test]
    fn ranges_hold_what_passes() {
        let buckets = Buckets::new(5).unwrap();
        let leaf = |test| {
            let salt = Salt::new("s").unwrap();
            BucketLeaf::new(&BucketPredicate::new(salt, buckets, test), 0)
        };
        let all = [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ];
        for comparison in all {
            for number in 0..=5 {
                let Ok(test) = BucketTest::compare(comparison, number, buckets) else {
                    continue;
                };
                let leaf = leaf(test);
                let passing: Vec<u32> = (0..5).filter(|bucket| leaf.passes(*bucket)).collect();
                let expected: Vec<u32> = (0..5)
                    .filter(|bucket| comparison.holds(u64::from(*bucket).cmp(&number)))
                    .collect();
                assert_eq!(passing, expected, "{comparison} {number}");
                assert_eq!(leaf.is_empty(), expected.is_empty());
                assert_eq!(leaf.is_whole(), expected.len() == 5);
            }
        }
        for numbers in [vec![0], vec![4], vec![3, 1, 3], vec![0, 1, 2, 3, 4]] {
            for negated in [false, true] {
                let leaf = leaf(BucketTest::In {
                    numbers: NonEmpty::new(numbers.clone()).unwrap(),
                    negated,
                });
                for bucket in 0..5 {
                    let expected = numbers.contains(&bucket) != negated;
                    assert_eq!(leaf.passes(bucket), expected, "{numbers:?} {bucket}");
                }
            }
        }
    }
}
