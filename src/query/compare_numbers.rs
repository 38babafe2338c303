//! Numbers and instants of two groups of users side by side.
//!
//! Invariant: both groups are counted between the same edges, which touch, ascend and leave nobody
//! out.

use rayon::slice::ParallelSliceMut;

use super::compare::{Candidate, Tested, What};
use super::distribution::Distribution;
use super::histogram::Bins;
use super::statistics::distance;
use super::summarize::{Statistics, exact, statistics};
use crate::index::{double_from_key, double_to_key};
use crate::model::ValueType;

/// About how many bins there are: so many hold as many users each, as far as equal values let them.
const BINS: usize = 10;
/// The percentiles that are told of both groups.
pub const COMPARED_PERCENTILES: [f64; 4] = [10.0, 25.0, 75.0, 90.0];

/// What the numbers of both groups are like.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberComparison {
    /// Of the users; `None` if nobody has one.
    pub statistics: Option<Statistics>,
    /// Of those whom they are compared with.
    pub against_statistics: Option<Statistics>,
    /// The distance of Kolmogorov and Smirnov.
    pub distance: f64,
}

/// The bins by name, how many users of both groups are in each, and what the numbers are like;
/// `None` if there are no numbers.
pub(super) fn compare(
    value_type: ValueType,
    mut numbers: Distribution,
    mut against: Distribution,
) -> Option<(Vec<What>, Vec<Candidate>, NumberComparison)> {
    numbers.listed_mut().par_sort_unstable();
    against.listed_mut().par_sort_unstable();
    let both = merged(numbers.ascending(), against.ascending());
    let edges = edges(value_type, &both, numbers.count() + against.count())?;
    let names = names(value_type, &edges, both)?;
    let distance = distance(numbers.ascending(), against.ascending());
    let bins = Bins::Edges(edges);
    let of =
        |numbers: &mut Distribution| statistics(value_type, numbers, &COMPARED_PERCENTILES, &bins);
    let (statistics, against_statistics) = (of(&mut numbers), of(&mut against));
    let count = |statistics: &Option<Statistics>, bin: usize| {
        let bins = statistics.as_ref().map(|found| &found.histogram.bins);
        bins.and_then(|bins| bins.get(bin))
            .map_or(0, |bin| bin.count)
    };
    let candidates = (0..names.len()).map(|bin| Candidate {
        tested: Tested::Bin(bin),
        count: count(&statistics, bin),
        against: count(&against_statistics, bin),
    });
    let candidates = candidates.collect();
    let comparison = NumberComparison {
        statistics,
        against_statistics,
        distance,
    };
    Some((names, candidates, comparison))
}

/// The ranges below and from each edge that has at least two bins on both sides. Where everyone has
/// a number each is the mirror of the other, and only the one with the greater `effect` is returned.
pub(super) fn splits(
    bins: &[Candidate],
    some_are_missing: bool,
    effect: impl Fn(&Candidate) -> f64,
) -> Vec<Candidate> {
    let sum = |tested: Tested, bins: &[Candidate]| Candidate {
        tested,
        count: bins.iter().map(|bin| bin.count).sum(),
        against: bins.iter().map(|bin| bin.against).sum(),
    };
    let mut splits = Vec::new();
    for edge in 2..bins.len().saturating_sub(1) {
        let (below, from) = bins.split_at(edge);
        let (below, from) = (
            sum(Tested::Below(edge), below),
            sum(Tested::From(edge), from),
        );
        if some_are_missing {
            splits.extend([below, from]);
        } else if effect(&below) >= effect(&from) {
            splits.push(below);
        } else {
            splits.push(from);
        }
    }
    splits
}

/// Numbers and how many users have each; the same number may come again.
trait Ascending: Iterator<Item = (i64, u64)> + Clone {}
impl<T: Iterator<Item = (i64, u64)> + Clone> Ascending for T {}

/// The numbers of both, which ascend.
fn merged(one: impl Ascending, other: impl Ascending) -> impl Ascending {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some((number, _)), Some((others, _))) if others < number => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}

/// Each number once.
fn runs(numbers: impl Ascending) -> impl Ascending {
    let mut numbers = numbers.peekable();
    std::iter::from_fn(move || {
        let (number, mut users) = numbers.next()?;
        while let Some((_, more)) = numbers.next_if(|(next, _)| *next == number) {
            users += more;
        }
        Some((number, users))
    })
}

