//! The forward direction of a property: from a user of a shard to its value, in the narrowest
//! width that holds all values of the shard.
//!
//! Invariant: reading back gives what was written, whatever the order of writes; the width only
//! decides the memory.

use smallvec::SmallVec;

use super::lengthen;
use crate::bits::Block;

/// Unsigned numbers, one per user, 1 to 8 bytes wide.
#[derive(Clone, Debug)]
enum Narrow {
    W1(Vec<u8>),
    W2(Vec<u16>),
    W4(Vec<u32>),
    W8(Vec<u64>),
}

macro_rules! each_width {
    ($narrow:expr, $values:ident => $body:expr) => {
        match $narrow {
            Narrow::W1($values) => $body,
            Narrow::W2($values) => $body,
            Narrow::W4($values) => $body,
            Narrow::W8($values) => $body,
        }
    };
}

impl Narrow {
    fn with_room_for(largest: u64, length: usize) -> Self {
        if u8::try_from(largest).is_ok() {
            Self::W1(vec![0; length])
        } else if u16::try_from(largest).is_ok() {
            Self::W2(vec![0; length])
        } else if u32::try_from(largest).is_ok() {
            Self::W4(vec![0; length])
        } else {
            Self::W8(vec![0; length])
        }
    }

    fn largest(&self) -> u64 {
        match self {
            Self::W1(_) => u64::from(u8::MAX),
            Self::W2(_) => u64::from(u16::MAX),
            Self::W4(_) => u64::from(u32::MAX),
            Self::W8(_) => u64::MAX,
        }
    }

    fn width(&self) -> usize {
        match self {
            Self::W1(_) => 1,
            Self::W2(_) => 2,
            Self::W4(_) => 4,
            Self::W8(_) => 8,
        }
    }

    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "one body for four widths"
    )]
    fn touch(&self, users: impl Iterator<Item = u16>) -> u64 {
        each_width!(self, values => users.fold(0, |sum, user| {
            sum ^ values.get(usize::from(user)).map_or(0, |&value| value as u64)
        }))
    }

    fn len(&self) -> usize {
        each_width!(self, values => values.len())
    }

    /// The number at a position; 0 beyond the end.
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "one body for four widths"
    )]
    fn get(&self, position: usize) -> u64 {
        each_width!(self, values => values.get(position).map_or(0, |&value| value as u64))
    }

    /// Writes a number that is within `largest`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the caller chose the width by the value"
    )]
    fn set(&mut self, position: usize, value: u64) {
        debug_assert!(value <= self.largest(), "{value} does not fit its column");
        each_width!(self, values => {
            lengthen(values, position, 0);
            values[position] = value as _;
        });
    }

    fn heap_bytes(&self) -> usize {
        each_width!(self, values => values.capacity() * size_of_val(&values[..0].first().copied().unwrap_or(0)))
    }
}

/// A dictionary code for each user, or none.
#[derive(Clone, Debug)]
pub struct CodeColumn {
    /// The code plus one; 0 stands for none.
    values: Narrow,
}

impl Default for CodeColumn {
    fn default() -> Self {
        Self {
            values: Narrow::W1(Vec::new()),
        }
    }
}

impl CodeColumn {
    /// The code of a user.
    #[must_use]
    pub fn get(&self, user: u16) -> Option<u32> {
        let code_plus_one = self.values.get(usize::from(user));
        #[expect(clippy::cast_possible_truncation, reason = "made from a u32 below")]
        code_plus_one.checked_sub(1).map(|code| code as u32)
    }

    /// Gives a user a code, or none.
    pub fn set(&mut self, user: u16, code: Option<u32>) {
        let code_plus_one = code.map_or(0, |code| u64::from(code) + 1);
        let position = usize::from(user);
        if code_plus_one == 0 && position >= self.values.len() {
            return;
        }
        if code_plus_one > self.values.largest() {
            let mut wider = Narrow::with_room_for(code_plus_one, self.values.len());
            for position in 0..self.values.len() {
                wider.set(position, self.values.get(position));
            }
            self.values = wider;
        }
        self.values.set(position, code_plus_one);
    }

