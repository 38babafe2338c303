//! The users of one shard that have one value. The only file that names CRoaring.
//!
//! Three forms, by the number of users: a handful inline, since a Roaring bitmap of one user costs
//! more than a hundred bytes; a Roaring bitmap; and above 1,024 users a [`Block`], which can be
//! combined word by word with intermediate results. Roaring itself would hold a sorted array of 2
//! bytes a user up to 4,096 users; visiting a thousand of them takes ten times as long as going
//! through the words of a block, which is worth 4 bytes a user over a whole population.
//!
//! Invariant: the form follows from the number of users (with some slack downwards, so that a
//! posting at a border does not change its form at every update), and that number is kept.
#![expect(clippy::disallowed_types, reason = "the owner of CRoaring")]

use croaring::{Bitmap, Portable};

use crate::bits::{Block, Words};

const INLINE: usize = 10;
/// A posting of more users is a block.
const DENSE_ABOVE: u32 = 1_024;
const DENSE_DOWN_TO: u32 = 896;

/// A set of the users of one shard.
#[derive(Clone, Debug)]
pub struct Posting(Form);

#[derive(Clone, Debug)]
enum Form {
    Few { length: u8, users: [u16; INLINE] },
    Sparse(Box<Bitmap>),
    Dense { count: u32, block: Block },
}

impl Default for Posting {
    fn default() -> Self {
        Self(Form::Few {
            length: 0,
            users: [0; INLINE],
        })
    }
}

impl PartialEq for Posting {
    fn eq(&self, other: &Self) -> bool {
        self.to_block() == other.to_block()
    }
}

