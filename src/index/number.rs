//! A property with one number per user: whole numbers, doubles and timestamps, all as keys whose
//! order is that of the values.

use super::bins::Bins;
use super::column::NumberColumn;
use crate::bits::Block;

/// The numbers of one shard's users.
#[derive(Clone, Debug, Default)]
pub struct NumberIndex {
    column: NumberColumn,
    bins: Bins,
}

/// Users of bins that are set bit by bit in the time in which 65,536 bytes of a column are scanned.
const BIN_USERS_PER_COLUMN_BYTE: usize = 2_500;

impl NumberIndex {
    pub(super) fn from_column(column: NumberColumn) -> Self {
        let mut bins = Bins::default();
        for user in column.present().ones() {
            bins.insert(user, column.held(user), &column);
        }
        bins.sort(&column);
        Self { column, bins }
    }

    /// The two directions, to be compared.
    pub(super) fn parts(&self) -> (&NumberColumn, &Bins) {
        (&self.column, &self.bins)
    }

    #[cfg(test)]
    pub(super) fn column_mut(&mut self) -> &mut NumberColumn {
        &mut self.column
    }

    /// The number of a user.
    #[must_use]
    pub fn get(&self, user: u16) -> Option<i64> {
        self.column.get(user)
    }

    pub(super) fn touch(&self, users: impl Iterator<Item = u16> + Clone) -> u64 {
        self.column.touch(users)
    }

    /// Gives a user a number, or none; returns the one before.
    pub fn set(&mut self, user: u16, number: Option<i64>) -> Option<i64> {
        let before = self.column.get(user);
        if before == number {
            return before;
        }
        if let Some(before) = before {
            self.bins.remove(user, before, &self.column);
        }
        self.column.set(user, number);
        if let Some(number) = number {
            self.bins.insert(user, number, &self.column);
        }
        before
    }

    /// The users with a number.
    #[must_use]
    pub fn present(&self) -> &Block {
        self.column.present()
    }

    /// How many users have a number.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.column.count()
    }

    /// Bounds of all numbers; `None` without numbers.
    #[must_use]
    pub fn bounds(&self) -> Option<(i64, i64)> {
        self.column.bounds()
    }

    /// Makes a block hold the users whose number is in `least..=greatest`.
    pub fn fill_between(&self, least: i64, greatest: i64, target: &mut Block) {
        let few = BIN_USERS_PER_COLUMN_BYTE * self.column.width();
        if self.bins.at_most_between(least, greatest) > few {
            return self.column.fill_between(least, greatest, target);
        }
        target.clear();
        let words = target.words_mut();
        self.bins
            .for_each_between(least, greatest, &self.column, |user| {
                words[usize::from(user >> 6)] |= 1 << (user & 63);
            });
    }

    /// How many users have a number in `least..=greatest`.
    #[must_use]
    pub fn count_between(&self, least: i64, greatest: i64) -> u32 {
        self.bins.count_between(least, greatest, &self.column)
    }

    /// Calls `visit` with the number of each selected user who has one, in no order.
    pub fn for_each_in(&self, selected: &Block, visit: impl FnMut(i64)) {
        self.column.for_each_in(selected, visit);
    }

    /// Counts the selected users by number where there are few different ones, as
    /// [`NumberColumn::tally`] does; returns `false`, and does nothing, elsewhere.
    pub fn tally(&self, selected: &Block, visit: impl FnMut(i64, u32)) -> bool {
        self.column.tally(selected, visit)
    }

    /// Makes a block hold the users whose number is one of those given, sorted.
    pub fn fill_any(&self, numbers: &[i64], target: &mut Block) {
        target.clear();
        let Some((least, greatest)) = self.column.bounds() else {
            return;
        };
        let from = numbers.partition_point(|&number| number < least);
        let to = numbers.partition_point(|&number| number <= greatest);
        match &numbers[from..to] {
            [] => {}
            [number] => self.fill_between(*number, *number, target),
            several => {
                for user in self.column.present().ones() {
                    if let Some(number) = self.column.get(user)
                        && several.binary_search(&number).is_ok()
                    {
                        target.insert(user);
                    }
                }
            }
        }
    }

    /// Bytes of memory on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.column.heap_bytes() + self.bins.heap_bytes()
    }
}

/// The key of a finite double: keys are ordered as the doubles are.
///
/// The bits of doubles are ordered as sign and magnitude; flipping the magnitude of the negative
/// ones makes that two's complement, as `f64::total_cmp` does.
#[must_use]
pub fn double_to_key(double: f64) -> i64 {
    let bits = double.to_bits().cast_signed();
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

/// The double of a key.
#[must_use]
pub fn double_from_key(key: i64) -> f64 {
    let bits = key ^ ((key >> 63).cast_unsigned() >> 1).cast_signed();
    f64::from_bits(bits.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_doubles_are() {
        let ascending = [
            f64::MIN,
            -1e300,
            -2.5,
            -1.0,
            -f64::MIN_POSITIVE,
            0.0,
            f64::MIN_POSITIVE,
            0.1,
            1.0,
            29.85,
            f64::MAX,
        ];
        for pair in ascending.windows(2) {
            assert!(double_to_key(pair[0]) < double_to_key(pair[1]), "{pair:?}");
        }
        for double in ascending {
            assert_eq!(
                double_from_key(double_to_key(double)).to_bits(),
                double.to_bits()
            );
        }
    }

    #[test]
    fn a_list_of_numbers_is_found() {
        let mut index = NumberIndex::default();
        for (user, number) in [(1, -5), (2, 0), (3, 7), (4, 7), (9, i64::MAX)] {
            assert_eq!(index.set(user, Some(number)), None);
        }
        let mut block = Block::new();
        for (numbers, users) in [
            (&[-6, -5, 7][..], &[1, 3, 4][..]),
            (&[7], &[3, 4]),
            (&[8], &[]),
            (&[i64::MIN, i64::MAX], &[9]),
            (&[], &[]),
        ] {
            index.fill_any(numbers, &mut block);
            assert!(block.ones().eq(users.iter().copied()), "{numbers:?}");
        }
    }
}
