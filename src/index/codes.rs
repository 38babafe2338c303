//! A property with one dictionary code per user: bools, strings and versions.
//!
//! Invariant: a user is in the posting of a code, or among the rare users, exactly if the column
//! gives it that code; no posting is empty, and which codes have one does not show.

use std::borrow::Cow;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::column::CodeColumn;
use super::posting::Posting;
use super::rare::RareUsers;
use crate::bits::Block;

/// In the time in which a column of bytes is compared with one code, so many users of a posting
/// are visited (measured on Zen 4).
const COMPARING: usize = 350;

/// A code that more users of the shard have gets a posting of its own.
const RARE: usize = 8;
/// A posting with fewer users is given up.
const RARE_DOWN_TO: u32 = 4;

/// The codes of one shard's users, in both directions.
#[derive(Clone, Debug, Default)]
pub struct CodeIndex {
    column: CodeColumn,
    postings: HashMap<u32, Posting, FixedState>,
    /// The users of all other codes.
    rare: RareUsers,
    present: Posting,
}

impl CodeIndex {
    #[cfg(test)]
    pub(super) fn column_mut(&mut self) -> &mut CodeColumn {
        &mut self.column
    }

    #[cfg(test)]
    pub(super) fn posting_mut(&mut self, code: u32) -> &mut Posting {
        self.postings.get_mut(&code).unwrap()
    }

    /// The code of a user.
    #[must_use]
    pub fn get(&self, user: u16) -> Option<u32> {
        self.column.get(user)
    }

    /// Gives a user a code, or none; returns the one before.
    pub fn set(&mut self, user: u16, code: Option<u32>) -> Option<u32> {
        let before = self.column.get(user);
        if before == code {
            return before;
        }
        if let Some(before) = before {
            self.remove(user, before);
        }
        self.column.set(user, code);
        match code {
            Some(code) => {
                self.insert(user, code);
                self.present.insert(user);
            }
            None => {
                self.present.remove(user);
            }
        }
        before
    }

    /// Takes a user, who has the code in the column still, out of its posting.
    fn remove(&mut self, user: u16, code: u32) {
        let Some(posting) = self.postings.get_mut(&code) else {
            self.rare.remove(user, &self.column);
            return;
        };
        posting.remove(user);
        if posting.count() < RARE_DOWN_TO
            && let Some(posting) = self.postings.remove(&code)
        {
            posting.for_each(|user| self.rare.insert(user, &self.column));
        }
    }

    /// Puts a user, who has the code in the column already, into its posting.
    fn insert(&mut self, user: u16, code: u32) {
        if let Some(posting) = self.postings.get_mut(&code) {
            posting.insert(user);
            return;
        }
        let others: SmallVec<[u16; RARE]> = self.rare.with_code(code, &self.column).collect();
        if others.len() < RARE {
            self.rare.insert(user, &self.column);
            return;
        }
        let mut posting = Posting::default();
        posting.insert(user);
        for other in others {
            self.rare.remove(other, &self.column);
            posting.insert(other);
        }
        self.postings.insert(code, posting);
    }

    pub(super) fn touch(&self, users: impl Iterator<Item = u16>) -> u64 {
        self.column.touch(users)
    }