    /// Makes a block hold the users with one of the codes, by comparing every code.
    pub fn fill_any(&self, codes: &[u32], target: &mut Block) {
        let wanted = codes.iter().map(|&code| u64::from(code) + 1);
        let wanted = wanted.filter(|wanted| *wanted <= self.values.largest());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "those that do not fit are left out"
        )]
        match &self.values {
            Narrow::W1(values) => {
                target.fill_any(values, &wanted.map(|w| w as u8).collect::<Vec<_>>());
            }
            Narrow::W2(values) => {
                target.fill_any(values, &wanted.map(|w| w as u16).collect::<Vec<_>>());
            }
            Narrow::W4(values) => {
                target.fill_any(values, &wanted.map(|w| w as u32).collect::<Vec<_>>());
            }
            Narrow::W8(values) => target.fill_any(values, &wanted.collect::<Vec<_>>()),
        }
    }

    /// Bytes of a code.
    #[must_use]
    pub fn width(&self) -> usize {
        self.values.width()
    }

    /// Reads the values of some users without looking at them, so that the memory they are in is
    /// on its way when they are looked at. What is returned means nothing.
    pub(super) fn touch(&self, users: impl Iterator<Item = u16>) -> u64 {
        self.values.touch(users)
    }

    /// Counts the selected users by code: adds to `counts[code + 1]` for each who has the code, to
    /// `counts[0]` for each who has none. `counts` grows as needed.
    pub fn tally(&self, selected: &Block, counts: &mut Vec<u64>) {
        let visited = match &self.values {
            Narrow::W1(values) => {
                // Users one behind the other often have the same code, and a count that was just
                // written is slow to read: four counts take turns.
                let mut turns = [[0_u32; 256]; 4];
                let visited = selected.visit_selected(values, |codes| {
                    let (fours, rest) = codes.as_chunks::<4>();
                    for four in fours {
                        for (counts, code) in turns.iter_mut().zip(four) {
                            counts[usize::from(*code)] += 1;
                        }
                    }
                    for code in rest {
                        turns[0][usize::from(*code)] += 1;
                    }
                });
                for code in 0..256 {
                    let count: u32 = turns.iter().map(|counts| counts[code]).sum();
                    add(counts, code, count.into());
                }
                visited
            }
            Narrow::W2(values) => selected.visit_selected(values, |codes| {
                for &code in codes {
                    add(counts, usize::from(code), 1);
                }
            }),
            Narrow::W4(values) => selected.visit_selected(values, |codes| {
                for &code in codes {
                    add(counts, code as usize, 1);
                }
            }),
            // A code and one more have 33 bits.
            Narrow::W8(values) => selected.visit_selected(values, |codes| {
                for &code in codes {
                    add(counts, usize::try_from(code).unwrap_or(usize::MAX), 1);
                }
            }),
        };
        // Users behind the end of the column have no code.
        add(counts, 0, u64::from(selected.count()) - visited as u64);
    }

    /// Bytes of memory on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.values.heap_bytes()
    }
}

/// Adds to a count, which is 0 so far if it is none yet.
fn add(counts: &mut Vec<u64>, place: usize, count: u64) {
    if place >= counts.len() {
        if count == 0 {
            return;
        }
        counts.resize(place + 1, 0);
    }
    counts[place] += count;
}

/// A signed number for each user who has one.
///
/// What is kept per user is how many units the number lies above a base. Both fit the numbers of
/// the shard: ages take a byte, days in microseconds take two.
#[derive(Clone, Debug)]
pub struct NumberColumn {
    base: i64,
    unit: u64,
    values: Narrow,
    present: Block,
    count: u32,
    /// No number is below or above these, and the base is not above the first.
    bounds: Option<(i64, i64)>,
}

impl Default for NumberColumn {
    fn default() -> Self {
        Self {
            base: 0,
            unit: 1,
            values: Narrow::W1(Vec::new()),
            present: Block::new(),
            count: 0,
            bounds: None,
        }
    }
}

impl NumberColumn {
    /// The number of a user.
    #[must_use]
    pub fn get(&self, user: u16) -> Option<i64> {
        self.present
            .contains(user)
            .then(|| self.widened(self.values.get(usize::from(user))))
    }

    /// The number of a user who has one; anything for others.
    #[must_use]
    pub fn held(&self, user: u16) -> i64 {
        self.widened(self.values.get(usize::from(user)))
    }

    /// Bytes of a number.
    #[must_use]
    pub fn width(&self) -> usize {
        self.values.width()
    }

