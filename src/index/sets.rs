//! A property with a set of dictionary codes per user: string sets.
//!
//! Invariant: a user is in the posting of a code exactly if its set has the code; sets are sorted
//! and without repetition, and the empty set is no value.

use std::borrow::Cow;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::codes::{fill_any, heap_bytes, remove_from, sorted};
use super::posting::Posting;
use super::set_column::{CodeSet, SetColumn};
use crate::bits::Block;

/// The sets of one shard's users, in both directions.
#[derive(Clone, Debug, Default)]
pub struct SetIndex {
    column: SetColumn,
    postings: HashMap<u32, Posting, FixedState>,
    present: Posting,
}

impl SetIndex {
    #[cfg(test)]
    pub(super) fn column_mut(&mut self) -> &mut SetColumn {
        &mut self.column
    }

    /// Builds the index of postings that are not empty, in the order of their codes.
    pub(super) fn from_postings(postings: Vec<(u32, Posting)>) -> Self {
        let mut sets: Vec<Vec<u32>> = Vec::new();
        let mut index = Self::default();
        for (code, posting) in postings {
            posting.for_each(|user| {
                index.present.insert(user);
                let position = usize::from(user);
                if position >= sets.len() {
                    sets.resize_with(position + 1, Vec::new);
                }
                sets[position].push(code);
            });
            index.postings.insert(code, posting);
        }
        for (user, codes) in (0..=u16::MAX).zip(&sets) {
            index.column.set(user, codes);
        }
        index
    }

    /// The set of a user, sorted; empty for none.
    #[must_use]
    pub fn get(&self, user: u16) -> CodeSet {
        self.column.get(user)
    }

    pub(super) fn touch(&self, users: impl Iterator<Item = u16> + Clone) -> u64 {
        self.column.touch(users)
    }

    /// Whether a user has a set.
    #[must_use]
    pub fn is_set(&self, user: u16) -> bool {
        self.column.is_set(user)
    }

    /// Whether the set of a user has one of the codes.
    #[must_use]
    pub fn has_any(&self, user: u16, codes: &[u32]) -> bool {
        codes.iter().any(|&code| self.column.has(user, code))
    }

    /// Gives a user a set, sorted and without repetition; returns the one before.
    pub fn set(&mut self, user: u16, codes: &[u32]) -> CodeSet {
        let before = self.column.get(user);
        if before.as_slice() == codes {
            return before;
        }
        if codes.is_empty() {
            self.present.remove(user);
        } else {
            self.present.insert(user);
        }
        for code in before
            .iter()
            .filter(|code| codes.binary_search(code).is_err())
        {
            remove_from(&mut self.postings, *code, user);
        }
        for code in codes
            .iter()
            .filter(|code| before.is_empty() || before.binary_search(code).is_err())
        {
            self.postings.entry(*code).or_default().insert(user);
        }
        self.column.set(user, codes);
        before
    }

    /// Adds a code that is greater than all others to the sets of users; returns how many had no
    /// set before. Quicker than user by user.
    pub(super) fn add_greatest(&mut self, code: u32, users: Posting) -> u32 {
        if users.is_empty() {
            return 0;
        }
        let mut new = 0;
        users.for_each(|user| {
            let mut codes = self.column.get(user);
            codes.push(code);
            self.column.set(user, &codes);
            new += u32::from(self.present.insert(user));
        });
        self.postings.insert(code, users);
        new
    }

    /// Takes a code out of all sets; returns how many had it, and how many of them no other one.
    pub(super) fn remove_code(&mut self, code: u32) -> (u32, u32) {
        let Some(users) = self.postings.remove(&code) else {
            return (0, 0);
        };
        let mut emptied = 0;
        users.for_each(|user| {
            let mut codes = self.column.get(user);
            codes.retain(|other| *other != code);
            self.column.set(user, &codes);
            if codes.is_empty() {
                emptied += u32::from(self.present.remove(user));
            }
        });
        (users.count(), emptied)
    }

    /// The users whose set has a code.
    #[must_use]
    pub fn posting(&self, code: u32) -> Option<Cow<'_, Posting>> {
        self.postings.get(&code).map(Cow::Borrowed)
    }

    /// The users with any set.
    #[must_use]
    pub fn present(&self) -> &Posting {
        &self.present
    }

    /// Makes a block hold the users whose set has one of the codes.
    pub fn fill_any(&self, codes: &[u32], target: &mut Block) {
        fill_any(&self.postings, codes, target);
    }

    /// Counts the selected users by code, once for each code of their sets: adds to
    /// `counts[code + 1]`, and to `counts[0]` for each who has no set. `counts` grows as needed.
    pub fn tally(&self, selected: &Block, counts: &mut Vec<u64>) {
        self.column.tally(selected, counts);
    }

    /// The postings in the order of their codes.
    #[must_use]
    pub fn sorted_postings(&self) -> Vec<(u32, Cow<'_, Posting>)> {
        sorted(&self.postings)
    }

    /// Bytes of memory on the heap: column, then postings.
    #[must_use]
    pub fn heap_bytes(&self) -> (usize, usize) {
        (
            self.column.heap_bytes(),
            heap_bytes(&self.postings) + self.present.heap_bytes(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_comes_and_goes_for_many_users_at_once() {
        let (mut at_once, mut one_by_one) = (SetIndex::default(), SetIndex::default());
        for user in (0..3_000).step_by(3) {
            at_once.set(user, &[2, 5]);
            one_by_one.set(user, &[2, 5]);
        }
        let mut users = Posting::default();
        for user in (0..4_000).step_by(2) {
            users.insert(user);
            let mut codes = one_by_one.get(user);
            codes.push(70_000);
            one_by_one.set(user, &codes);
        }
        assert_eq!(at_once.add_greatest(70_000, users), 2_000 - 500);
        assert_eq!(at_once.add_greatest(70_001, Posting::default()), 0);
        let same = |a: &SetIndex, b: &SetIndex| {
            assert_eq!(a.sorted_postings(), b.sorted_postings());
            assert_eq!(a.present(), b.present());
            for user in 0..4_000 {
                assert_eq!(a.get(user), b.get(user));
            }
        };
        same(&at_once, &one_by_one);

        assert_eq!(at_once.remove_code(70_000), (2_000, 1_500));
        assert_eq!(at_once.remove_code(70_000), (0, 0));
        assert_eq!(at_once.remove_code(2), (1_000, 0));
        let mut left = SetIndex::default();
        for user in (0..3_000).step_by(3) {
            left.set(user, &[5]);
        }
        same(&at_once, &left);
    }
}
