//! User ids: the texts of one shard's users, and the table from texts to ordinals.
//!
//! Invariant: an id is held once, by the shard of its user; the table holds ordinals and a part of
//! the id's hash, so that it grows without reading an id.

use std::hash::BuildHasher;
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::index::lengthen;

/// How a user is numbered inside: shard times 65,536 plus the place in the shard.
pub(super) type Ordinal = u32;

/// The longest id that is held in place.
const INLINE_BYTES: usize = 16;
const UUID: u8 = 0xfe;
const IN_ARENA: u8 = 0xff;
/// Unused bytes of an arena that are worth copying the rest.
const WASTE_BYTES: usize = 65_536;

/// The ids of one shard's users.
///
/// A canonical UUID and an id of up to 16 bytes take 17 bytes; longer ones lie in an arena.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// The length of an id held in place, 0 for none, or a mark.
    kinds: Vec<u8>,
    entries: Vec<[u8; INLINE_BYTES]>,
    arena: Vec<u8>,
    wasted: usize,
}

impl Ids {
    pub(super) fn set(&mut self, user: u16, id: &str) {
        self.clear(user);
        let position = usize::from(user);
        lengthen(&mut self.kinds, position, 0);
        lengthen(&mut self.entries, position, [0; INLINE_BYTES]);
        let entry = &mut self.entries[position];
        let bytes = id.as_bytes();
        if bytes.len() <= INLINE_BYTES {
            entry[..bytes.len()].copy_from_slice(bytes);
            #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
            let length = bytes.len() as u8;
            self.kinds[position] = length;
        } else if let Some(uuid) = parse_uuid(bytes) {
            *entry = uuid;
            self.kinds[position] = UUID;
        } else {
            entry[..8].copy_from_slice(&(self.arena.len() as u64).to_le_bytes());
            entry[8..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
            self.arena.extend_from_slice(bytes);
            self.kinds[position] = IN_ARENA;
        }
    }

    /// Forgets an id, so that none of its bytes stay for long.
    pub(super) fn clear(&mut self, user: u16) {
        let position = usize::from(user);
        let Some(kind) = self.kinds.get_mut(position) else {
            return;
        };
        let kind = std::mem::take(kind);
        if kind == IN_ARENA {
            let (start, length) = arena_place(&self.entries[position]);
            self.arena[start..start + length].fill(0);
            self.wasted += length;
        }
        self.entries[position] = [0; INLINE_BYTES];
        if self.wasted > WASTE_BYTES && self.wasted > self.arena.len() / 2 {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let mut packed = Vec::with_capacity(self.arena.len() - self.wasted);
        for (kind, entry) in self.kinds.iter().zip(&mut self.entries) {
            if *kind == IN_ARENA {
                let (start, length) = arena_place(entry);
                entry[..8].copy_from_slice(&(packed.len() as u64).to_le_bytes());
                packed.extend_from_slice(&self.arena[start..start + length]);
            }
        }
        self.arena = packed;
        self.wasted = 0;
    }

    /// The id of a user; `None` if it has none.
    pub(super) fn get(&self, user: u16) -> Option<String> {
        self.with(user, |id| String::from_utf8_lossy(id).into_owned())
    }

    /// Reads the bytes of a user's id; `None` if it has none.
    pub(super) fn with<T>(&self, user: u16, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let position = usize::from(user);
        let entry = self.entries.get(position)?;
        match self.kinds[position] {
            0 => None,
            UUID => Some(read(&format_uuid(entry))),
            IN_ARENA => {
                let (start, length) = arena_place(entry);
                Some(read(&self.arena[start..start + length]))
            }
            length => Some(read(&entry[..usize::from(length)])),
        }
    }

    /// Whether a user has this id.
    pub(super) fn is(&self, user: u16, id: &str) -> bool {
        let position = usize::from(user);
        let Some(entry) = self.entries.get(position) else {
            return false;
        };
        match self.kinds[position] {
            0 => false,
            UUID => parse_uuid(id.as_bytes()) == Some(*entry),
            IN_ARENA => {
                let (start, length) = arena_place(entry);
                &self.arena[start..start + length] == id.as_bytes()
            }
            length => &entry[..usize::from(length)] == id.as_bytes(),
        }
    }

    /// Reads the ids of some users without looking at them, so that the reads wait for memory
    /// together.
    pub(super) fn touch(&self, users: impl Iterator<Item = u16>) {
        std::hint::black_box(users.fold(0, |sum, user| {
            let position = usize::from(user);
            let kind = self.kinds.get(position).copied().unwrap_or(0);
            sum ^ kind ^ self.entries.get(position).map_or(0, |entry| entry[0])
        }));
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.kinds.capacity() + self.entries.capacity() * INLINE_BYTES + self.arena.capacity()
    }
}

fn arena_place(entry: &[u8; INLINE_BYTES]) -> (usize, usize) {
    let mut halves = [[0; 8]; 2];
    halves[0].copy_from_slice(&entry[..8]);
    halves[1].copy_from_slice(&entry[8..]);
    #[expect(clippy::cast_possible_truncation, reason = "written from usize above")]
    let [start, length] = halves.map(|half| u64::from_le_bytes(half) as usize);
    (start, length)
}

/// Where the hyphens of a canonical UUID are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The 16 bytes of a UUID in its canonical form: 36 characters, lower case.
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if HYPHENS.iter().any(|&position| text[position] != b'-') {
        return None;
    }
    // Without a branch per digit, which is guessed wrong every other time: 70 ns less.
    let (mut bytes, mut all) = ([0; 16], 0);
    for (byte, place) in bytes.iter_mut().zip(DIGIT_PLACES) {
        let (high, low) = (
            HEX_DIGITS[usize::from(text[place])],
            HEX_DIGITS[usize::from(text[place + 1])],
        );
        all |= high | low;
        *byte = high << 4 | low;
    }
    (all & NO_DIGIT == 0).then_some(bytes)
}

/// Where the two digits of each byte of a UUID are.
const DIGIT_PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const NO_DIGIT: u8 = 0x80;

/// What each character stands for.
static HEX_DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0_u8;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

fn format_uuid(bytes: &[u8; 16]) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    for (byte, place) in bytes.iter().zip(DIGIT_PLACES) {
        text[place] = DIGITS[usize::from(byte >> 4)];
        text[place + 1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// How many tables share the ids, so that no insert waits for more than one 256th of them to move.
const TABLES: usize = 256;

/// From ids to ordinals, in many tables with a lock each.
#[derive(Debug)]
pub(super) struct UserTable {
    tables: Box<[RwLock<HashTable<Entry>>]>,
    hasher: RandomState,
}

/// The hash of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdHash(u64);

impl IdHash {
    /// All of it.
    pub(super) fn whole(self) -> u64 {
        self.0
    }

    /// The number of an id's table, and the part of the hash that is kept.
    fn split(self) -> (u8, u32) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the upper byte and the lower half"
        )]
        let parts = ((self.0 >> 56) as u8, self.0 as u32);
        parts
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    ordinal: Ordinal,
    hash: u32,
}

impl Entry {
    /// The tables look at the highest and the lowest bits of a hash.
    fn spread(self) -> u64 {
        spread(self.hash)
    }
}

fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Default for UserTable {
    fn default() -> Self {
        Self {
            tables: (0..TABLES).map(|_| RwLock::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl UserTable {
    /// The hash of an id.
    pub(super) fn hash(&self, id: &str) -> IdHash {
        IdHash(self.hasher.hash_one(id))
    }

    fn place(&self, hash: IdHash) -> (&RwLock<HashTable<Entry>>, u32) {
        let (table, hash) = hash.split();
        (&self.tables[usize::from(table)], hash)
    }

    /// The first ordinal that could be that of an id and that `accept` accepts, and what it made
    /// of it. No lock is held while it does.
    pub(super) fn find<T>(
        &self,
        id: IdHash,
        accept: impl Fn(Ordinal) -> Option<T>,
    ) -> Option<(Ordinal, T)> {
        let (table, hash) = self.place(id);
        let candidates = |skip| {
            let table = table.read().unwrap_or_else(PoisonError::into_inner);
            table
                .iter_hash(spread(hash))
                .filter(|entry| entry.hash == hash)
                .nth(skip)
                .map(|entry| entry.ordinal)
        };
        // Nearly always there is one candidate or none.
        (0..)
            .map_while(candidates)
            .find_map(|ordinal| accept(ordinal).map(|found| (ordinal, found)))
    }

    /// For each id the first ordinal that could be its own, `None` if there is none. Table by
    /// table, so that the waits for memory of one overlap.
    pub(super) fn first_candidates(
        &self,
        ids: impl Iterator<Item = IdHash>,
    ) -> Vec<Option<Ordinal>> {
        let mut places: Vec<(u8, u32, u32)> = (0..)
            .zip(ids)
            .map(|(position, id)| {
                let (table, hash) = id.split();
                (table, hash, position)
            })
            .collect();
        let mut found = vec![None; places.len()];
        places.sort_unstable_by_key(|(table, _, _)| *table);
        for same in places.chunk_by(|a, b| a.0 == b.0) {
            let table = &self.tables[usize::from(same[0].0)];
            let table = table.read().unwrap_or_else(PoisonError::into_inner);
            for &(_, hash, position) in same {
                let entry = table.find(spread(hash), |entry| entry.hash == hash);
                found[position as usize] = entry.map(|entry| entry.ordinal);
            }
        }
        found
    }

    /// Inserts many, table by table.
    pub(super) fn insert_all(&self, users: &mut [(IdHash, Ordinal)]) {
        let number = |(id, _): &(IdHash, Ordinal)| id.split().0;
        users.sort_unstable_by_key(number);
        for same in users.chunk_by(|a, b| number(a) == number(b)) {
            let (table, _) = self.place(same[0].0);
            let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
            for &(id, ordinal) in same {
                let (_, hash) = id.split();
                let entry = Entry { ordinal, hash };
                table.insert_unique(entry.spread(), entry, |entry| entry.spread());
            }
        }
    }

    pub(super) fn remove(&self, id: IdHash, ordinal: Ordinal) {
        let (table, hash) = self.place(id);
        let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(entry) = table.find_entry(spread(hash), |entry| entry.ordinal == ordinal) {
            entry.remove();
        }
    }

    /// How many users it has.
    pub(super) fn len(&self) -> u64 {
        let tables = self.tables.iter();
        tables
            .map(|table| table.read().unwrap_or_else(PoisonError::into_inner).len() as u64)
            .sum()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let tables = self.tables.iter();
        tables
            .map(|table| {
                table
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .allocation_size()
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 9] = [
        "u",
        "exactly-16-bytes",
        "exactly-17-bytes!",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "00000000-0000-0000-0000-000000000000",
        "0F8FAD5B-D9CB-469F-A165-70867728950E",
        "0f8fad5b-d9cb-469f-a165-70867728950g",
        "0f8fad5b-d9cb-469f-a165+70867728950e",
        "Größe Größe Größe Größe",
    ];

    #[test]
    fn ids_come_back_whatever_their_form() {
        let mut ids = Ids::default();
        let longest = "x".repeat(256);
        let texts: Vec<&str> = TEXTS.into_iter().chain([longest.as_str()]).collect();
        for (user, text) in (0..).step_by(3).zip(&texts) {
            ids.set(user, text);
        }
        for (user, text) in (0..).step_by(3).zip(&texts) {
            assert_eq!(ids.get(user).as_deref(), Some(*text));
            for other in &texts {
                assert_eq!(ids.is(user, other), other == text);
            }
            assert_eq!(ids.get(user + 1), None);
            assert!(!ids.is(user + 1, text));
        }
    }

    #[test]
    fn cleared_ids_leave_no_bytes_and_the_arena_is_packed() {
        let mut ids = Ids::default();
        let text = |user: u16| format!("{user:0>200}");
        for user in 0..2_000 {
            ids.set(user, &text(user));
        }
        for user in (0..2_000).filter(|user| user % 5 != 0) {
            ids.clear(user);
            ids.clear(user);
        }
        assert!(ids.arena.len() < 2_000 * 200 / 2);
        for user in 0..2_000 {
            assert_eq!(ids.get(user), (user % 5 == 0).then(|| text(user)));
        }
        let mut ids = Ids::default();
        ids.set(0, "a secret that is longer than 16 bytes");
        ids.clear(0);
        assert!(ids.arena.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn the_table_finds_what_was_inserted() {
        let table = UserTable::default();
        let id = |ordinal: u32| table.hash(&format!("user-{ordinal}"));
        let mut users: Vec<_> = (0..5_000).map(|ordinal| (id(ordinal), ordinal)).collect();
        table.insert_all(&mut users);
        for ordinal in (0..5_000).step_by(2) {
            table.remove(id(ordinal), ordinal);
        }
        for ordinal in 0..5_000 {
            let found = table.find(id(ordinal), |candidate| {
                (candidate == ordinal).then_some(())
            });
            assert_eq!(found.is_some(), ordinal % 2 == 1);
            assert!(table.find(id(ordinal), |_| None::<()>).is_none());
        }
    }
}