impl Posting {
    /// How many users are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        match &self.0 {
            Form::Few { length, .. } => u32::from(*length),
            #[expect(clippy::cast_possible_truncation, reason = "a shard has 65,536 users")]
            Form::Sparse(bitmap) => bitmap.cardinality() as u32,
            Form::Dense { count, .. } => *count,
        }
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Whether a user is in it.
    #[must_use]
    pub fn contains(&self, user: u16) -> bool {
        match &self.0 {
            Form::Few { length, users } => users[..usize::from(*length)].contains(&user),
            Form::Sparse(bitmap) => bitmap.contains(u32::from(user)),
            Form::Dense { block, .. } => block.contains(user),
        }
    }

    /// Adds a user; returns whether it was missing.
    pub fn insert(&mut self, user: u16) -> bool {
        match &mut self.0 {
            Form::Few { length, users } => {
                let held = &users[..usize::from(*length)];
                let Err(position) = held.binary_search(&user) else {
                    return false;
                };
                if held.len() == INLINE {
                    let mut bitmap: Bitmap = held.iter().map(|&user| u32::from(user)).collect();
                    bitmap.add(u32::from(user));
                    self.0 = Form::Sparse(Box::new(bitmap));
                } else {
                    users.copy_within(position..usize::from(*length), position + 1);
                    users[position] = user;
                    *length += 1;
                }
                true
            }
            Form::Sparse(bitmap) => {
                let added = bitmap.add_checked(u32::from(user));
                if added && bitmap.cardinality() > u64::from(DENSE_ABOVE) {
                    self.0 = dense_form(bitmap);
                }
                added
            }
            Form::Dense { count, block } => {
                let added = block.insert(user);
                *count += u32::from(added);
                added
            }
        }
    }

    /// Removes a user; returns whether it was there.
    pub fn remove(&mut self, user: u16) -> bool {
        match &mut self.0 {
            Form::Few { length, users } => {
                let held = &users[..usize::from(*length)];
                let Ok(position) = held.binary_search(&user) else {
                    return false;
                };
                users.copy_within(position + 1..usize::from(*length), position);
                *length -= 1;
                true
            }
            Form::Sparse(bitmap) => {
                let removed = bitmap.remove_checked(u32::from(user));
                if removed && bitmap.cardinality() <= (INLINE / 2) as u64 {
                    self.0 = few_form(bitmap);
                }
                removed
            }
            Form::Dense { count, block } => {
                let removed = block.remove(user);
                *count -= u32::from(removed);
                if removed && *count < DENSE_DOWN_TO {
                    let bitmap = block.ones().map(u32::from).collect();
                    self.0 = Form::Sparse(Box::new(bitmap));
                }
                removed
            }
        }
    }

    /// Its words, if it has that form: then combining words beats visiting users.
    #[must_use]
    pub fn words(&self) -> Option<&Words> {
        match &self.0 {
            Form::Few { .. } | Form::Sparse(_) => None,
            Form::Dense { block, .. } => Some(block.words()),
        }
    }

    /// How much time adding it to a block takes, in users of a sparse posting that are visited in
    /// that time.
    #[must_use]
    pub fn visits(&self) -> usize {
        match &self.0 {
            Form::Few { length, .. } => usize::from(*length),
            Form::Sparse(_) => self.count() as usize,
            Form::Dense { .. } => 100,
        }
    }

    /// Calls `visit` with each user, ascending.
    pub fn for_each(&self, mut visit: impl FnMut(u16)) {
        match &self.0 {
            Form::Few { length, users } => users[..usize::from(*length)]
                .iter()
                .copied()
                .for_each(visit),
            Form::Sparse(bitmap) => for_each_of(bitmap, visit),
            Form::Dense { block, .. } => {
                for user in block.ones() {
                    visit(user);
                }
            }
        }
    }

    /// Adds all its users to a block.
    pub fn or_into(&self, target: &mut Block) {
        match &self.0 {
            Form::Dense { block, .. } => target.or(block),
            Form::Few { .. } | Form::Sparse(_) => {
                let words = target.words_mut();
                self.for_each(|user| words[usize::from(user >> 6)] |= 1 << (user & 63));
            }
        }
    }

    /// Makes a block hold its users and no others.
    pub fn copy_into(&self, target: &mut Block) {
        match &self.0 {
            Form::Dense { block, .. } => target.copy_from(block),
            Form::Few { .. } | Form::Sparse(_) => {
                target.clear();
                self.or_into(target);
            }
        }
    }

    /// Removes all its users from a block.
    pub fn remove_from(&self, target: &mut Block) {
        match &self.0 {
            Form::Dense { block, .. } => target.and_not(block),
            Form::Few { .. } | Form::Sparse(_) => {
                let words = target.words_mut();
                self.for_each(|user| words[usize::from(user >> 6)] &= !(1 << (user & 63)));
            }
        }
    }

    /// Keeps of a block only its users. `scratch` may end up holding anything.
    pub fn and_into(&self, target: &mut Block, scratch: &mut Block) {
        match &self.0 {
            Form::Dense { block, .. } => target.and(block),
            Form::Few { .. } | Form::Sparse(_) => {
                scratch.clear();
                let kept = scratch.words_mut();
                let words = target.words();
                self.for_each(|user| {
                    let word = usize::from(user >> 6);
                    kept[word] |= words[word] & (1 << (user & 63));
                });
                std::mem::swap(target, scratch);
            }
        }
    }

    /// How many users are in both.
    #[must_use]
    pub fn and_count(&self, other: &Self) -> u32 {
        match (&self.0, &other.0) {
            (Form::Dense { block: a, .. }, Form::Dense { block: b, .. }) => a.and_count(b),
            #[expect(clippy::cast_possible_truncation, reason = "a shard has 65,536 users")]
            (Form::Sparse(a), Form::Sparse(b)) => a.and_cardinality(b) as u32,
            (Form::Dense { block, .. }, _) => other.count_in(block),
            (_, Form::Dense { block, .. }) => self.count_in(block),
            (Form::Few { .. }, _) => self.count_where(|user| other.contains(user)),
            (_, Form::Few { .. }) => other.count_where(|user| self.contains(user)),
        }
    }

    /// How many of its users are in a block.
    #[must_use]
    pub fn count_in(&self, target: &Block) -> u32 {
        match &self.0 {
            Form::Dense { block, .. } => block.and_count(target),
            Form::Few { .. } | Form::Sparse(_) => self.count_where(|user| target.contains(user)),
        }
    }

    /// How many of its users pass a test.
    #[must_use]
    pub fn count_where(&self, is_counted: impl Fn(u16) -> bool) -> u32 {
        let mut count = 0;
        self.for_each(|user| count += u32::from(is_counted(user)));
        count
    }

    /// Its users as a block.
    #[must_use]
    pub fn to_block(&self) -> Block {
        let mut block = Block::new();
        self.or_into(&mut block);
        block
    }

    /// The users of a block.
    #[must_use]
    pub fn of_block(block: &Block) -> Self {
        let count = block.count();
        if count > DENSE_ABOVE {
            let block = block.clone();
            return Self(Form::Dense { count, block });
        }
        let mut posting = Self::default();
        for user in block.ones() {
            posting.insert(user);
        }
        posting
    }

    /// The set in the portable Roaring format.
    #[must_use]
    pub fn to_portable(&self) -> Vec<u8> {
        let mut bitmap = Bitmap::new();
        self.for_each(|user| bitmap.add(u32::from(user)));
        bitmap.run_optimize();
        bitmap.serialize::<Portable>()
    }

    /// Reads the portable Roaring format; `None` if the bytes are not that, or name a user beyond
    /// the shard.
    #[must_use]
    pub fn from_portable(bytes: &[u8]) -> Option<Self> {
        let mut bitmap = Bitmap::try_deserialize::<Portable>(bytes)?;
        if bitmap.get_serialized_size_in_bytes::<Portable>() != bytes.len()
            || bitmap
                .maximum()
                .is_some_and(|user| user > u32::from(u16::MAX))
        {
            return None;
        }
        bitmap.remove_run_compression();
        Some(Self(match bitmap.cardinality() {
            count if count <= INLINE as u64 => few_form(&bitmap),
            count if count <= u64::from(DENSE_ABOVE) => Form::Sparse(Box::new(bitmap)),
            _ => dense_form(&bitmap),
        }))
    }

    /// Bytes of memory on the heap, as far as CRoaring tells.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Few { .. } => 0,
            Form::Sparse(bitmap) => {
                let statistics = bitmap.statistics();
                let containers = statistics.n_bytes_array_containers
                    + statistics.n_bytes_run_containers
                    + statistics.n_bytes_bitset_containers;
                size_of::<Bitmap>() + containers as usize
            }
            Form::Dense { .. } => size_of::<[u64; crate::bits::WORDS]>(),
        }
    }
}

