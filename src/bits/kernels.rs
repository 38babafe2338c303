//! The inner loops, compiled once more for processors with AVX-512.
//!
//! This is the only file with `unsafe`: it calls functions that are compiled for features which
//! the processor was asked for, and loads vectors from slices whose length is known. Everything
//! has a portable form, which is also what tests compare with.
#![expect(
    unsafe_code,
    reason = "calls functions compiled for a processor that was asked, and loads its vectors"
)]
#![expect(
    clippy::inline_always,
    reason = "what is not inlined is not compiled for the processor"
)]

use super::block::WORDS;

/// The words of a block.
pub type Words = [u64; WORDS];

/// Whether the processor has what the fast forms are compiled for.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    // The standard library keeps the answer, so that asking costs a load and a test.
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vpopcntdq")
}

/// Defines a function that runs the same code in the form that is best for the processor.
macro_rules! for_each_processor {
    ($(#[$doc:meta])* pub(super) fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        pub(super) fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn portable($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt,bmi1,bmi2")]
                fn avx512($($argument: $type),*) $(-> $result)? {
                    portable($($argument),*)
                }
                #[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
                fn avx2($($argument: $type),*) $(-> $result)? {
                    portable($($argument),*)
                }
                if has_avx512() {
                    // SAFETY: the processor has these features; bmi and popcnt came long before.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("popcnt")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                {
                    // SAFETY: the processor has these features.
                    return unsafe { avx2($($argument),*) };
                }
            }
            portable($($argument),*)
        }
    };
}

// Plain loops over words: they are what the compiler turns into vectors best. (Loops over steps of
// eight words became gathers, five times as slow.)

for_each_processor! {
    /// How many bits are set.
    pub(super) fn count(words: &Words) -> u32 {
        words.iter().map(|word| word.count_ones()).sum()
    }
}

for_each_processor! {
    /// How many bits are set in both.
    pub(super) fn and_count(a: &Words, b: &Words) -> u32 {
        a.iter().zip(b).map(|(a, b)| (a & b).count_ones()).sum()
    }
}

/// A set and what its words are flipped by: 0 for the set itself, all ones for its complement.
pub type Operand<'a> = (&'a Words, u64);

