//! Ranges of numbers, and how many users lie in each.
//!
//! Invariant: bins touch and ascend; each holds its lower edge and not its
//! upper one, save the last, which holds both. Every number is in one bin, below or above.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small constants, and edges that need not be exact"
)]

use super::distribution::{Distribution, Scale};
use crate::index::double_to_key;
use crate::model::ValueType;

/// Which ranges a histogram has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bins {
    /// Round ones that suit the numbers. The last one takes in what lies far beyond the rest.
    Suitable,
    /// At most so many of equal width from the least to the greatest number.
    Equal(u64),
    /// Between these keys, ascending.
    Edges(Vec<i64>),
}

/// How many users lie in each range, by keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Lower edge, upper edge, users.
    pub(super) bins: Vec<(i64, i64, u64)>,
    pub(super) below: u64,
    pub(super) above: u64,
}

/// About how many suitable bins there are, and at most how many.
const SUITABLE: f64 = 12.0;
const MOST_SUITABLE: u32 = 30;
/// Round spans of time in microseconds: from a second to ten years.
const SPANS: [i64; 16] = {
    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    [
        SECOND,
        10 * SECOND,
        60 * SECOND,
        600 * SECOND,
        3_600 * SECOND,
        4 * 3_600 * SECOND,
        12 * 3_600 * SECOND,
        DAY,
        2 * DAY,
        7 * DAY,
        14 * DAY,
        30 * DAY,
        90 * DAY,
        180 * DAY,
        365 * DAY,
        3_650 * DAY,
    ]
};

/// Counts the numbers by ranges. `typical_greatest` is a number that few lie above, such as the
/// 99th percentile.
pub(super) fn histogram(
    distribution: &Distribution,
    scale: Scale,
    bins: &Bins,
    typical_greatest: i64,
) -> Counts {
    let Some((least, greatest)) = distribution.extremes() else {
        return Counts::default();
    };
    let edges = match bins {
        Bins::Edges(edges) => edges.clone(),
        Bins::Equal(count) => equal(least, greatest, *count, scale),
        Bins::Suitable => suitable(least, typical_greatest, greatest, scale),
    };
    let pairs = edges.windows(2);
    let mut counts = Counts {
        bins: pairs.map(|pair| (pair[0], pair[1], 0)).collect(),
        ..Counts::default()
    };
    distribution.for_each(|number, users| {
        let upto = edges.partition_point(|&edge| edge <= number);
        match upto.checked_sub(1) {
            None => counts.below += users,
            Some(bin) if bin < counts.bins.len() => counts.bins[bin].2 += users,
            // The last bin holds its upper edge.
            Some(bin) => match (counts.bins.last_mut(), edges.get(bin)) {
                (Some(highest), Some(&edge)) if edge == number => highest.2 += users,
                _ => counts.above += users,
            },
        }
    });
    counts
}

/// Edges from the least to the greatest number, all but the last as far apart.
fn equal(least: i64, greatest: i64, count: u64, scale: Scale) -> Vec<i64> {
    let count = count.max(1);
    let edges: Vec<i64> = if scale.0 == ValueType::Double {
        let (low, high) = (scale.number(least), scale.number(greatest));
        let step = high / count as f64 - low / count as f64;
        let inner = (1..count).map(|n| double_to_key(low + step * n as f64));
        std::iter::once(least).chain(inner).collect()
    } else {
        let width = least.abs_diff(greatest).div_ceil(count).max(1);
        let inner = (0..count).map_while(|n| {
            let edge = i128::from(least) + i128::from(width) * i128::from(n);
            i64::try_from(edge).ok().filter(|edge| *edge < greatest)
        });
        inner.collect()
    };
    closed(edges, least, greatest)
}

/// Round edges up to where few numbers lie, then one bin for those.
fn suitable(least: i64, typical_greatest: i64, greatest: i64, scale: Scale) -> Vec<i64> {
    let (low, high) = (scale.number(least), scale.number(typical_greatest));
    let wished = (high / SUITABLE - low / SUITABLE).max(0.0);
    let step = match scale.0 {
        ValueType::Timestamp => {
            let span = SPANS.iter().find(|span| **span as f64 >= wished);
            *span.unwrap_or(&SPANS[SPANS.len() - 1]) as f64
        }
        ValueType::Int64 => round(wished).max(1.0),
        ValueType::Bool
        | ValueType::String
        | ValueType::StringSet
        | ValueType::Double
        | ValueType::Version => round(wished),
    };
    // A hair more, since 0.3 / 0.1 is a hair less than 3.
    let mut first = (low / step + 1e-9).floor();
    // A tenth is no double, but a number divided by ten is the nearest one.
    let edge_of = |steps: f64| {
        if step < 1.0 {
            steps / (1.0 / step).round()
        } else {
            steps * step
        }
    };
    if edge_of(first) > low {
        first -= 1.0;
    }
    let edge = |n: u32| edge_of(first + f64::from(n));
    // Nearly all numbers are the same, or too large for a step to show.
    if !(high > low && step > 0.0 && edge(0).is_finite() && edge(0) < edge(1)) {
        return equal(least, greatest, SUITABLE as u64, scale);
    }
    let edges = (0..=MOST_SUITABLE).map(edge);
    let edges: Vec<f64> = edges.take_while(|edge| *edge <= high).collect();
    let mut keys: Vec<i64> = edges.iter().map(|edge| key_of(*edge, scale)).collect();
    let next = (0..).map(edge).nth(keys.len()).unwrap_or(f64::MAX);
    if keys.len() as u32 > MOST_SUITABLE || !(scale.number(greatest) <= next && next.is_finite()) {
        return closed(keys, least, greatest);
    }
    keys.push(key_of(next, scale));
    keys
}