/// A set of numbers of 32 bits, to be written in the portable Roaring format.
#[derive(Clone, Debug, Default)]
pub struct PortableSet(Bitmap);

impl PortableSet {
    /// Adds all numbers of a list.
    pub fn add(&mut self, numbers: &[u32]) {
        self.0.add_many(numbers);
    }

    /// Adds all numbers from `first` on and below `end`.
    pub fn add_all(&mut self, first: u32, end: u32) {
        self.0.add_range(first..end);
    }

    /// The set as bytes, the same ones for the same set.
    #[must_use]
    pub fn into_portable(mut self) -> Vec<u8> {
        self.0.run_optimize();
        self.0.serialize::<Portable>()
    }
}

fn for_each_of(bitmap: &Bitmap, mut visit: impl FnMut(u16)) {
    let mut buffer = [0; 256];
    let mut cursor = bitmap.cursor();
    loop {
        let read = cursor.read_many(&mut buffer);
        for &user in &buffer[..read] {
            #[expect(clippy::cast_possible_truncation, reason = "only u16 are ever added")]
            visit(user as u16);
        }
        if read < buffer.len() {
            return;
        }
    }
}

fn dense_form(bitmap: &Bitmap) -> Form {
    let mut block = Block::new();
    for_each_of(bitmap, |user| {
        block.insert(user);
    });
    let count = block.count();
    Form::Dense { count, block }
}