/// Where the bins begin, and the greatest number. A number each if they are few; else at the deciles
/// of both groups together, at the roundest number within a percentile of each. A number that is
/// that of more than one decile has a bin of its own. `None` without numbers.
fn edges(value_type: ValueType, both: &impl Ascending, count: u64) -> Option<Vec<i64>> {
    let numbers = runs(both.clone());
    let mut few: Vec<i64> = numbers
        .clone()
        .take(BINS + 1)
        .map(|(number, _)| number)
        .collect();
    let least = *few.first()?;
    if few.len() <= BINS {
        few.push(*few.last()?);
        return Some(few);
    }
    let place = |percent: usize| count.saturating_sub(1) * percent as u64 / 100;
    let step = 100 / BINS;
    let mut places = (1..BINS).flat_map(|decile| {
        let percent = decile * step;
        [place(percent - 1), place(percent), place(percent + 1)]
    });
    // The numbers at the places, each with the next greater number.
    let mut found: Vec<(i64, i64)> = Vec::with_capacity(3 * BINS);
    let mut wanted = places.next();
    let (mut before, mut greatest, mut open) = (0, least, 0);
    for (number, users) in numbers {
        for (_, next) in found.iter_mut().skip(open) {
            *next = number;
        }
        open = found.len();
        before += users;
        while wanted.is_some_and(|place| place < before) {
            found.push((number, number));
            wanted = places.next();
        }
        greatest = number;
    }
    let mut edges = vec![least];
    let mut last_decile = least;
    for three in found.chunks_exact(3) {
        let [(low, _), (decile, next), (high, _)] = three else {
            continue;
        };
        let edge = if *decile == last_decile {
            *next
        } else {
            roundest(value_type, *low, *high)
        };
        last_decile = *decile;
        if edges.last().is_some_and(|last| edge > *last) && edge <= greatest {
            edges.push(edge);
        }
    }
    edges.push(greatest);
    Some(edges)
}

/// The ranges between the edges, those that hold one number only as that.
fn names(value_type: ValueType, edges: &[i64], both: impl Ascending) -> Option<Vec<What>> {
    let bins = edges.len().checked_sub(1)?;
    let mut ends: Vec<Option<(i64, i64)>> = vec![None; bins];
    for (number, _) in both {
        let upto = edges.partition_point(|edge| *edge <= number);
        if let Some(ends) = ends.get_mut(upto.saturating_sub(1).min(bins - 1)) {
            let first = ends.map_or(number, |(first, _)| first);
            *ends = Some((first, number));
        }
    }
    let named = edges.windows(2).zip(ends).enumerate();
    let named = named.map(|(position, (pair, ends))| match (pair, ends) {
        (_, Some((first, last))) if first == last => exact(value_type, first).map(What::Value),
        ([from, to], _) => Some(What::Range {
            from: Some(exact(value_type, *from)?),
            to: Some(exact(value_type, *to)?),
            includes_to: position + 1 == bins,
        }),
        _ => None,
    });
    named.collect()
}

/// The roundest number in `low..=high`: with the fewest digits, an instant at the start of a day of
/// UTC, an hour or a minute.
fn roundest(value_type: ValueType, low: i64, high: i64) -> i64 {
    const SECOND: i128 = 1_000_000;
    let first_multiple = |step: i128| {
        let multiple = -(-i128::from(low)).div_euclid(step) * step;
        i64::try_from(multiple).ok().filter(|found| *found <= high)
    };
    let found = match value_type {
        ValueType::Double => return roundest_double(low, high),
        ValueType::Timestamp => [86_400 * SECOND, 3_600 * SECOND, 60 * SECOND, SECOND]
            .into_iter()
            .find_map(first_multiple),
        ValueType::Int64
        | ValueType::Bool
        | ValueType::String
        | ValueType::StringSet
        | ValueType::Version => (0..19)
            .rev()
            .flat_map(|power| [5, 2, 1].map(|digit| digit * 10_i128.pow(power)))
            .find_map(first_multiple),
    };
    found.unwrap_or(low)
}

