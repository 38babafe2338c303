//! The numbers of the selected users, and what they are like: extremes, moments, quantiles.
//!
//! Invariant: all that is told is of one and the same list of numbers, taken once from each shard,
//! so that writes meanwhile can't make a median disagree with its histogram.

use std::collections::BTreeMap;

use crate::bits::Block;
use crate::index::{NumberIndex, double_from_key};
use crate::model::ValueType;

/// The numbers of some users, as keys whose order is that of the values.
#[derive(Clone, Debug, Default)]
pub(super) struct Distribution {
    /// How many users have each number: where a shard has few different ones.
    counted: BTreeMap<i64, u64>,
    /// Numbers one by one: where a shard has many.
    listed: Vec<i64>,
}

impl Distribution {
    /// Adds the numbers of the selected users of a shard.
    pub(super) fn add(&mut self, index: &NumberIndex, selected: &Block) {
        let Self { counted, listed } = self;
        let few = index.tally(selected, |number, users| {
            *counted.entry(number).or_insert(0) += u64::from(users);
        });
        if !few {
            index.for_each_in(selected, |number| listed.push(number));
        }
    }

    pub(super) fn push(&mut self, number: i64) {
        self.listed.push(number);
    }

    pub(super) fn join(&mut self, mut other: Self) {
        for (number, users) in other.counted {
            *self.counted.entry(number).or_insert(0) += users;
        }
        if other.listed.len() > self.listed.len() {
            std::mem::swap(&mut self.listed, &mut other.listed);
        }
        self.listed.append(&mut other.listed);
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.counted.values().sum::<u64>() + self.listed.len() as u64
    }

    /// The least and the greatest number; `None` if there are none.
    pub(super) fn extremes(&self) -> Option<(i64, i64)> {
        let keys = self.counted.keys();
        let (head, tail) = (keys.clone().next(), keys.last());
        let least = self.listed.iter().min().into_iter().chain(head).min()?;
        let greatest = self.listed.iter().max().into_iter().chain(tail).max()?;
        Some((*least, *greatest))
    }

    /// Calls `visit` with numbers and how many users have each; the same number may come again.
    pub(super) fn for_each(&self, mut visit: impl FnMut(i64, u64)) {
        for (&number, &users) in &self.counted {
            visit(number, users);
        }
        for &number in &self.listed {
            visit(number, 1);
        }
    }

    /// The numbers that are listed one by one, to be sorted.
    pub(super) fn listed_mut(&mut self) -> &mut [i64] {
        &mut self.listed
    }

    /// The numbers in their order and how many users have each, if those listed are sorted; the same
    /// number may come again.
    pub(super) fn ascending(&self) -> impl Iterator<Item = (i64, u64)> + Clone {
        let mut counted = self.counted.iter().peekable();
        let mut listed = self.listed.iter().peekable();
        std::iter::from_fn(move || match (counted.peek(), listed.peek()) {
            (Some((number, _)), Some(listed_one)) if *listed_one < *number => {
                listed.next().map(|number| (*number, 1))
            }
            (Some(_), _) => counted.next().map(|(number, users)| (*number, *users)),
            (None, _) => listed.next().map(|number| (*number, 1)),
        })
    }

    /// The numbers at some places, ascending and below the count, of all numbers in their order.
    ///
    /// Selection by partitioning (Hoare 1961), for each place in what the places before left.
    pub(super) fn at_places(&mut self, places: &[u64]) -> Vec<i64> {
        if self.listed.is_empty() {
            let mut counted = self.counted.iter();
            let mut before = 0;
            let mut current = None;
            return places
                .iter()
                .filter_map(|&place| {
                    while before <= place {
                        let (&number, &users) = counted.next()?;
                        before += users;
                        current = Some(number);
                    }
                    current
                })
                .collect();
        }
        for (number, users) in std::mem::take(&mut self.counted) {
            let users = usize::try_from(users).unwrap_or(usize::MAX);
            self.listed.extend(std::iter::repeat_n(number, users));
        }
        let mut from = 0;
        let mut found = Vec::with_capacity(places.len());
        for &place in places {
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            if let Some(rest) = self.listed.get_mut(from..)
                && let Some(within) = place.checked_sub(from)
                && within < rest.len()
            {
                found.push(*rest.select_nth_unstable(within).1);
                // The place itself stays in reach: it may be asked for again.
                from = place;
            }
        }
        found
    }
}

/// What the keys of a property stand for as a number: of a timestamp, microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale(pub(super) ValueType);

impl Scale {
    #[expect(
        clippy::cast_precision_loss,
        reason = "means and deviations are approximate numbers; an instant fits exactly"
    )]
    pub(super) fn number(self, key: i64) -> f64 {
        if self.0 == ValueType::Double {
            double_from_key(key)
        } else {
            key as f64
        }
    }
}

/// Mean and standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moments {
    pub(super) mean: f64,
    /// Of all users, not of a sample: the sum of squares is divided by their number.
    pub(super) standard_deviation: f64,
}

/// Doubles above this are scaled down before they are squared, so that nothing overflows.
const LARGE: f64 = 1e100;

