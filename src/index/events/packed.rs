//! A short list of numbers, some of which may be missing, in the narrowest width that holds them.
//!
//! Invariant: reading back gives what was written. What is kept of a number is how many units it
//! lies above a base, which fit the numbers of the list: amounts in cents take two bytes, times of
//! a day in milliseconds four, and a list of equal numbers none.

use crate::index::column::greatest_common_divisor;

/// Numbers, or missing ones, by position. Those that are there lie less than 2^63 apart.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    base: i64,
    unit: u64,
    codes: Codes,
}

/// One more than the units above the base; 0 stands for a missing number.
#[derive(Clone, Debug)]
pub(super) enum Codes {
    /// So many times the same.
    Same(Option<i64>, usize),
    W1(Vec<u8>),
    W2(Vec<u16>),
    W4(Vec<u32>),
    W8(Vec<u64>),
}

/// Does the same for each width, and something else for a list of equal numbers.
macro_rules! each_width {
    ($codes:expr, $list:ident => $body:expr, $same:pat => $other:expr) => {
        match $codes {
            $same => $other,
            Codes::W1($list) => $body,
            Codes::W2($list) => $body,
            Codes::W4($list) => $body,
            Codes::W8($list) => $body,
        }
    };
}
pub(super) use each_width;

impl Default for Packed {
    fn default() -> Self {
        Self {
            base: 0,
            unit: 1,
            codes: Codes::Same(None, 0),
        }
    }
}

impl Packed {
    pub(super) fn of(numbers: &[Option<i64>]) -> Self {
        let there = || numbers.iter().flatten().copied();
        let first = numbers.first().copied().flatten();
        if numbers.iter().all(|number| *number == first) {
            return Self {
                codes: Codes::Same(first, numbers.len()),
                ..Self::default()
            };
        }
        let (least, greatest) = there().fold((i64::MAX, i64::MIN), |(least, greatest), number| {
            (least.min(number), greatest.max(number))
        });
        // From 0 on, where that is below all, so that a number that is added is likely to fit.
        let base = least.min(0);
        let unit = there()
            .map(|number| number.abs_diff(base))
            .fold(0, greatest_common_divisor)
            .max(1);
        let code = |number: &Option<i64>| number.map_or(0, |n| n.abs_diff(base) / unit + 1);
        let codes = numbers.iter().map(code);
        let largest = greatest.abs_diff(base) / unit + 1;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the width is that of the largest"
        )]
        let codes = if u8::try_from(largest).is_ok() {
            Codes::W1(codes.map(|code| code as u8).collect())
        } else if u16::try_from(largest).is_ok() {
            Codes::W2(codes.map(|code| code as u16).collect())
        } else if u32::try_from(largest).is_ok() {
            Codes::W4(codes.map(|code| code as u32).collect())
        } else {
            Codes::W8(codes.collect())
        };
        Self { base, unit, codes }
    }

    pub(super) fn len(&self) -> usize {
        each_width!(&self.codes, list => list.len(), Codes::Same(_, length) => *length)
    }

    /// The number at a position, which is below the length.
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "one body for four widths"
    )]
    pub(super) fn get(&self, position: usize) -> Option<i64> {
        let code = each_width!(
            &self.codes,
            list => list[position] as u64,
            Codes::Same(number, _) => return *number
        );
        self.number(code)
    }

    fn number(&self, code: u64) -> Option<i64> {
        let units = code.checked_sub(1)?;
        Some(self.base.wrapping_add_unsigned(units * self.unit))
    }

    /// Puts a number before the one at a position.
    pub(super) fn insert(&mut self, position: usize, number: Option<i64>) {
        if let Codes::Same(same, length) = &mut self.codes
            && (*same == number || *length == 0)
        {
            (*same, *length) = (number, *length + 1);
            return;
        }
        let inserted = self.code(number).is_some_and(|code| {
            each_width!(&mut self.codes, list => put(list, position, code), Codes::Same(..) => false)
        });
        if !inserted {
            let mut numbers: Vec<Option<i64>> = self.iter().collect();
            numbers.insert(position, number);
            *self = Self::of(&numbers);
        }
    }

    /// The code of a number, if it is a whole number of units above the base.
    fn code(&self, number: Option<i64>) -> Option<u64> {
        let Some(number) = number else { return Some(0) };
        let above = number.abs_diff(self.base);
        (number >= self.base && above.is_multiple_of(self.unit)).then(|| above / self.unit + 1)
    }

    /// The first and the last code of the numbers from `from` on and before `to`; `None` if there
    /// can be none between.
    pub(super) fn codes_between(&self, from: i64, to: i64) -> Option<(u64, u64)> {
        let last = to.checked_sub(1).filter(|last| *last >= self.base)?;
        let first = if from <= self.base {
            1
        } else {
            from.abs_diff(self.base).div_ceil(self.unit) + 1
        };
        let last = last.abs_diff(self.base) / self.unit + 1;
        (first <= last).then_some((first, last))
    }

    pub(super) fn codes(&self) -> &Codes {
        &self.codes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Option<i64>> {
        (0..self.len()).map(|position| self.get(position))
    }

    /// Visits all numbers in their order.
    #[inline]
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "one body for four widths"
    )]
    pub(super) fn for_each(&self, mut visit: impl FnMut(Option<i64>)) {
        each_width!(&self.codes, list => {
            for code in list {
                visit(self.number(*code as u64));
            }
        }, Codes::Same(number, length) => {
            for _ in 0..*length {
                visit(*number);
            }
        });
    }

    /// Bytes of memory on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.codes {
            Codes::Same(..) => 0,
            Codes::W1(list) => list.capacity(),
            Codes::W2(list) => list.capacity() * 2,
            Codes::W4(list) => list.capacity() * 4,
            Codes::W8(list) => list.capacity() * 8,
        }
    }
}

