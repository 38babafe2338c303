//! Breakdowns and summaries beside those of a plain list of users.

use std::collections::{BTreeMap, BTreeSet};

use headcount::model::{PropertyName, UserId, Value, ValueType};
use headcount::population::{Population, ValueCount};
use headcount::query::{
    Bound, Deviation, HistogramBins, PropertyBreakdown, Stop, Summary, breakdown, summarize,
};
use headcount::testing::naive::NaivePopulation;

/// The values of a property that selected users have, a set's elements one by one, and the number
/// of users without a value.
fn values(
    naive: &NaivePopulation,
    selected: &BTreeSet<UserId>,
    property: &PropertyName,
) -> (Vec<Value>, u64) {
    let (mut values, mut missing) = (Vec::new(), 0);
    for user in selected {
        match naive.user(user).and_then(|user| user.get(property)) {
            None => missing += 1,
            Some(Value::StringSet(elements)) => {
                values.extend(elements.iter().cloned().map(Value::String));
            }
            Some(value) => values.push(value.clone()),
        }
    }
    values.sort();
    (values, missing)
}

fn most_frequent(values: &[Value], limit: usize) -> Vec<ValueCount> {
    let mut counts: BTreeMap<&Value, u64> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_insert(0) += 1;
    }
    let mut counts: Vec<(&Value, u64)> = counts.into_iter().collect();
    // Stable: equals stay in the order of their values.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(limit);
    let counts = counts.into_iter().map(|(value, count)| ValueCount {
        value: value.clone(),
        count,
    });
    counts.collect()
}

/// Compares breakdowns by all properties at once, and a summary of each number.
pub(crate) fn agree(
    population: &Population,
    naive: &NaivePopulation,
    bound: &Bound,
    selected: &BTreeSet<UserId>,
    properties: &[(PropertyName, ValueType)],
    limit: usize,
) {
    let names: Vec<PropertyName> = properties.iter().map(|(name, _)| name.clone()).collect();
    let found = breakdown(population, bound, &names, Some(limit), &Stop::never()).unwrap();
    assert_eq!(found.users, selected.len() as u64);
    for (position, (name, value_type)) in properties.iter().enumerate() {
        let (values, missing) = values(naive, selected, name);
        let distinct: BTreeSet<&Value> = values.iter().collect();
        let expected = PropertyBreakdown {
            property: name.clone(),
            missing,
            distinct_values: distinct.len() as u64,
            values: most_frequent(&values, limit),
        };
        assert_eq!(found.properties[position], expected, "{name}");
        let numbers = [ValueType::Int64, ValueType::Double, ValueType::Timestamp];
        if numbers.contains(value_type) {
            summaries(population, bound, name, &values, missing);
        } else {
            let bins = HistogramBins::Suitable;
            assert!(
                summarize(
                    population,
                    bound,
                    &name.clone().into(),
                    &[],
                    &bins,
                    &Stop::never()
                )
                .is_err()
            );
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "approximate figures")]
fn number(value: &Value) -> f64 {
    match value {
        Value::Int64(number) => *number as f64,
        Value::Double(number) => number.get(),
        Value::Timestamp(instant) => instant.micros() as f64,
        Value::Bool(_) | Value::String(_) | Value::StringSet(_) | Value::Version(_) => {
            panic!("{value} is no number")
        }
    }
}

/// Linear interpolation between the two nearest of the sorted numbers.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "few numbers"
)]
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let place = percent / 100.0 * (sorted.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    let part = place - place.floor();
    sorted[low] * (1.0 - part) + sorted[high] * part
}

fn close(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-9 * scale.max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "few numbers")]
fn summaries(
    population: &Population,
    bound: &Bound,
    name: &PropertyName,
    values: &[Value],
    missing: u64,
) {
    let percents = [99.0, 0.0, 12.5, 100.0, 25.0];
    let subject = name.clone().into();
    let ask = |bins: &HistogramBins| -> Summary {
        summarize(population, bound, &subject, &percents, bins, &Stop::never()).unwrap()
    };
    let found = ask(&HistogramBins::Suitable);
    assert_eq!(found.users, values.len() as u64 + missing);
    assert_eq!(found.missing, missing);
    let Some(statistics) = &found.statistics else {
        assert!(values.is_empty(), "{name}");
        return;
    };
    let sorted: Vec<f64> = values.iter().map(number).collect();
    let count = sorted.len() as f64;
    let largest = sorted[0].abs().max(sorted[sorted.len() - 1].abs());
    assert_eq!(Some(&statistics.min), values.first());
    assert_eq!(Some(&statistics.max), values.last());
    let mean = sorted.iter().map(|number| number / count).sum::<f64>();
    // A sum of large doubles may be none any more.
    if mean.is_finite() {
        assert!(close(number(&statistics.mean), mean, largest), "{name}");
    }
    let squares: f64 = sorted.iter().map(|n| (n - mean).powi(2) / count).sum();
    let deviation = match statistics.standard_deviation {
        Deviation::Number(number) => number,
        Deviation::Span(span) => span.micros() as f64,
    };
    // The square of a large double is none any more.
    if squares.is_finite() {
        assert!(
            close(deviation, squares.sqrt(), largest),
            "{name}: {deviation} {} {sorted:?}",
            squares.sqrt()
        );
    }
    assert!(deviation.is_finite() && deviation <= largest * 1.01);
    let median = percentile(&sorted, 50.0);
    // An instant is cut to the microsecond.
    assert!((number(&statistics.median) - median).abs() <= 0.5 + 1e-9 * largest);
    for (percent, found) in percents.iter().zip(&statistics.percentiles) {
        let expected = percentile(&sorted, *percent);
        assert!(
            (number(found) - expected).abs() <= 0.5 + 1e-9 * largest,
            "{name} {percent}"
        );
    }
    assert!((-1.0..=1.0).contains(&statistics.skew));

    let distinct: BTreeSet<&Value> = values.iter().collect();
    let edges: Vec<Value> = distinct.into_iter().step_by(3).take(50).cloned().collect();
    let mut asked = vec![HistogramBins::Suitable, HistogramBins::Equal(9)];
    if edges.len() >= 2 {
        asked.push(HistogramBins::Edges(edges));
    }
    for bins in asked {
        let histogram = ask(&bins).statistics.unwrap().histogram;
        let last = histogram.bins.len() - 1;
        for (position, bin) in histogram.bins.iter().enumerate() {
            let inside = |value: &&Value| {
                **value >= bin.from && (**value < bin.to || position == last && **value == bin.to)
            };
            let expected = values.iter().filter(inside).count() as u64;
            assert_eq!(bin.count, expected, "{name} {bins:?} {bin:?}");
        }
        let within: u64 = histogram.bins.iter().map(|bin| bin.count).sum();
        assert_eq!(
            histogram.below + within + histogram.above,
            values.len() as u64
        );
        if !matches!(bins, HistogramBins::Edges(_)) {
            assert_eq!(histogram.below + histogram.above, 0, "{name} {bins:?}");
        }
    }
}