    fn widened(&self, value: u64) -> i64 {
        // What was encoded from an i64 comes back as one, so that wrapping is exact.
        self.base
            .wrapping_add_unsigned(value.wrapping_mul(self.unit))
    }

    fn narrowed(&self, number: i64) -> Option<u64> {
        if number < self.base {
            return None;
        }
        let above = number.abs_diff(self.base);
        let value = above / self.unit;
        (above.is_multiple_of(self.unit) && value <= self.values.largest()).then_some(value)
    }

    /// Gives a user a number, or none.
    pub fn set(&mut self, user: u16, number: Option<i64>) {
        let Some(number) = number else {
            self.count -= u32::from(self.present.remove(user));
            if self.count == 0 {
                self.bounds = None;
            }
            return;
        };
        let value = self.narrowed(number).unwrap_or_else(|| {
            self.rebuild_for(number);
            self.narrowed(number).unwrap_or_default()
        });
        self.values.set(usize::from(user), value);
        self.count += u32::from(self.present.insert(user));
        let (least, greatest) = self.bounds.unwrap_or((number, number));
        self.bounds = Some((least.min(number), greatest.max(number)));
    }

    /// Chooses base, unit and width anew so that `number` fits beside all others.
    fn rebuild_for(&mut self, number: i64) {
        let held: Vec<(u16, i64)> = self
            .present
            .ones()
            .map(|user| (user, self.widened(self.values.get(usize::from(user)))))
            .collect();
        let (mut least, mut greatest) = (number, number);
        for &(_, other) in &held {
            least = least.min(other);
            greatest = greatest.max(other);
        }
        let differences = held.iter().map(|&(_, other)| other.abs_diff(least));
        let unit = differences
            .chain([number.abs_diff(least)])
            .fold(0, greatest_common_divisor)
            .max(1);
        let span = greatest.abs_diff(least) / unit;
        // A quarter of the width stays free, half of it on each side, so that numbers that move on
        // steadily do not rebuild the column at every step.
        self.values = Narrow::with_room_for(span.saturating_add(span / 3), self.values.len());
        let free_below = (self.values.largest() - span) / 2;
        let reach_below = least.abs_diff(i64::MIN) / unit;
        let below = free_below.min(reach_below).min(u64::MAX / unit);
        self.unit = unit;
        self.base = least.wrapping_sub_unsigned(below * unit);
        // Numbers that are gone may lie below the new base.
        self.bounds = Some((least, greatest));
        for (user, other) in held {
            let value = self.narrowed(other).unwrap_or_default();
            self.values.set(usize::from(user), value);
        }
    }

    /// The users who have a number.
    #[must_use]
    pub fn present(&self) -> &Block {
        &self.present
    }

    /// As [`CodeColumn::touch`].
    pub(super) fn touch(&self, users: impl Iterator<Item = u16> + Clone) -> u64 {
        let present = users.clone().fold(0, |sum, user| {
            sum ^ self.present.words()[usize::from(user >> 6)]
        });
        present ^ self.values.touch(users)
    }

    /// How many users have a number.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bounds of all numbers: none is below the first or above the second. `None` without numbers.
    #[must_use]
    pub fn bounds(&self) -> Option<(i64, i64)> {
        self.bounds
    }

    /// What is kept of the numbers in `least..=greatest`; `None` if there is no such number.
    fn narrow_bounds(&self, least: i64, greatest: i64) -> Option<(u64, u64)> {
        let (lowest, highest) = self.bounds?;
        if greatest < lowest || highest < least {
            return None;
        }
        // Both ends lie within the base's reach once they are cut to the bounds.
        let (least, greatest) = (least.max(lowest), greatest.min(highest));
        let from = least.abs_diff(self.base).div_ceil(self.unit);
        let to = greatest.abs_diff(self.base) / self.unit;
        (least <= greatest && from <= to).then_some((from, to))
    }

