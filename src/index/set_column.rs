//! The forward direction of a string set: from a user of a shard to its codes, all in one list.
//!
//! Invariant: reading back gives what was written. A set that no longer fits its place goes to
//! the end of the list; places left behind are packed away once they are most of it.

use smallvec::SmallVec;

use super::lengthen;
use crate::bits::Block;

/// The codes of one user.
pub type CodeSet = SmallVec<[u32; 8]>;

/// Places left behind that are worth copying the rest.
const WASTE: usize = 4_096;

/// Codes of all users, 2 bytes each while they fit.
#[derive(Clone, Debug)]
enum Pool {
    W2(Vec<u16>),
    W4(Vec<u32>),
}

/// A set of codes for each user, or none.
#[derive(Clone, Debug)]
pub(super) struct SetColumn {
    starts: Vec<u32>,
    lengths: Vec<u16>,
    pool: Pool,
    wasted: usize,
}

impl Default for SetColumn {
    fn default() -> Self {
        Self {
            starts: Vec::new(),
            lengths: Vec::new(),
            pool: Pool::W2(Vec::new()),
            wasted: 0,
        }
    }
}

impl Pool {
    fn len(&self) -> usize {
        match self {
            Self::W2(codes) => codes.len(),
            Self::W4(codes) => codes.len(),
        }
    }

    fn read(&self, start: usize, length: usize) -> CodeSet {
        match self {
            Self::W2(codes) => codes[start..start + length]
                .iter()
                .map(|&code| u32::from(code))
                .collect(),
            Self::W4(codes) => codes[start..start + length].into(),
        }
    }

    fn holds(&self, start: usize, length: usize, code: u32) -> bool {
        match self {
            Self::W2(codes) => {
                u16::try_from(code).is_ok_and(|code| codes[start..start + length].contains(&code))
            }
            Self::W4(codes) => codes[start..start + length].contains(&code),
        }
    }

    /// Writes codes at a place, at most at the end.
    fn write(&mut self, start: usize, codes: &[u32]) {
        if let Self::W2(narrow) = self
            && codes.iter().any(|&code| code > u32::from(u16::MAX))
        {
            *self = Self::W4(narrow.iter().map(|&code| u32::from(code)).collect());
        }
        let end = start + codes.len();
        match self {
            Self::W2(pool) => {
                pool.resize(pool.len().max(end), 0);
                for (place, &code) in pool[start..end].iter_mut().zip(codes) {
                    // All codes fit: looked at above.
                    *place = u16::try_from(code).unwrap_or(u16::MAX);
                }
            }
            Self::W4(pool) => {
                pool.resize(pool.len().max(end), 0);
                pool[start..end].copy_from_slice(codes);
            }
        }
    }
}

impl SetColumn {
    fn place(&self, user: u16) -> (usize, usize) {
        let position = usize::from(user);
        match (self.starts.get(position), self.lengths.get(position)) {
            (Some(&start), Some(&length)) => (start as usize, usize::from(length)),
            _ => (0, 0),
        }
    }

    /// The codes of a user, in the order written; empty for none.
    pub(super) fn get(&self, user: u16) -> CodeSet {
        let (start, length) = self.place(user);
        self.pool.read(start, length)
    }

    /// Whether a user has any code.
    pub(super) fn is_set(&self, user: u16) -> bool {
        self.place(user).1 > 0
    }

    /// Whether a user has a code.
    pub(super) fn has(&self, user: u16, code: u32) -> bool {
        let (start, length) = self.place(user);
        self.pool.holds(start, length, code)
    }

    /// As [`super::column::CodeColumn::touch`]: where the sets are, then their first codes.
    pub(super) fn touch(&self, users: impl Iterator<Item = u16> + Clone) -> u64 {
        let places = users.clone().fold(0, |sum, user| {
            let (start, length) = self.place(user);
            sum ^ start as u64 ^ length as u64
        });
        users.fold(places, |sum, user| {
            let start = self.place(user).0;
            sum ^ match &self.pool {
                Pool::W2(codes) => codes.get(start).map_or(0, |&code| code.into()),
                Pool::W4(codes) => codes.get(start).map_or(0, |&code| code.into()),
            }
        })
    }

    /// Adds to `counts[code + 1]` for each code of each selected user, to `counts[0]` for each user
    /// without codes. `counts` grows as needed.
    pub(super) fn tally(&self, selected: &Block, counts: &mut Vec<u64>) {
        let mut add = |place: usize| {
            if place >= counts.len() {
                counts.resize(place + 1, 0);
            }
            counts[place] += 1;
        };
        for user in selected.ones() {
            let (start, length) = self.place(user);
            if length == 0 {
                add(0);
            }
            match &self.pool {
                Pool::W2(codes) => {
                    for &code in &codes[start..start + length] {
                        add(usize::from(code) + 1);
                    }
                }
                Pool::W4(codes) => {
                    for &code in &codes[start..start + length] {
                        add(code as usize + 1);
                    }
                }
            }
        }
    }

    /// Gives a user codes; at most 65,535.
    pub(super) fn set(&mut self, user: u16, codes: &[u32]) {
        let position = usize::from(user);
        if position >= self.starts.len() {
            if codes.is_empty() {
                return;
            }
            lengthen(&mut self.starts, position, 0);
            lengthen(&mut self.lengths, position, 0);
        }
        let (start, length) = self.place(user);
        let start = if codes.len() <= length {
            self.wasted += length - codes.len();
            start
        } else {
            self.wasted += length;
            self.pool.len()
        };
        self.pool.write(start, codes);
        // Limits keep sets and shards far below what these hold.
        self.starts[position] =
            u32::try_from(start).expect("a shard's sets have less than 2^32 elements");
        self.lengths[position] =
            u16::try_from(codes.len()).expect("a set has less than 2^16 elements");
        if self.wasted > WASTE && self.wasted > self.pool.len() / 2 {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let mut packed = Self::default();
        for user in 0..=u16::MAX {
            if usize::from(user) >= self.starts.len() {
                break;
            }
            packed.set(user, &self.get(user));
        }
        *self = packed;
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let pool = match &self.pool {
            Pool::W2(codes) => codes.capacity() * size_of::<u16>(),
            Pool::W4(codes) => codes.capacity() * size_of::<u32>(),
        };
        pool + self.starts.capacity() * size_of::<u32>()
            + self.lengths.capacity() * size_of::<u16>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_come_back_whatever_was_there_before() {
        let mut column = SetColumn::default();
        let mut plain: Vec<Vec<u32>> = vec![Vec::new(); 300];
        // Sizes and codes move up and down, past the width and past packing.
        for step in 0..60_000_u32 {
            let user = step.wrapping_mul(2_654_435_761) % 300;
            let codes: Vec<u32> = (0..step % 7)
                .map(|n| n * 9 + step % 65_000 + step / 50_000 * 60_000)
                .collect();
            column.set(user as u16, &codes);
            plain[user as usize] = codes;
        }
        for (user, codes) in (0..).zip(&plain) {
            assert_eq!(column.get(user).as_slice(), codes.as_slice());
            assert_eq!(column.is_set(user), !codes.is_empty());
            assert!(codes.iter().all(|&code| column.has(user, code)));
            assert!(!column.has(user, u32::MAX));
        }
        assert!(column.pool.len() < 60_000);
        assert!(!column.is_set(u16::MAX) && column.get(u16::MAX).is_empty());
    }
}