fn roundest_double(low: i64, high: i64) -> i64 {
    let (least, greatest) = (double_from_key(low), double_from_key(high));
    let largest = least.abs().max(greatest.abs());
    if least <= 0.0 && greatest >= 0.0 {
        return double_to_key(0.0);
    }
    #[expect(clippy::cast_possible_truncation, reason = "the power of a double")]
    let power = largest.log10().floor() as i32;
    let steps = (power.saturating_sub(16)..=power).rev();
    let steps = steps.flat_map(|power| [5.0, 2.0, 1.0].map(|digit| (digit, power)));
    for (digit, power) in steps {
        // A tenth is no double, but a number divided by ten is the nearest one.
        let found = if power < 0 {
            let unit = 10.0_f64.powi(-power);
            (least * unit / digit).ceil() * digit / unit
        } else {
            let unit = digit * 10.0_f64.powi(power);
            (least / unit).ceil() * unit
        };
        if found.is_finite() && found >= least && found <= greatest {
            return double_to_key(found);
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Finite, Timestamp, Value};

    fn of(numbers: impl IntoIterator<Item = i64>) -> Distribution {
        let mut distribution = Distribution::default();
        for number in numbers {
            distribution.push(number);
        }
        distribution
    }

    fn whole(number: i64) -> What {
        What::Value(Value::Int64(number))
    }

    fn range(from: i64, to: i64, includes_to: bool) -> What {
        What::Range {
            from: Some(Value::Int64(from)),
            to: Some(Value::Int64(to)),
            includes_to,
        }
    }

    #[test]
    fn bins_hold_about_as_many_users_and_begin_at_round_numbers() {
        let numbers = of((0..1_000).map(|number| number * 7 % 1_000));
        let others = of((0..1_000).rev());
        let (names, counts, comparison) = compare(ValueType::Int64, numbers, others).unwrap();
        let edges: Vec<i64> = (0..10).map(|decile| decile * 100).collect();
        let expected = edges.windows(2).map(|pair| range(pair[0], pair[1], false));
        let last = [range(900, 999, true)];
        assert_eq!(names, expected.chain(last).collect::<Vec<_>>());
        assert!(
            counts
                .iter()
                .all(|bin| (bin.count, bin.against) == (100, 100))
        );
        assert!(comparison.distance <= 0.0);
        let median = |found: Option<Statistics>| found.unwrap().median;
        assert_eq!(
            median(comparison.statistics),
            median(comparison.against_statistics)
        );
    }

    #[test]
    fn few_and_frequent_numbers_have_bins_of_their_own() {
        let (names, counts, comparison) =
            compare(ValueType::Int64, of([3, 1, 1]), of([1, 9, 9])).unwrap();
        assert_eq!(names, [1, 3, 9].map(whole));
        let found = counts.iter().map(|bin| (bin.count, bin.against));
        assert!(found.eq([(2, 1), (1, 0), (0, 2)]));
        assert!((comparison.distance - 2.0 / 3.0).abs() < 1e-12);
        let mostly_zero = (0..600).map(|_| 0).chain(1..=400);
        let (names, counts, _) = compare(ValueType::Int64, of(mostly_zero), of([])).unwrap();
        assert_eq!(names[0], whole(0));
        assert_eq!(names[1], range(1, 100, false));
        assert_eq!(counts[0].count, 600);
        let sum: u64 = counts.iter().map(|bin| bin.count).sum();
        assert_eq!(sum, 1_000);
        assert!(compare(ValueType::Int64, of([]), of([])).is_none());
    }

    #[test]
    fn extremes_do_not_overflow() {
        let wide = (0..100_i64).map(|n| (n - 50) * (i64::MAX / 50));
        let (names, counts, _) =
            compare(ValueType::Int64, of(wide), of([i64::MIN, i64::MAX])).unwrap();
        let sum: u64 = counts.iter().map(|bin| bin.count + bin.against).sum();
        assert_eq!((names.len(), sum), (counts.len(), 102));
        let doubles = (0..100).map(|n| double_to_key(f64::MAX / 50.0 * f64::from(n - 50)));
        let (_, counts, _) = compare(ValueType::Double, of(doubles), of([])).unwrap();
        let sum: u64 = counts.iter().map(|bin| bin.count).sum();
        assert_eq!(sum, 100);
    }

    #[test]
    fn the_roundest_number_has_the_fewest_digits() {
        for (low, high, expected) in [
            (38, 43, 40),
            (101, 104, 102),
            (101, 101, 101),
            (-7, 3, 0),
            (-43, -38, -40),
            (950, 1_050, 1_000),
            (i64::MAX - 1, i64::MAX, i64::MAX - 1),
        ] {
            assert_eq!(roundest(ValueType::Int64, low, high), expected);
        }
        for (low, high, expected) in [
            (29.31, 30.4, 30.0),
            (0.27, 0.31, 0.3),
            (-0.31, -0.27, -0.3),
            (-1.0, 1.0, 0.0),
            (1_950.5, 2_100.0, 2_000.0),
            (0.123_45, 0.123_45, 0.123_45),
        ] {
            let key = roundest(ValueType::Double, double_to_key(low), double_to_key(high));
            assert_eq!(key, double_to_key(expected), "{low} {high}");
            assert!(Finite::new(double_from_key(key)).is_some());
        }
        let at = |text: &str| text.parse::<Timestamp>().unwrap().micros();
        for (low, high, expected) in [
            ("2026-01-30T10:00:01Z", "2026-01-31T00:00:00Z", "2026-01-31"),
            (
                "1969-01-30T10:00:01Z",
                "1969-01-30T11:30:00Z",
                "1969-01-30T11:00:00Z",
            ),
            (
                "2026-01-30T10:00:01.5Z",
                "2026-01-30T10:00:02.5Z",
                "2026-01-30T10:00:02Z",
            ),
        ] {
            assert_eq!(
                roundest(ValueType::Timestamp, at(low), at(high)),
                at(expected)
            );
        }
    }

    #[test]
    fn both_sides_of_an_edge_are_told_unless_they_are_mirrors() {
        let bins: Vec<Candidate> = [(1, 4), (2, 3), (3, 2), (4, 1)]
            .into_iter()
            .enumerate()
            .map(|(bin, (count, against))| Candidate {
                tested: Tested::Bin(bin),
                count,
                against,
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let effect = |split: &Candidate| split.count as f64 - split.against as f64;
        let found = |some_are_missing| -> Vec<(Tested, u64, u64)> {
            let found = splits(&bins, some_are_missing, effect).into_iter();
            found
                .map(|split| (split.tested, split.count, split.against))
                .collect()
        };
        assert_eq!(found(false), [(Tested::From(2), 7, 3)]);
        assert_eq!(
            found(true),
            [(Tested::Below(2), 3, 7), (Tested::From(2), 7, 3)]
        );
        assert!(splits(&bins[..3], true, effect).is_empty());
        assert!(splits(&[], true, effect).is_empty());
    }
}