    /// Sorts users, who have numbers, by these and then by their places. The first `sorted` of
    /// them are in order already.
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "one body for four widths"
    )]
    pub(super) fn merge_sort(&self, users: &mut [u16], sorted: usize) {
        each_width!(&self.values, values => {
            let key = |user: u16| {
                let value = values.get(usize::from(user)).map_or(0, |&value| value as u64);
                (value, user)
            };
            let mut tail: SmallVec<[(u64, u16); 128]> =
                users[sorted..].iter().map(|&user| key(user)).collect();
            tail.sort_unstable();
            // From the end, so that nobody is overwritten who has not moved yet.
            let (mut unmoved, mut free) = (sorted, users.len());
            for &last in tail.iter().rev() {
                while let Some(before) = unmoved.checked_sub(1)
                    && key(users[before]) > last
                {
                    free -= 1;
                    users[free] = users[before];
                    unmoved = before;
                }
                free -= 1;
                users[free] = last.1;
            }
        });
    }

    /// Which of some users, who have numbers and come in the order of these, have one in
    /// `least..=greatest`.
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "one body for four widths"
    )]
    pub(super) fn between_sorted<'a>(
        &self,
        users: &'a [u16],
        least: i64,
        greatest: i64,
    ) -> &'a [u16] {
        let Some((from, to)) = self.narrow_bounds(least, greatest) else {
            return &[];
        };
        each_width!(&self.values, values => {
            let value = |user: u16| values.get(usize::from(user)).map_or(0, |&value| value as u64);
            // Each look at the column waits for memory: none where it is known what it would say.
            let first = match least {
                i64::MIN => 0,
                _ => users.partition_point(|&user| value(user) < from),
            };
            let users = &users[first..];
            match greatest {
                i64::MAX => users,
                _ => &users[..users.partition_point(|&user| value(user) <= to)],
            }
        })
    }

    /// Copies those of some users, who have numbers, who have one in `least..=greatest`; returns
    /// how many.
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "one body for four widths"
    )]
    pub(super) fn copy_between(
        &self,
        users: &[u16],
        least: i64,
        greatest: i64,
        into: &mut [u16],
    ) -> usize {
        let Some((from, to)) = self.narrow_bounds(least, greatest) else {
            return 0;
        };
        let mut copied = 0;
        each_width!(&self.values, values => for &user in users {
            let value = values.get(usize::from(user)).map_or(0, |&value| value as u64);
            into[copied] = user;
            copied += usize::from((from..=to).contains(&value));
        });
        copied
    }

    /// Makes a block hold the users whose number is in `least..=greatest`.
    pub fn fill_between(&self, least: i64, greatest: i64, target: &mut Block) {
        if let Some((lowest, highest)) = self.bounds
            && least <= lowest
            && highest <= greatest
        {
            return target.copy_from(&self.present);
        }
        let Some((from, to)) = self.narrow_bounds(least, greatest) else {
            return target.clear();
        };
        // What lies between numbers of the column fits its width.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "as the width was chosen for them"
        )]
        match &self.values {
            Narrow::W1(values) => target.fill_between(values, from as u8, to as u8),
            Narrow::W2(values) => target.fill_between(values, from as u16, to as u16),
            Narrow::W4(values) => target.fill_between(values, from as u32, to as u32),
            Narrow::W8(values) => target.fill_between(values, from, to),
        }
        target.and(&self.present);
    }

    /// Calls `visit` with the number of each selected user who has one.
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "one body for four widths"
    )]
    pub fn for_each_in(&self, selected: &Block, mut visit: impl FnMut(i64)) {
        let mut having = selected.clone();
        having.and(&self.present);
        each_width!(&self.values, values => having.visit_selected(values, |some| {
            for &value in some {
                visit(self.widened(value as u64));
            }
        }));
    }

    /// Calls `visit` with each number that selected users have, ascending, and how many have it.
    /// Returns `false`, and does nothing, for a column wider than a byte.
    pub fn tally(&self, selected: &Block, mut visit: impl FnMut(i64, u32)) -> bool {
        let Narrow::W1(values) = &self.values else {
            return false;
        };
        let mut having = selected.clone();
        having.and(&self.present);
        let mut counts = [0; 256];
        having.visit_selected(values, |some| {
            for &value in some {
                counts[usize::from(value)] += 1;
            }
        });
        for (value, count) in (0..).zip(counts) {
            if count > 0 {
                visit(self.widened(value), count);
            }
        }
        true
    }

    /// Holds these numbers.
    pub(super) fn from_numbers(numbers: &[(u16, i64)]) -> Self {
        let mut column = Self::default();
        // The extremes first, so that base, unit and width are right from the start.
        let extremes = [
            numbers.iter().min_by_key(|(_, number)| number),
            numbers.iter().max_by_key(|(_, number)| number),
        ];
        for &(user, number) in extremes.into_iter().flatten().chain(numbers) {
            column.set(user, Some(number));
        }
        column
    }

    /// Bytes of memory on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.values.heap_bytes() + size_of::<[u64; crate::bits::WORDS]>()
    }
}