fn few_form(bitmap: &Bitmap) -> Form {
    let mut users = [0; INLINE];
    let mut length = 0;
    for_each_of(bitmap, |user| {
        users[usize::from(length)] = user;
        length += 1;
    });
    Form::Few { length, users }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Grows and shrinks a posting through all its forms beside a plain set.
    #[test]
    fn every_form_agrees_with_a_plain_set() {
        // Multiples of an odd number visit all of 65,536 in a scattered order.
        let users: Vec<u16> = (0..u16::MAX).map(|n| n.wrapping_mul(40_503)).collect();
        for peak in [0, 1, 9, 10, 11, 1_024, 1_025, 20_000] {
            let mut posting = Posting::default();
            let mut plain = BTreeSet::new();
            for &user in &users[..peak] {
                assert!(posting.insert(user) && plain.insert(user));
                assert!(!posting.insert(user));
            }
            agree(&posting, &plain);
            for &user in users[..peak].iter().rev() {
                assert!(posting.remove(user) && plain.remove(&user));
                assert!(!posting.remove(user) && !posting.contains(user));
                if [1, 5, 6, 10, 11, 895, 896].contains(&plain.len()) {
                    agree(&posting, &plain);
                }
            }
            assert!(posting.is_empty());
        }
    }

    fn agree(posting: &Posting, plain: &BTreeSet<u16>) {
        let mut listed = Vec::new();
        posting.for_each(|user| listed.push(user));
        assert!(listed.iter().eq(plain), "{} users", plain.len());
        assert_eq!(posting.count() as usize, plain.len());
        assert_eq!(posting.is_empty(), plain.is_empty());
        assert!(posting.to_block().ones().eq(plain.iter().copied()));
        assert_eq!(&Posting::of_block(&posting.to_block()), posting);
        let again = Posting::from_portable(&posting.to_portable()).unwrap();
        assert_eq!(&again, posting);
        assert_eq!(again.count(), posting.count());
    }

    #[test]
    fn combinations_agree_between_all_forms() {
        let every = |step: usize, offset: u16| {
            let mut posting = Posting::default();
            for user in (offset..u16::MAX).step_by(step) {
                posting.insert(user);
            }
            posting
        };
        let postings = [
            every(9_000, 0),
            every(60_000, 7),
            every(100, 0),
            every(63, 7),
            every(3, 0),
            every(2, 1),
        ];
        for a in &postings {
            for b in &postings {
                let (in_a, in_b) = (a.to_block(), b.to_block());
                let mut expected = in_a.clone();
                expected.and(&in_b);
                assert_eq!(a.and_count(b), expected.count());
                assert_eq!(a.count_in(&in_b), expected.count());

                let (mut target, mut scratch) = (in_b.clone(), in_a.clone());
                a.and_into(&mut target, &mut scratch);
                assert_eq!(target, expected);

                let mut expected = in_b.clone();
                expected.and_not(&in_a);
                let mut target = in_b.clone();
                a.remove_from(&mut target);
                assert_eq!(target, expected);

                let mut expected = in_b.clone();
                expected.or(&in_a);
                let mut target = in_b.clone();
                a.or_into(&mut target);
                assert_eq!(target, expected);

                a.copy_into(&mut target);
                assert_eq!(target, in_a);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_posting_are_refused() {
        assert!(Posting::from_portable(&[]).is_none());
        assert!(Posting::from_portable(&[1, 2, 3]).is_none());
        let beyond = Bitmap::of(&[65_536]).serialize::<Portable>();
        assert!(Posting::from_portable(&beyond).is_none());
        let mut extra = Posting::default().to_portable();
        extra.push(0);
        assert!(Posting::from_portable(&extra).is_none());
    }
}