/// Puts a code before the one at a position, unless it is too large for the list.
fn put<T: TryFrom<u64>>(list: &mut Vec<T>, position: usize, code: u64) -> bool {
    let Ok(code) = T::try_from(code) else {
        return false;
    };
    make_room(list);
    list.insert(position, code);
    true
}

/// Makes room for one more: an eighth of what is there already, since there are very many of these
/// lists.
pub(super) fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + 4);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers() -> impl Strategy<Value = Vec<Option<i64>>> {
        let number = prop_oneof![
            Just(None),
            Just(Some(0)),
            (0..100_i64).prop_map(|n| Some(n * 10_000)),
            (-5..5_i64).prop_map(Some),
            (0..86_400_000_000_i64).prop_map(Some),
            (-1_000_000_000_000_000_000..=1_000_000_000_000_000_000_i64).prop_map(Some),
        ];
        prop::collection::vec(number, 0..40)
    }

    proptest! {
        #[test]
        fn what_was_inserted_comes_back(numbers in numbers(), places in any::<[u8; 40]>()) {
            let mut packed = Packed::default();
            let mut expected = Vec::new();
            for (number, place) in numbers.iter().zip(places) {
                let position = usize::from(place) % (expected.len() + 1);
                packed.insert(position, *number);
                expected.insert(position, *number);
                prop_assert_eq!(packed.len(), expected.len());
            }
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(Packed::of(&expected).iter().collect::<Vec<_>>(), expected);
        }

        #[test]
        fn codes_between_are_those_of_the_numbers_between(
            numbers in numbers(), from in -20..200_i64, length in 0..200_i64,
        ) {
            let (from, to) = (from * 5_000, (from + length) * 5_000);
            let packed = Packed::of(&numbers);
            if matches!(packed.codes(), Codes::Same(..)) {
                return Ok(());
            }
            let between = packed.codes_between(from, to);
            for number in numbers {
                let is_between = number.is_some_and(|number| from <= number && number < to);
                let code = packed.code(number).unwrap();
                let found = between.is_some_and(|(first, last)| first <= code && code <= last);
                prop_assert_eq!(found, is_between, "{:?}", number);
            }
        }
    }

    #[test]
    fn numbers_take_no_more_bytes_than_needed() {
        let width = |numbers: &[Option<i64>]| Packed::of(numbers).heap_bytes() / numbers.len();
        assert_eq!(width(&[Some(7), Some(7)]), 0);
        assert_eq!(width(&[None, None]), 0);
        let cents = [Some(11_770_000), Some(655_340_000), None];
        assert_eq!(width(&cents), 2);
        assert_eq!(width(&[Some(86_399_999_000), Some(1_000)]), 4);
    }
}
