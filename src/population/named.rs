//! The users whom one write names: each once, whatever the number of its updates.
//!
//! Invariant: only the writer changes which users there are, so that what was found here holds until
//! the write has been carried out.

use hashbrown::HashTable;

use super::users::{IdHash, Ordinal};
use super::{Population, SHARD_USERS};
use crate::model::{UserId, UserUpdate};

/// A user whom a write names.
pub(super) struct Named<'a> {
    pub(super) id: &'a UserId,
    pub(super) hash: IdHash,
    /// `None` if the user is new.
    pub(super) ordinal: Option<Ordinal>,
    /// How many values the write gives or takes.
    pub(super) effects: usize,
}

/// The users in the order in which a write names them first.
pub(super) struct NamedUsers<'a> {
    pub(super) users: Vec<Named<'a>>,
    /// The user of each update; empty if each update has a user of its own.
    of_updates: Vec<u32>,
}

impl<'a> NamedUsers<'a> {
    /// The user of an update: its position among the users, and itself.
    pub(super) fn of_update(&mut self, update: usize) -> (u32, &mut Named<'a>) {
        #[expect(clippy::cast_possible_truncation, reason = "a command is below 4 GiB")]
        let user = self
            .of_updates
            .get(update)
            .map_or(update as u32, |&user| user);
        (user, &mut self.users[user as usize])
    }

    pub(super) fn new_users(&self) -> u64 {
        let new = self.users.iter().filter(|user| user.ordinal.is_none());
        new.count() as u64
    }
}

impl Population {
    /// Finds the users whom updates name.
    pub(super) fn named<'a>(&self, updates: &'a [UserUpdate]) -> NamedUsers<'a> {
        let mut named = self.distinct(updates);
        if let [user] = named.users.as_mut_slice() {
            user.ordinal = self.ordinal_of(user.id, user.hash);
            return named;
        }
        let ids: Vec<(&UserId, IdHash)> = named
            .users
            .iter()
            .map(|user| (user.id, user.hash))
            .collect();
        self.with_hashed_users(&ids, |reader, found| {
            for &(position, place) in found {
                let ordinal = reader.number() * SHARD_USERS + u32::from(place);
                named.users[position].ordinal = Some(ordinal);
            }
        });
        named
    }

    fn distinct<'a>(&self, updates: &'a [UserUpdate]) -> NamedUsers<'a> {
        let mut users: Vec<Named<'a>> = Vec::with_capacity(updates.len());
        let mut of_updates: Vec<u32> = Vec::new();
        let mut table: HashTable<u32> = HashTable::new();
        if updates.len() > 1 {
            table = HashTable::with_capacity(updates.len());
        }
        for (position, update) in updates.iter().enumerate() {
            let hash = self.table.hash(update.user.as_str());
            if updates.len() > 1 {
                let known = table.find(hash.whole(), |&user| {
                    let known = &users[user as usize];
                    known.hash == hash && known.id == &update.user
                });
                if let Some(&known) = known {
                    if of_updates.is_empty() {
                        of_updates = (0..).take(position).collect();
                    }
                    of_updates.push(known);
                    continue;
                }
                #[expect(clippy::cast_possible_truncation, reason = "a command is below 4 GiB")]
                let number = users.len() as u32;
                table.insert_unique(hash.whole(), number, |&user| {
                    users[user as usize].hash.whole()
                });
                if !of_updates.is_empty() {
                    of_updates.push(number);
                }
            }
            users.push(Named {
                id: &update.user,
                hash,
                ordinal: None,
                effects: 0,
            });
        }
        NamedUsers { users, of_updates }
    }
}
