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