impl Moments {
    /// In two passes, so that a small deviation from a large mean is not lost; the sum of doubles
    /// is compensated (Neumaier 1974), that of whole numbers exact.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the results are approximate numbers"
    )]
    pub(super) fn of(distribution: &Distribution, scale: Scale) -> Option<Self> {
        let (least, greatest) = distribution.extremes()?;
        let count = distribution.count() as f64;
        let largest = scale.number(least).abs().max(scale.number(greatest).abs());
        let unit = if largest > LARGE { largest } else { 1.0 };
        let mean = if scale.0 == ValueType::Double {
            let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
            distribution.for_each(|key, users| {
                let term = scale.number(key) / unit * users as f64;
                let next = sum + term;
                lost += if sum.abs() >= term.abs() {
                    sum - next + term
                } else {
                    term - next + sum
                };
                sum = next;
            });
            (sum + lost) / count
        } else {
            let mut sum = 0_i128;
            distribution.for_each(|key, users| sum += i128::from(key) * i128::from(users));
            sum as f64 / unit / count
        };
        let mut squares = 0.0;
        distribution.for_each(|key, users| {
            let deviation = scale.number(key) / unit - mean;
            squares += deviation * deviation * users as f64;
        });
        Some(Self {
            // Rounding must not carry them beyond what they are of.
            mean: (mean * unit).clamp(scale.number(least), scale.number(greatest)),
            standard_deviation: ((squares / count).sqrt() * unit).min(largest),
        })
    }
}

/// The place of a percentile among so many numbers, and how far it lies towards the next place:
/// linear interpolation, type 7 of Hyndman and Fan (1996), as spreadsheets and most databases do.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most 2^32 users"
)]
pub(super) fn place_of(percent: f64, count: u64) -> (u64, f64) {
    let last = count.saturating_sub(1);
    let exact = percent / 100.0 * last as f64;
    let place = (exact.floor() as u64).min(last);
    (place, exact - place as f64)
}

/// The number between two neighbours.
pub(super) fn between(low: f64, high: f64, towards_high: f64) -> f64 {
    if low >= high || towards_high <= 0.0 {
        low
    } else {
        low * (1.0 - towards_high) + high * towards_high
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::float_cmp,
    reason = "small numbers that doubles hold exactly"
)]
mod tests {
    use super::*;
    use crate::index::double_to_key;

    fn of(numbers: &[i64], counted: bool) -> Distribution {
        let mut distribution = Distribution::default();
        for &number in numbers {
            if counted {
                *distribution.counted.entry(number).or_insert(0) += 1;
            } else {
                distribution.listed.push(number);
            }
        }
        distribution
    }

    #[test]
    fn places_are_those_of_the_sorted_numbers() {
        let numbers: Vec<i64> = (0..997).map(|n: i64| (n * 7_919) % 83 - 40).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let places = [0, 0, 1, 250, 498, 498, 995, 996];
        let expected: Vec<i64> = places.iter().map(|&place| sorted[place as usize]).collect();
        let mut mixed = of(&numbers[..500], true);
        mixed.join(of(&numbers[500..], false));
        for mut distribution in [of(&numbers, true), of(&numbers, false), mixed] {
            assert_eq!(distribution.count(), 997);
            assert_eq!(distribution.extremes(), Some((sorted[0], sorted[996])));
            assert_eq!(distribution.at_places(&places), expected);
        }
    }

    #[test]
    fn moments_keep_small_deviations_from_large_means() {
        let scale = Scale(ValueType::Int64);
        let moments = |numbers: &[i64]| Moments::of(&of(numbers, false), scale).unwrap();
        let base = 1 << 52;
        assert_eq!(moments(&[base - 1, base + 1]).standard_deviation, 1.0);
        assert_eq!(moments(&[2, 4, 4, 4, 5, 5, 7, 9]).standard_deviation, 2.0);
        assert_eq!(moments(&[i64::MAX, i64::MAX]).mean, 2.0_f64.powi(63));
        assert!(Moments::of(&Distribution::default(), scale).is_none());
    }

    #[test]
    fn the_largest_doubles_do_not_overflow() {
        let keys = [f64::MAX, f64::MIN, f64::MAX, f64::MIN].map(double_to_key);
        let moments = Moments::of(&of(&keys, false), Scale(ValueType::Double)).unwrap();
        assert_eq!(moments.mean, 0.0);
        assert_eq!(moments.standard_deviation, f64::MAX);
        assert_eq!(between(f64::MIN, f64::MAX, 0.5), 0.0);
    }

    #[test]
    fn percentiles_lie_between_places() {
        assert_eq!(place_of(50.0, 4), (1, 0.5));
        assert_eq!(place_of(50.0, 5), (2, 0.0));
        assert_eq!(place_of(100.0, 5), (4, 0.0));
        assert_eq!(place_of(0.0, 1), (0, 0.0));
        assert_eq!(between(3.0, 4.0, 0.25), 3.25);
        assert_eq!(between(0.1, 0.1, 0.3), 0.1);
    }
}