/// Ends the edges with the greatest number.
fn closed(mut edges: Vec<i64>, least: i64, greatest: i64) -> Vec<i64> {
    edges.retain(|edge| *edge < greatest);
    edges.dedup();
    if edges.is_empty() {
        edges.push(least);
    }
    edges.push(greatest);
    edges
}

fn key_of(number: f64, scale: Scale) -> i64 {
    if scale.0 == ValueType::Double {
        // Never -0.0, whose key is another.
        double_to_key(number + 0.0)
    } else {
        number.round() as i64
    }
}

/// The next number of the form 1, 2 or 5 times a power of ten.
fn round(number: f64) -> f64 {
    if number <= 0.0 {
        return 0.0;
    }
    let power = 10.0_f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= number);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::double_from_key;

    fn of(numbers: impl IntoIterator<Item = i64>) -> Distribution {
        let mut distribution = Distribution::default();
        numbers
            .into_iter()
            .for_each(|number| distribution.push(number));
        distribution
    }

    fn edges(counts: &Counts) -> Vec<i64> {
        let first = counts.bins.first().map(|bin| bin.0);
        first
            .into_iter()
            .chain(counts.bins.iter().map(|bin| bin.1))
            .collect()
    }

    #[test]
    fn every_number_is_counted_once() {
        let scale = Scale(ValueType::Int64);
        let numbers = [-5, -5, 0, 1, 2, 3, 10, 11, 99];
        let distribution = of(numbers);
        for bins in [
            Bins::Suitable,
            Bins::Equal(1),
            Bins::Equal(4),
            Bins::Equal(1_000),
        ] {
            let counts = histogram(&distribution, scale, &bins, 11);
            assert_eq!((counts.below, counts.above), (0, 0), "{bins:?}");
            let sum: u64 = counts.bins.iter().map(|bin| bin.2).sum();
            assert_eq!(sum, numbers.len() as u64, "{bins:?}");
            assert!(edges(&counts).is_sorted_by(|a, b| a < b), "{counts:?}");
        }
        let given = Bins::Edges(vec![0, 2, 10]);
        let counts = histogram(&distribution, scale, &given, 11);
        assert_eq!(counts.bins, [(0, 2, 2), (2, 10, 3)]);
        assert_eq!((counts.below, counts.above), (2, 2));
    }

    #[test]
    fn suitable_edges_are_round() {
        let scale = Scale(ValueType::Int64);
        let ages = of((0..1_000).map(|n| 13 + n % 78));
        let counts = histogram(&ages, scale, &Bins::Suitable, 89);
        assert_eq!(
            edges(&counts),
            (1..=10).map(|n| n * 10).chain([]).collect::<Vec<_>>()[..9]
        );
        let tenths = of((3..=14).map(|n| double_to_key(f64::from(n) / 10.0)));
        let scale = Scale(ValueType::Double);
        let counts = histogram(&tenths, scale, &Bins::Suitable, double_to_key(1.4));
        let shown: Vec<f64> = edges(&counts).into_iter().map(double_from_key).collect();
        assert_eq!(shown[..3], [0.3, 0.4, 0.5]);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let scale = Scale(ValueType::Int64);
        let wide = of([i64::MIN, 0, i64::MAX]);
        let doubles = of([f64::MIN, 0.0, f64::MAX].map(double_to_key));
        for bins in [Bins::Suitable, Bins::Equal(7)] {
            for (distribution, scale, typical) in [
                (&wide, scale, i64::MAX),
                (&doubles, Scale(ValueType::Double), double_to_key(f64::MAX)),
                (&doubles, Scale(ValueType::Double), double_to_key(0.0)),
            ] {
                let counts = histogram(distribution, scale, &bins, typical);
                let sum: u64 = counts.bins.iter().map(|bin| bin.2).sum();
                assert_eq!(sum, 3, "{bins:?} {counts:?}");
                let ends = edges(&counts).into_iter().map(|key| scale.number(key));
                assert!(ends.into_iter().all(f64::is_finite), "{bins:?} {counts:?}");
            }
        }
        let one = histogram(&of([7, 7]), scale, &Bins::Suitable, 7);
        assert_eq!(one.bins, [(7, 7, 2)]);
    }
}