for_each_processor! {
    /// How many bits are set in `first` and in all operands: read once, written never.
    pub(super) fn and_all_count(first: &Words, operands: &[Operand<'_>]) -> u32 {
        let mut count = 0;
        each_word(first, operands, |_, word| count += word.count_ones());
        count
    }
}

for_each_processor! {
    /// Makes `target` what is set in `first` and in all operands.
    pub(super) fn and_all(target: &mut Words, first: &Words, operands: &[Operand<'_>]) {
        each_word(first, operands, |position, word| target[position] = word);
    }
}

/// Calls `visit` with each word of what is set in `first` and in all operands.
#[inline(always)]
fn each_word(first: &Words, operands: &[Operand<'_>], mut visit: impl FnMut(usize, u64)) {
    // For a number of operands that is known to the compiler, the loop over them is no loop.
    match operands {
        [] => each_word_of::<0>(first, [], visit),
        [a] => each_word_of(first, [*a], visit),
        [a, b] => each_word_of(first, [*a, *b], visit),
        [a, b, c] => each_word_of(first, [*a, *b, *c], visit),
        [a, b, c, d] => each_word_of(first, [*a, *b, *c, *d], visit),
        _ => {
            for position in 0..WORDS {
                let mut word = first[position];
                for (words, flip) in operands {
                    word &= words[position] ^ flip;
                }
                visit(position, word);
            }
        }
    }
}

#[inline(always)]
fn each_word_of<const N: usize>(
    first: &Words,
    operands: [Operand<'_>; N],
    mut visit: impl FnMut(usize, u64),
) {
    for position in 0..WORDS {
        let mut word = first[position];
        for (words, flip) in operands {
            word &= words[position] ^ flip;
        }
        visit(position, word);
    }
}

for_each_processor! {
    /// Keeps what is set in both.
    pub(super) fn and(target: &mut Words, other: &Words) {
        for (a, b) in target.iter_mut().zip(other) {
            *a &= b;
        }
    }
}

for_each_processor! {
    /// Adds what is set in the other.
    pub(super) fn or(target: &mut Words, other: &Words) {
        for (a, b) in target.iter_mut().zip(other) {
            *a |= b;
        }
    }
}

for_each_processor! {
    /// Removes what is set in the other.
    pub(super) fn and_not(target: &mut Words, other: &Words) {
        for (a, b) in target.iter_mut().zip(other) {
            *a &= !b;
        }
    }
}

for_each_processor! {
    /// Makes it what is set in the other and not in itself.
    pub(super) fn complement_in(target: &mut Words, all: &Words) {
        for (a, b) in target.iter_mut().zip(all) {
            *a = b & !*a;
        }
    }
}

/// A width that values of a column have.
pub trait Width: Copy + Default + Ord + sealed::Lanes {}

pub(super) mod sealed {
    /// How 64 values are compared at once.
    pub trait Lanes: Sized {
        /// Bit `n` tells whether value `n` is in `least..=greatest`.
        ///
        /// # Safety
        /// The processor has AVX-512 F, BW and VL.
        #[cfg(target_arch = "x86_64")]
        unsafe fn mask_avx512(values: &[Self; 64], least: Self, greatest: Self) -> u64;

        /// Bit `n` tells whether value `n` is one of those wanted.
        ///
        /// # Safety
        /// The processor has AVX-512 F, BW and VL.
        #[cfg(target_arch = "x86_64")]
        unsafe fn any_mask_avx512(values: &[Self; 64], wanted: &[Self]) -> u64;

        /// Writes the values whose bits are set, one behind the other, and then anything: up to 64
        /// values in all. Returns how many are set.
        ///
        /// # Safety
        /// The processor has AVX-512 F, BW, VL and VBMI2.
        #[cfg(target_arch = "x86_64")]
        unsafe fn compress_avx512(values: &[Self; 64], bits: u64, target: &mut [Self; 64])
        -> usize;
    }
}

macro_rules! width {
    ($type:ty, $lanes:literal, $mask:ty, $set1:ident, $load:ident, $at_least:ident, $at_most:ident, $equal:ident, $compress:ident) => {
        impl Width for $type {}
        impl sealed::Lanes for $type {
            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            unsafe fn mask_avx512(values: &[Self; 64], least: Self, greatest: Self) -> u64 {
                use std::arch::x86_64::{$at_least, $at_most, $load, $set1};
                let mut mask = 0_u64;
                // SAFETY: the processor has the instructions, as the caller promised; each load
                // reads as many values as a vector holds from an array of just so many.
                unsafe {
                    let (least, greatest) =
                        ($set1(least.cast_signed()), $set1(greatest.cast_signed()));
                    for (position, lanes) in values.as_chunks::<$lanes>().0.iter().enumerate() {
                        let lanes = $load(lanes.as_ptr().cast());
                        let is_in = $at_least(lanes, least) & $at_most(lanes, greatest);
                        mask |= u64::from(is_in) << (position * $lanes);
                    }
                }
                mask
            }

            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            unsafe fn any_mask_avx512(values: &[Self; 64], wanted: &[Self]) -> u64 {
                use std::arch::x86_64::{$equal, $load, $set1};
                let mut mask = 0_u64;
                // SAFETY: as above.
                unsafe {
                    for (position, lanes) in values.as_chunks::<$lanes>().0.iter().enumerate() {
                        let lanes = $load(lanes.as_ptr().cast());
                        let mut is_any = 0;
                        for value in wanted {
                            is_any |= $equal(lanes, $set1(value.cast_signed()));
                        }
                        mask |= u64::from(is_any) << (position * $lanes);
                    }
                }
                mask
            }

            #[cfg(target_arch = "x86_64")]
            #[inline(always)]
            #[allow(
                clippy::cast_possible_truncation,
                reason = "the lowest bits, one a lane: of bytes there are as many as bits"
            )]
            unsafe fn compress_avx512(
                values: &[Self; 64],
                bits: u64,
                target: &mut [Self; 64],
            ) -> usize {
                use std::arch::x86_64::{_mm512_storeu_si512, $compress, $load};
                let mut written = 0;
                for (position, lanes) in values.as_chunks::<$lanes>().0.iter().enumerate() {
                    let bits = (bits >> (position * $lanes)) as $mask;
                    // SAFETY: the processor has the instructions, as the caller promised. The load
                    // reads as many values as a vector holds from an array of just so many; the
                    // store writes as many from `written` on, which is at most `position` times
                    // that, so that the last one ends with the target at the latest.
                    unsafe {
                        let lanes = $load(lanes.as_ptr().cast());
                        let target = target.as_mut_ptr().add(written);
                        _mm512_storeu_si512(target.cast(), $compress(bits, lanes));
                    }
                    written += bits.count_ones() as usize;
                }
                written
            }
        }
    };
}

width!(
    u8,
    64,
    u64,
    _mm512_set1_epi8,
    _mm512_loadu_si512,
    _mm512_cmpge_epu8_mask,
    _mm512_cmple_epu8_mask,
    _mm512_cmpeq_epi8_mask,
    _mm512_maskz_compress_epi8
);
width!(
    u16,
    32,
    u32,
    _mm512_set1_epi16,
    _mm512_loadu_si512,
    _mm512_cmpge_epu16_mask,
    _mm512_cmple_epu16_mask,
    _mm512_cmpeq_epi16_mask,
    _mm512_maskz_compress_epi16
);
width!(
    u32,
    16,
    u16,
    _mm512_set1_epi32,
    _mm512_loadu_si512,
    _mm512_cmpge_epu32_mask,
    _mm512_cmple_epu32_mask,
    _mm512_cmpeq_epi32_mask,
    _mm512_maskz_compress_epi32
);
width!(
    u64,
    8,
    u8,
    _mm512_set1_epi64,
    _mm512_loadu_si512,
    _mm512_cmpge_epu64_mask,
    _mm512_cmple_epu64_mask,
    _mm512_cmpeq_epi64_mask,
    _mm512_maskz_compress_epi64
);

/// Makes `target` the positions of the values in `least..=greatest`. At most 65,536 values.
pub(super) fn fill_between<T: Width>(target: &mut Words, values: &[T], least: T, greatest: T) {
    let is_in = |value: T| value >= least && value <= greatest;
    fill(target, values, is_in, |target, whole| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: called only if the processor has these features.
        unsafe {
            between_avx512(target, whole, least, greatest);
        }
    });
}

/// Makes `target` the positions of the values that are among those wanted. At most 65,536 values.
pub(super) fn fill_any<T: Width>(target: &mut Words, values: &[T], wanted: &[T]) {
    let is_in = |value: T| wanted.contains(&value);
    fill(target, values, is_in, |target, whole| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: called only if the processor has these features.
        unsafe {
            any_avx512(target, whole, wanted);
        }
    });
}