pub(super) fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_widen_and_come_back() {
        let mut column = CodeColumn::default();
        let codes = [
            0,
            253,
            254,
            255,
            65_533,
            65_534,
            65_535,
            u32::MAX - 1,
            u32::MAX,
        ];
        for (user, &code) in (0_u16..).zip(&codes) {
            column.set(user * 5_000, Some(code));
            for (user, &code) in (0_u16..=user).zip(&codes) {
                assert_eq!(column.get(user * 5_000), Some(code));
            }
        }
        assert_eq!(column.get(1), None);
        assert_eq!(column.get(65_535), None);
        column.set(65_535, None);
        column.set(0, None);
        assert_eq!(column.get(0), None);
    }

    #[test]
    fn numbers_come_back_whatever_the_order() {
        let day = 86_400_000_000_i64;
        let sequences: [Vec<i64>; 7] = [
            vec![13, 90, 14, 255, 256, 12, -1, 0],
            (0..400).map(|n| n * day).collect(),
            (0..400).map(|n| -n * day).collect(),
            vec![i64::MIN, i64::MAX, 0, -1, 1],
            vec![i64::MAX, i64::MIN],
            vec![i64::MIN, i64::MIN + 1, i64::MIN + 70_000],
            vec![5 * day, 6 * day, 6 * day + 1, i64::MAX - 1],
        ];
        for numbers in &sequences {
            let mut column = NumberColumn::default();
            for (user, &number) in (0_u16..).zip(numbers) {
                column.set(user, Some(number));
                for (user, &number) in (0_u16..=user).zip(numbers) {
                    assert_eq!(column.get(user), Some(number), "user {user} of {numbers:?}");
                }
            }
            assert_eq!(column.count() as usize, numbers.len());
        }
    }

    #[test]
    fn ranges_agree_with_a_scan() {
        let sequences: [&[i64]; 4] = [
            &[10, 20, 30, 40, 255, 300],
            &[-5, -1, 0, 1, 5],
            &[i64::MIN, -1, 0, i64::MAX],
            &[-86_400_000_000, 0, 86_400_000_000, 864_000_000_000],
        ];
        for numbers in sequences {
            let mut column = NumberColumn::default();
            for (user, &number) in (0_u16..).step_by(9_999).zip(numbers) {
                column.set(user, Some(number));
            }
            column.set(3, Some(7));
            column.set(3, None);
            let ends: Vec<i64> = numbers
                .iter()
                .flat_map(|&n| [n.saturating_sub(1), n, n.saturating_add(1)])
                .chain([i64::MIN, 0, 17, i64::MAX])
                .collect();
            for &least in &ends {
                for &greatest in &ends {
                    let mut block = Block::new();
                    block.insert(1);
                    column.fill_between(least, greatest, &mut block);
                    let expected = (0_u16..).step_by(9_999).zip(numbers);
                    let expected = expected
                        .filter(|&(_, number)| (least..=greatest).contains(number))
                        .map(|(user, _)| user);
                    assert!(
                        block.ones().eq(expected),
                        "{least}..={greatest} of {numbers:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn ranges_do_not_trust_numbers_that_are_gone() {
        let mut column = NumberColumn::default();
        column.set(0, Some(1));
        column.set(1, Some(i64::MIN));
        column.set(1, Some(5));
        column.set(2, Some(1_000_000));
        let mut block = Block::new();
        column.fill_between(i64::MIN, 0, &mut block);
        assert!(block.is_empty());
        column.fill_between(1, 5, &mut block);
        assert!(block.ones().eq([0, 1]));
    }

    #[test]
    fn numbers_take_the_narrowest_width() {
        let mut column = NumberColumn::default();
        for user in 0..=u16::MAX {
            column.set(user, Some(i64::from(user % 78) + 13));
        }
        assert!(matches!(column.values, Narrow::W1(_)));
        let mut column = NumberColumn::default();
        for user in 0..=u16::MAX {
            column.set(user, Some((i64::from(user) * 7 % 1_826) * 86_400_000_000));
        }
        assert!(matches!(column.values, Narrow::W2(_)));
    }
}
