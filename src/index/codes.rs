//! A property with one dictionary code per user: bools, strings and versions.
//!
//! Invariant: a user is in the posting of a code exactly if the column gives it that code, and no
//! posting is empty.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::column::CodeColumn;
use super::posting::Posting;
use crate::bits::Block;

/// In the time in which a column of bytes is compared with one code, so many users of a posting
/// are visited (measured on Zen 4).
const COMPARING: usize = 350;

/// The codes of one shard's users, in both directions.
#[derive(Clone, Debug, Default)]
pub struct CodeIndex {
    column: CodeColumn,
    postings: HashMap<u32, Posting, FixedState>,
    present: Posting,
}

impl CodeIndex {
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
            remove_from(&mut self.postings, before, user);
        }
        match code {
            Some(code) => {
                self.postings.entry(code).or_default().insert(user);
                self.present.insert(user);
            }
            None => {
                self.present.remove(user);
            }
        }
        self.column.set(user, code);
        before
    }

    pub(super) fn touch(&self, users: impl Iterator<Item = u16>) -> u64 {
        self.column.touch(users)
    }

    /// The users with a code.
    #[must_use]
    pub fn posting(&self, code: u32) -> Option<&Posting> {
        self.postings.get(&code)
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
        fill_any(&self.postings, codes, target);
    }

    /// Counts the selected users by code, as [`CodeColumn::tally`] does.
    pub fn tally(&self, selected: &Block, counts: &mut Vec<u64>) {
        self.column.tally(selected, counts);
    }

    /// The postings in the order of their codes.
    #[must_use]
    pub fn sorted_postings(&self) -> Vec<(u32, &Posting)> {
        sorted(&self.postings)
    }

    pub(super) fn insert_posting(&mut self, code: u32, posting: Posting) -> bool {
        let mut overlaps = false;
        posting.for_each(|user| {
            overlaps |= !self.present.insert(user);
            self.column.set(user, Some(code));
        });
        !overlaps && !posting.is_empty() && self.postings.insert(code, posting).is_none()
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

pub(super) fn sorted(postings: &HashMap<u32, Posting, FixedState>) -> Vec<(u32, &Posting)> {
    let mut sorted: Vec<_> = postings
        .iter()
        .map(|(&code, posting)| (code, posting))
        .collect();
    sorted.sort_unstable_by_key(|&(code, _)| code);
    sorted
}

pub(super) fn heap_bytes(postings: &HashMap<u32, Posting, FixedState>) -> usize {
    postings.allocation_size() + postings.values().map(Posting::heap_bytes).sum::<usize>()
}