/// Whether [`fill_any`] compares many values at once.
pub(super) fn fills_any_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        has_avx512()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Fills by `fast` as many whole words as there are values for where the processor can, and by
/// single values elsewhere.
fn fill<T: Width>(
    target: &mut Words,
    values: &[T],
    is_in: impl Fn(T) -> bool,
    fast: impl FnOnce(&mut [u64], &[[T; 64]]),
) {
    let (whole, rest) = values.as_chunks::<64>();
    let mask = |values: &[T]| {
        let bits = values.iter().enumerate();
        bits.fold(0, |mask, (bit, value)| {
            mask | u64::from(is_in(*value)) << bit
        })
    };
    let (first, last) = target.split_at_mut(whole.len());
    if fills_any_fast() {
        fast(first, whole);
    } else {
        for (word, values) in first.iter_mut().zip(whole) {
            *word = mask(values);
        }
    }
    last.fill(0);
    if let Some(word) = last.first_mut() {
        *word = mask(rest);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn between_avx512<T: Width>(target: &mut [u64], values: &[[T; 64]], least: T, greatest: T) {
    for (word, values) in target.iter_mut().zip(values) {
        // SAFETY: this function is compiled for, and called with, these features.
        *word = unsafe { T::mask_avx512(values, least, greatest) };
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn any_avx512<T: Width>(target: &mut [u64], values: &[[T; 64]], wanted: &[T]) {
    for (word, values) in target.iter_mut().zip(values) {
        // SAFETY: this function is compiled for, and called with, these features.
        *word = unsafe { T::any_mask_avx512(values, wanted) };
    }
}

/// Words whose values are gathered before they are looked at.
const GATHERED: usize = 16;

/// Calls `visit` with the values at the positions that are set, in their order, some at a time.
/// Returns how many there were: positions beyond the values have none.
///
/// Gathering first spares a branch that is guessed wrong at the end of every word: counting a
/// fifth of 65,536 users by a column of bytes took 19 us without and takes 8 us with it (Zen 4).
pub(super) fn visit_selected<T: Width>(
    words: &Words,
    values: &[T],
    mut visit: impl FnMut(&[T]),
) -> usize {
    let (whole, rest) = values.as_chunks::<64>();
    let mut gathered = [T::default(); (GATHERED + 1) * 64];
    let mut visited = 0;
    let fast = compresses_fast();
    let mut gather = |words: &[u64], values: &[[T; 64]]| {
        let length = if fast {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has these features.
            unsafe {
                gather_avx512(words, values, &mut gathered)
            }
            #[cfg(not(target_arch = "x86_64"))]
            gather(words, values, &mut gathered)
        } else {
            gather(words, values, &mut gathered)
        };
        visited += length;
        if length > 0 {
            visit(&gathered[..length]);
        }
    };
    for (values, words) in whole.chunks(GATHERED).zip(words.chunks(GATHERED)) {
        gather(words, values);
    }
    if let Some(word) = words.get(whole.len())
        && !rest.is_empty()
    {
        let mut last = [T::default(); 64];
        last[..rest.len()].copy_from_slice(rest);
        gather(&[word & ((1 << rest.len()) - 1)], &[last]);
    }
    visited
}

/// Whether the processor moves the selected lanes of a vector together.
fn compresses_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        has_avx512() && is_x86_feature_detected!("avx512vbmi2")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

fn gather<T: Width>(words: &[u64], values: &[[T; 64]], gathered: &mut [T]) -> usize {
    let mut length = 0;
    for (word, values) in words.iter().zip(values) {
        let mut left = *word;
        while left != 0 {
            gathered[length] = values[left.trailing_zeros() as usize];
            length += 1;
            left &= left - 1;
        }
    }
    length
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,popcnt")]
fn gather_avx512<T: Width>(words: &[u64], values: &[[T; 64]], gathered: &mut [T]) -> usize {
    let mut length = 0;
    for (word, values) in words.iter().zip(values) {
        if let Some(target) = gathered[length..].first_chunk_mut() {
            // SAFETY: this function is compiled for, and called with, these features.
            length += unsafe { T::compress_avx512(values, *word, target) };
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scattered(seed: u64) -> Words {
        let mut state = seed;
        std::array::from_fn(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 29)
        })
    }

    #[test]
    fn every_form_does_what_single_words_do() {
        let (a, b, c) = (scattered(1), scattered(2), scattered(3));
        let zip = |operation: fn(u64, u64) -> u64| -> Vec<u64> {
            a.iter().zip(&b).map(|(a, b)| operation(*a, *b)).collect()
        };
        let ones = |words: &[u64]| words.iter().map(|word| word.count_ones()).sum::<u32>();
        assert_eq!(count(&a), ones(&a));
        assert_eq!(and_count(&a, &b), ones(&zip(|a, b| a & b)));
        let run = |operation: fn(&mut Words, &Words)| {
            let mut target = a;
            operation(&mut target, &b);
            target.to_vec()
        };
        assert_eq!(run(and), zip(|a, b| a & b));
        assert_eq!(run(or), zip(|a, b| a | b));
        assert_eq!(run(and_not), zip(|a, b| a & !b));
        assert_eq!(run(complement_in), zip(|a, b| b & !a));
        let expected: Vec<u64> = (0..WORDS)
            .map(|word| a[word] & b[word] & !c[word])
            .collect();
        let mut target = c;
        and_all(&mut target, &a, &[(&b, 0), (&c, u64::MAX)]);
        assert_eq!(target.to_vec(), expected);
        for repeats in 1..5 {
            let operands = [(&b, 0), (&c, u64::MAX)].repeat(repeats);
            assert_eq!(and_all_count(&a, &operands), ones(&expected));
            assert_eq!(and_all_count(&a, &operands[1..]), {
                let expected = (0..WORDS)
                    .map(|word| a[word] & !c[word] & if repeats > 1 { b[word] } else { !0 });
                ones(&expected.collect::<Vec<_>>())
            });
        }
        assert_eq!(and_all_count(&a, &[]), ones(&a));
    }

    fn check_fill<T: Width + std::fmt::Debug>(from: impl Fn(u64) -> T, bounds: &[(u64, u64)]) {
        for length in [0, 1, 63, 64, 65, 1_000, 65_535, 65_536] {
            let values: Vec<T> = (0..length)
                .map(|n: u64| from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3))
                .collect();
            for &(least, greatest) in bounds {
                let (least, greatest) = (from(least), from(greatest));
                let mut target = scattered(9);
                fill_between(&mut target, &values, least, greatest);
                for bit in 0..65_536 {
                    let expected = values
                        .get(bit)
                        .is_some_and(|value| (least..=greatest).contains(value));
                    let found = target[bit / 64] >> (bit % 64) & 1 == 1;
                    assert_eq!(
                        found, expected,
                        "bit {bit} of {length} in {least:?}..={greatest:?}"
                    );
                }
            }
            for wanted in [&[][..], &[0, 1, 77], &[1, 5, 9, 200, 255, 4_000, 1 << 33]] {
                let wanted: Vec<T> = wanted.iter().map(|&value| from(value)).collect();
                let mut target = scattered(9);
                fill_any(&mut target, &values, &wanted);
                for bit in 0..65_536 {
                    let expected = values.get(bit).is_some_and(|value| wanted.contains(value));
                    let found = target[bit / 64] >> (bit % 64) & 1 == 1;
                    assert_eq!(found, expected, "bit {bit} of {length} in {wanted:?}");
                }
            }
        }
    }

    fn check_visits<T: Width + std::fmt::Debug>(from: impl Fn(u64) -> T) {
        let (none, full) = ([0; WORDS], [u64::MAX; WORDS]);
        let sparse = [0x8000_0000_0100_0001; WORDS];
        for length in [0, 1, 63, 64, 65, 1_000, 65_535, 65_536] {
            let values: Vec<T> = (0..length)
                .map(|n: u64| from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3))
                .collect();
            for words in [&scattered(3), &sparse, &full, &none] {
                let is_set =
                    |(position, _): &(usize, _)| words[position / 64] >> (position % 64) & 1 == 1;
                let expected = values
                    .iter()
                    .enumerate()
                    .filter(is_set)
                    .map(|(_, value)| *value);
                let expected: Vec<T> = expected.collect();
                let mut found = Vec::new();
                let visited = visit_selected(words, &values, |some| found.extend_from_slice(some));
                assert_eq!(visited, expected.len());
                assert_eq!(found, expected, "of {length} values");
                let mut portable = vec![values.first().copied().unwrap_or_default(); 65_536];
                let whole = values.as_chunks().0;
                let gathered = gather(words, whole, &mut portable);
                assert_eq!(portable[..gathered], expected[..gathered]);
            }
        }
    }

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "that is what widths are for"
    )]
    fn selected_values_are_visited_in_every_width() {
        check_visits(|n| n as u8);
        check_visits(|n| n as u16);
        check_visits(|n| n as u32);
        check_visits(|n| n);
    }

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "that is what widths are for"
    )]
    fn fills_agree_with_comparisons_in_every_width() {
        let bounds = [
            (0, 0),
            (0, u64::MAX),
            (5, 200),
            (128, 255),
            (1 << 15, 1 << 31),
            (1 << 33, 1 << 60),
            (9, 3),
        ];
        check_fill(|n| n as u8, &bounds);
        check_fill(|n| n as u16, &bounds);
        check_fill(|n| n as u32, &bounds);
        check_fill(|n| n, &bounds);
    }
}
