//! A dense set of the numbers below 65,536: 8 KiB, so that a few of them stay in the first-level
//! cache while a whole expression is evaluated on one shard.

use super::kernels;

pub use super::kernels::{Operand, Width, Words};

/// Words of 64 bits in a block.
pub const WORDS: usize = 1_024;

/// A set of `u16`: bit `n % 64` of word `n / 64` tells whether `n` is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    words: Box<[u64; WORDS]>,
}

impl Default for Block {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.ones()).finish()
    }
}

impl Block {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            words: Box::new([0; WORDS]),
        }
    }

    /// Its words.
    #[must_use]
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Its words, to be changed.
    pub fn words_mut(&mut self) -> &mut Words {
        &mut self.words
    }

    /// Makes it empty.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Adds a number; returns whether it was missing.
    pub fn insert(&mut self, number: u16) -> bool {
        let (word, bit) = place(number);
        let missing = self.words[word] & bit == 0;
        self.words[word] |= bit;
        missing
    }

    /// Removes a number; returns whether it was there.
    pub fn remove(&mut self, number: u16) -> bool {
        let (word, bit) = place(number);
        let there = self.words[word] & bit != 0;
        self.words[word] &= !bit;
        there
    }

    /// Whether a number is in the set.
    #[must_use]
    pub fn contains(&self, number: u16) -> bool {
        let (word, bit) = place(number);
        self.words[word] & bit != 0
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        kernels::count(&self.words)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// How many numbers are in both sets.
    #[must_use]
    pub fn and_count(&self, other: &Self) -> u32 {
        kernels::and_count(&self.words, &other.words)
    }

    /// Makes it equal to `other`.
    pub fn copy_from(&mut self, other: &Self) {
        self.words.copy_from_slice(&*other.words);
    }

    /// Keeps what is in `other` too.
    pub fn and(&mut self, other: &Self) {
        kernels::and(&mut self.words, &other.words);
    }

    /// Adds what is in `other`.
    pub fn or(&mut self, other: &Self) {
        kernels::or(&mut self.words, &other.words);
    }

    /// Removes what is in `other`.
    pub fn and_not(&mut self, other: &Self) {
        self.and_not_words(&other.words);
    }

    /// Removes what is in these words.
    pub fn and_not_words(&mut self, other: &Words) {
        kernels::and_not(&mut self.words, other);
    }

    /// Makes it what is in `all` and was not in it.
    pub fn complement_in(&mut self, all: &Self) {
        kernels::complement_in(&mut self.words, &all.words);
    }

    /// Makes it what is in `first` and in all operands, in one pass.
    pub fn become_and_all(&mut self, first: &Words, operands: &[Operand<'_>]) {
        kernels::and_all(&mut self.words, first, operands);
    }

    /// Makes it the positions of the values in `least..=greatest`. At most 65,536 values.
    pub fn fill_between<T: Width>(&mut self, values: &[T], least: T, greatest: T) {
        kernels::fill_between(&mut self.words, values, least, greatest);
    }

    /// Makes it the positions of the values that are among those wanted. At most 65,536 values.
    pub fn fill_any<T: Width>(&mut self, values: &[T], wanted: &[T]) {
        kernels::fill_any(&mut self.words, values, wanted);
    }

    /// Whether [`Block::fill_any`] compares many values at once on this processor.
    #[must_use]
    pub fn fills_any_fast() -> bool {
        kernels::fills_any_fast()
    }

    /// Calls `visit` with the values at the positions that are in the set, in their order, some at
    /// a time. Returns how many there were: positions beyond the values have none.
    pub fn visit_selected<T: Width>(&self, values: &[T], visit: impl FnMut(&[T])) -> usize {
        kernels::visit_selected(&self.words, values, visit)
    }

    /// The numbers of the set, ascending.
    #[must_use]
    pub fn ones(&self) -> Ones<'_> {
        Ones {
            words: &self.words,
            position: 0,
            rest: self.words[0],
        }
    }
}

/// How many numbers are in `first` and in all operands: read once, written never.
#[must_use]
pub fn and_all_count(first: &Words, operands: &[Operand<'_>]) -> u32 {
    kernels::and_all_count(first, operands)
}

fn place(number: u16) -> (usize, u64) {
    (usize::from(number >> 6), 1 << (number & 63))
}

/// The numbers of a set, ascending.
#[derive(Debug)]
pub struct Ones<'a> {
    words: &'a [u64; WORDS],
    position: usize,
    rest: u64,
}

impl Iterator for Ones<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.rest == 0 {
            self.position += 1;
            self.rest = *self.words.get(self.position)?;
        }
        let bit = self.rest.trailing_zeros();
        self.rest &= self.rest - 1;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "1,024 words of 64 bits: below 2^16"
        )]
        Some((self.position as u32 * 64 + bit) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(numbers: &[u16]) -> Block {
        let mut block = Block::new();
        for &number in numbers {
            assert!(block.insert(number));
        }
        block
    }

    #[test]
    fn edges_are_kept() {
        let numbers = [0, 1, 63, 64, 65, 32_767, 65_534, 65_535];
        let mut set = block(&numbers);
        assert_eq!(set.ones().collect::<Vec<_>>(), numbers);
        assert_eq!(set.count(), 8);
        assert!(set.contains(65_535) && !set.contains(2));
        assert!(!set.insert(63) && set.remove(63) && !set.remove(63));
        assert_eq!(set.count(), 7);
        assert!(Block::new().is_empty() && !set.is_empty());
        assert_eq!(Block::new().ones().next(), None);
    }

    #[test]
    fn operations_are_those_of_sets() {
        let (a, b) = (block(&[1, 2, 3, 40_000]), block(&[2, 3, 4, 65_535]));
        let with = |operation: fn(&mut Block, &Block)| {
            let mut result = a.clone();
            operation(&mut result, &b);
            result.ones().collect::<Vec<_>>()
        };
        assert_eq!(with(Block::and), [2, 3]);
        assert_eq!(a.and_count(&b), 2);
        assert_eq!(with(Block::or), [1, 2, 3, 4, 40_000, 65_535]);
        assert_eq!(with(Block::and_not), [1, 40_000]);
        assert_eq!(with(Block::complement_in), [4, 65_535]);
        assert_eq!(with(Block::copy_from), [2, 3, 4, 65_535]);
    }
}