    /// The users with a code.
    #[must_use]
    pub fn posting(&self, code: u32) -> Option<Cow<'_, Posting>> {
        match self.postings.get(&code) {
            Some(posting) => Some(Cow::Borrowed(posting)),
            None => self.rare.posting(code, &self.column).map(Cow::Owned),
        }
    }

    /// How many users have a code.
    #[must_use]
    pub fn count_of(&self, code: u32) -> u32 {
        if let Some(posting) = self.postings.get(&code) {
            posting.count()
        } else {
            let users = self.rare.with_code(code, &self.column);
            users.fold(0, |count, _| count + 1)
        }
    }

    /// The users with any code.
    #[must_use]
    pub fn present(&self) -> &Posting {
        &self.present
    }

    /// Makes a block hold the users with one of the codes.
    pub fn fill_any(&self, codes: &[u32], target: &mut Block) {
        if Block::fills_any_fast() && codes.len() > 1 {
            let scan = codes.len() * self.column.width() * COMPARING;
            let mut visits = 0;
            let is_worth_it = codes.iter().any(|code| {
                visits += self.postings.get(code).map_or(0, Posting::visits);
                visits > scan
            });
            if is_worth_it {
                return self.column.fill_any(codes, target);
            }
        }
        target.clear();
        for code in codes {
            if let Some(posting) = self.postings.get(code) {
                posting.or_into(target);
            } else {
                for user in self.rare.with_code(*code, &self.column) {
                    target.insert(user);
                }
            }
        }
    }

    /// Counts the selected users by code, as [`CodeColumn::tally`] does.
    pub fn tally(&self, selected: &Block, counts: &mut Vec<u64>) {
        self.column.tally(selected, counts);
    }

    /// The postings in the order of their codes.
    #[must_use]
    pub fn sorted_postings(&self) -> Vec<(u32, Cow<'_, Posting>)> {
        let mut rare: Vec<(u32, u16)> = self.rare.iter(&self.column).collect();
        rare.sort_unstable();
        let rare = rare.chunk_by(|a, b| a.0 == b.0).map(|same| {
            let mut posting = Posting::default();
            for (_, user) in same {
                posting.insert(*user);
            }
            (same[0].0, Cow::Owned(posting))
        });
        let held = self.postings.iter();
        let held = held.map(|(&code, posting)| (code, Cow::Borrowed(posting)));
        let mut sorted: Vec<_> = held.chain(rare).collect();
        sorted.sort_unstable_by_key(|&(code, _)| code);
        sorted
    }

    /// Adds a posting; returns `false` if it is empty, or the code or one of the users has been
    /// added before.
    pub(super) fn insert_posting(&mut self, code: u32, posting: Posting) -> bool {
        let is_known = self.postings.contains_key(&code)
            || self.rare.with_code(code, &self.column).count() > 0;
        let mut overlaps = false;
        posting.for_each(|user| overlaps |= self.present.contains(user));
        if is_known || overlaps || posting.is_empty() {
            return false;
        }
        posting.for_each(|user| {
            self.present.insert(user);
            self.column.set(user, Some(code));
        });
        if posting.count() as usize <= RARE {
            posting.for_each(|user| self.rare.insert(user, &self.column));
        } else {
            self.postings.insert(code, posting);
        }
        true
    }

    /// Bytes of memory on the heap: column, then postings.
    #[must_use]
    pub fn heap_bytes(&self) -> (usize, usize) {
        let postings = heap_bytes(&self.postings) + self.rare.heap_bytes();
        (
            self.column.heap_bytes(),
            postings + self.present.heap_bytes(),
        )
    }
}

pub(super) fn remove_from(postings: &mut HashMap<u32, Posting, FixedState>, code: u32, user: u16) {
    if let Some(posting) = postings.get_mut(&code) {
        posting.remove(user);
        if posting.is_empty() {
            postings.remove(&code);
        }
    }
}

pub(super) fn fill_any(
    postings: &HashMap<u32, Posting, FixedState>,
    codes: &[u32],
    target: &mut Block,
) {
    target.clear();
    for posting in codes.iter().filter_map(|code| postings.get(code)) {
        posting.or_into(target);
    }
}

pub(super) fn sorted(postings: &HashMap<u32, Posting, FixedState>) -> Vec<(u32, Cow<'_, Posting>)> {
    let mut sorted: Vec<_> = postings
        .iter()
        .map(|(&code, posting)| (code, Cow::Borrowed(posting)))
        .collect();
    sorted.sort_unstable_by_key(|&(code, _)| code);
    sorted
}

pub(super) fn heap_bytes(postings: &HashMap<u32, Posting, FixedState>) -> usize {
    postings.allocation_size() + postings.values().map(Posting::heap_bytes).sum::<usize>()
}
