//! The users of codes that few users of a shard have: 6 bytes a user, where a posting of its own
//! in a map takes more than 60. What makes a property with a value per user affordable.
//!
//! The table holds users only; a user's code is in the column, so that it is looked up there.
//!
//! Invariant: every user in the table has a code in the column, and is found under that code. So a
//! user is taken out before its code in the column changes, and put in after.

use hashbrown::HashTable;

use super::column::CodeColumn;
use super::posting::Posting;

/// Users by their code.
#[derive(Clone, Debug, Default)]
pub(super) struct RareUsers(HashTable<u16>);

fn hash(code: u32) -> u64 {
    // Fibonacci hashing: codes are numbered one after another.
    u64::from(code).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn hash_of(user: u16, column: &CodeColumn) -> u64 {
    column.get(user).map_or(0, hash)
}

impl RareUsers {
    /// The users with a code, in no order.
    pub(super) fn with_code<'a>(
        &'a self,
        code: u32,
        column: &'a CodeColumn,
    ) -> impl Iterator<Item = u16> + 'a {
        let candidates = self.0.iter_hash(hash(code)).copied();
        candidates.filter(move |user| column.get(*user) == Some(code))
    }

    /// The posting of a code; `None` if it has no users here.
    pub(super) fn posting(&self, code: u32, column: &CodeColumn) -> Option<Posting> {
        let mut posting = Posting::default();
        for user in self.with_code(code, column) {
            posting.insert(user);
        }
        (!posting.is_empty()).then_some(posting)
    }

    /// Adds a user, who has a code in the column.
    pub(super) fn insert(&mut self, user: u16, column: &CodeColumn) {
        let insert = |user: &u16| hash_of(*user, column);
        self.0.insert_unique(hash_of(user, column), user, insert);
    }

    /// Removes a user, who has a code in the column; returns whether it was here.
    pub(super) fn remove(&mut self, user: u16, column: &CodeColumn) -> bool {
        let found = self
            .0
            .find_entry(hash_of(user, column), |other| *other == user);
        let is_here = found.is_ok();
        if let Ok(entry) = found {
            entry.remove();
            if self.0.len() < self.0.capacity() / 4 {
                self.0
                    .shrink_to(self.0.len() * 2, |user| hash_of(*user, column));
            }
        }
        is_here
    }

    /// All users with their codes, in no order.
    pub(super) fn iter<'a>(&'a self, column: &'a CodeColumn) -> impl Iterator<Item = (u32, u16)> {
        let users = self.0.iter();
        users.filter_map(|user| Some((column.get(*user)?, *user)))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::codes::CodeIndex;

    /// Codes that gain and lose users, beside a plain map; few, many and one user a code.
    #[test]
    fn codes_of_every_frequency_agree_with_a_plain_map() {
        let mut index = CodeIndex::default();
        let mut plain: Vec<Option<u32>> = vec![None; 4_000];
        for step in 0..60_000_u32 {
            let random = step.wrapping_mul(2_654_435_761) >> 7;
            let user = random % 4_000;
            let code = match random % 11 {
                0 => None,
                1..=4 => Some(step % 90_000 + 100),
                5..=7 => Some(random % 7 + step / 20_000),
                _ => Some(random % 900 + 20),
            };
            let before = index.set(user as u16, code);
            assert_eq!(before, std::mem::replace(&mut plain[user as usize], code));
        }
        let mut expected: Vec<(u32, Vec<u16>)> = Vec::new();
        let mut codes: Vec<(u32, u16)> = (0..)
            .zip(&plain)
            .filter_map(|(user, code)| Some(((*code)?, user)))
            .collect();
        codes.sort_unstable();
        for same in codes.chunk_by(|a, b| a.0 == b.0) {
            expected.push((same[0].0, same.iter().map(|(_, user)| *user).collect()));
        }
        let users = |posting: &Posting| {
            let mut users = Vec::new();
            posting.for_each(|user| users.push(user));
            users
        };
        let postings = index.sorted_postings();
        let found = postings.iter();
        let found: Vec<(u32, Vec<u16>)> = found.map(|(code, p)| (*code, users(p))).collect();
        assert_eq!(found, expected);
        for (code, users_of_code) in &expected {
            let posting = index.posting(*code).unwrap();
            assert_eq!(&users(&posting), users_of_code);
            assert_eq!(index.count_of(*code) as usize, users_of_code.len());
        }
        assert!(index.posting(99).is_none() || plain.contains(&Some(99)));
        let mut again = CodeIndex::default();
        for (code, posting) in postings {
            assert!(again.insert_posting(code, posting.clone().into_owned()));
            assert!(!again.insert_posting(code, posting.into_owned()));
        }
        assert_eq!(again.sorted_postings(), index.sorted_postings());
    }
}
