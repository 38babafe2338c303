//! The users of a shard who were selected once, kept to be asked about again.
//!
//! Invariant: they are the users of the block that was held, in no more than 8 KiB.

use crate::bits::{Block, Words};

/// So many users take as much as a block when they are listed.
const LISTED: u32 = 4_096;

/// Users of one shard.
#[derive(Debug)]
pub(super) enum Held {
    /// A few, ascending.
    Few(Box<[u16]>),
    Many(Block),
}

impl Held {
    pub(super) fn of(selected: &Block) -> Self {
        if selected.count() < LISTED {
            Self::Few(selected.ones().collect())
        } else {
            Self::Many(selected.clone())
        }
    }

    /// How many they are.
    pub(super) fn count(&self) -> u32 {
        match self {
            // Fewer than are worth a block.
            Self::Few(users) => u32::try_from(users.len()).unwrap_or(u32::MAX),
            Self::Many(users) => users.count(),
        }
    }

    /// All of them, ascending.
    pub(super) fn users(&self) -> Box<dyn Iterator<Item = u16> + '_> {
        match self {
            Self::Few(users) => Box::new(users.iter().copied()),
            Self::Many(users) => Box::new(users.ones()),
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Few(users) => size_of_val::<[u16]>(users),
                Self::Many(_) => size_of::<Words>(),
            }
    }

    /// How many of them are not in a block.
    pub(super) fn count_outside(&self, block: &Block) -> u32 {
        match self {
            Self::Few(users) => users
                .iter()
                .fold(0, |count, user| count + u32::from(!block.contains(*user))),
            Self::Many(users) => users.count() - users.and_count(block),
        }
    }

    pub(super) fn or_into(&self, target: &mut Block) {
        match self {
            Self::Few(users) => {
                for user in users {
                    target.insert(*user);
                }
            }
            Self::Many(users) => target.or(users),
        }
    }

    pub(super) fn copy_into(&self, target: &mut Block) {
        target.clear();
        self.or_into(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_are_the_users_of_the_block() {
        for step in [1, 15, 16, 17, 20_000] {
            let mut selected = Block::new();
            let mut other = Block::new();
            for user in (0..=u16::MAX).step_by(step) {
                selected.insert(user);
                if user % 3 == 0 {
                    other.insert(user);
                }
            }
            other.insert(5);
            let held = Held::of(&selected);
            assert_eq!(matches!(held, Held::Few(_)), step > 16);
            assert_eq!(held.count(), selected.count());
            assert!(held.users().eq(selected.ones()) && held.bytes() <= 8_300);
            let outside = selected.ones().filter(|user| !other.contains(*user));
            assert_eq!(held.count_outside(&other) as usize, outside.count());
            let mut copied = other.clone();
            held.copy_into(&mut copied);
            assert_eq!(copied, selected);
            held.or_into(&mut other);
            assert!(other.contains(5) && other.and_count(&selected) == selected.count());
        }
    }
}
