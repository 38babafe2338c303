//! What a number or an instant is like among the users whom an expression selects: a property, or
//! a measure of what they did.

use std::sync::Arc;

use super::bind::{Bound, literal, operator_error};
use super::bind_error::BindError;
use super::bind_event::{BoundMeasure, BoundMeasured, bind_measure, oldest};
use super::distribution::{Distribution, Moments, Scale, between, place_of};
use super::evaluate::Evaluator;
use super::histogram::{self, Bins, Counts};
use super::plan::plan;
use super::shards::over_shards;
use super::stop::{Stop, Stopped};
use crate::bits::Block;
use crate::index::{IndexKind, PropertyIndex, Shard, Tally, double_from_key, double_to_key};
use crate::model::{
    CoercionError, EventMeasure, Finite, PropertyName, Span, Timestamp, Value, ValueType,
};
use crate::population::{Population, Property, ShardReader, number_of};

/// What is summarized.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// A property of type int64, double or timestamp.
    Property(PropertyName),
    /// A measure of the events, as of an instant, of each user who has such events. Others have
    /// none, also where nothing would count as 0: a summary is of those who did something.
    Events(EventMeasure, Timestamp),
}

impl From<PropertyName> for Subject {
    fn from(property: PropertyName) -> Self {
        Self::Property(property)
    }
}

/// Which ranges the histogram of a summary has.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum HistogramBins {
    /// Round ones that suit the numbers.
    #[default]
    Suitable,
    /// At most so many of equal width from the least to the greatest number.
    Equal(u64),
    /// Between these values, ascending: at least two.
    Edges(Vec<Value>),
}

/// What the users are like in one property or measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// How many users are selected.
    pub users: u64,
    /// How many of them have no value.
    pub missing: u64,
    /// What the values are like; `None` if nobody has one.
    pub statistics: Option<Statistics>,
}

/// What some numbers or instants are like. Whatever may lie between two values is a double for
/// whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// The least value.
    pub min: Value,
    /// The greatest value.
    pub max: Value,
    /// The mean.
    pub mean: Value,
    /// The deviation of all users from the mean.
    pub standard_deviation: Deviation,
    /// The value that half of the users are below.
    pub median: Value,
    /// The percentiles asked for, in that order.
    pub percentiles: Vec<Value>,
    /// How far the mean lies above the median, in standard deviations: from -1 to 1 (the
    /// nonparametric skew of Hotelling and Solomons, 1932); 0 where all values are the same.
    pub skew: f64,
    /// How many users have values in each range.
    pub histogram: Histogram,
}

/// A deviation, in the unit of the property.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deviation {
    /// Of numbers.
    Number(f64),
    /// Of instants.
    Span(Span),
}

/// How many users have values in each range.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The ranges, which touch.
    pub bins: Vec<HistogramBin>,
    /// How many users are below the first range.
    pub below: u64,
    /// How many users are above the last range.
    pub above: u64,
}

/// A range of values.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramBin {
    /// Its lower end, included.
    pub from: Value,
    /// Its upper end, included in the last range only.
    pub to: Value,
    /// How many users are in it.
    pub count: u64,
}

/// A mean that lies this far from the median, in standard deviations, says little of most users.
/// For comparison: 0 for a normal distribution, 0.31 for an exponential one.
const TELLING_SKEW: f64 = 0.2;

impl Statistics {
    /// Whether mean and median tell different stories, so that the mean alone misleads.
    #[must_use]
    pub fn is_skewed(&self) -> bool {
        self.skew.abs() > TELLING_SKEW
    }
}

/// Why there is no summary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SummaryError {
    /// There is no such property or event, the property has no numbers, an edge is of another type
    /// than the property, or the window reaches back to events that are not kept any more.
    #[error(transparent)]
    Subject(#[from] BindError),
    /// An edge is of another type than the measure.
    #[error("edge {position} does not fit {measure}: {cause}")]
    EdgeType {
        /// The measure.
        measure: Box<EventMeasure>,
        /// The position of the edge, from 0.
        position: usize,
        /// Why it does not fit.
        cause: CoercionError,
    },
    /// The edges of the bins do not ascend.
    #[error("the edges of bins must be at least two and ascend; edge {position} does not")]
    Edges {
        /// The position of the first that does not, from 0.
        position: usize,
    },
    /// The evaluation was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Summarizes a property or a measure of events over the users whom an expression selects, with
/// percentiles from 0 to 100. All figures are of the same moment for each user; all
/// but the mean and the deviation, which are rounded as doubles are, are exact.
///
/// The numbers of the selected users are held meanwhile: up to 8 bytes each.
///
/// # Errors
/// [`SummaryError`] names the property or the edge at fault, or says that `stop` ended the work.
pub fn summarize(
    population: &Population,
    bound: &Bound,
    subject: &Subject,
    percentiles: &[f64],
    bins: &HistogramBins,
    stop: &Stop,
) -> Result<Summary, SummaryError> {
    let (subject, bins, (users, mut numbers)) = loop {
        let bound_subject = bind_subject(population, subject)?;
        let bins = bound_bins(&bound_subject, bins)?;
        let gathered = bound.answer(population, |root| {
            gather(population, &plan(population, root), &bound_subject, stop)
        })?;
        stop.check()?;
        // Events older than all others may have come, or gone, meanwhile.
        if bound_subject.is_current(population) {
            break (bound_subject, bins, gathered);
        }
    };
    Ok(Summary {
        users,
        missing: users - numbers.count(),
        statistics: statistics(subject.value_type(), &mut numbers, percentiles, &bins),
    })
}

/// What is summarized, in terms of the index.
enum BoundSubject<'a> {
    Property(Arc<Property>),
    Events(&'a EventMeasure, BoundMeasure),
}

impl BoundSubject<'_> {
    fn value_type(&self) -> ValueType {
        match self {
            Self::Property(property) => property.value_type(),
            Self::Events(_, bound) => bound.measured.value_type(),
        }
    }

    /// Whether it would be bound to the same now.
    fn is_current(&self, population: &Population) -> bool {
        match self {
            Self::Property(_) => true,
            Self::Events(_, bound) => oldest(population, bound.event) == bound.relied,
        }
    }

    /// An edge as a value of the subject's type.
    fn edge(&self, position: usize, value: Value) -> Result<Value, SummaryError> {
        match self {
            Self::Property(property) => Ok(literal(property, value)?),
            Self::Events(measure, _) => {
                value
                    .coerced_to(self.value_type())
                    .map_err(|cause| SummaryError::EdgeType {
                        measure: Box::new((*measure).clone()),
                        position,
                        cause,
                    })
            }
        }
    }
}

fn bind_subject<'a>(
    population: &Population,
    subject: &'a Subject,
) -> Result<BoundSubject<'a>, BindError> {
    let name = match subject {
        Subject::Property(name) => name,
        Subject::Events(measure, as_of) => {
            let bound = bind_measure(population, measure, *as_of)?;
            return Ok(BoundSubject::Events(measure, bound));
        }
    };
    let catalog = population.catalog();
    let Some(property) = catalog.get(name) else {
        return Err(BindError::UnknownProperty {
            property: name.clone(),
            suggestions: catalog.near(name),
        });
    };
    if property.kind() != IndexKind::Numbers {
        let way_out = "a breakdown counts its values";
        return Err(operator_error(property, "summarize", way_out));
    }
    Ok(BoundSubject::Property(Arc::clone(property)))
}

fn bound_bins(subject: &BoundSubject<'_>, bins: &HistogramBins) -> Result<Bins, SummaryError> {
    Ok(match bins {
        HistogramBins::Suitable => Bins::Suitable,
        HistogramBins::Equal(count) => Bins::Equal(*count),
        HistogramBins::Edges(values) => {
            let mut edges: Vec<i64> = Vec::with_capacity(values.len());
            for (position, value) in values.iter().enumerate() {
                let key = number_of(&subject.edge(position, value.clone())?).unwrap_or_default();
                if edges.last().is_some_and(|before| *before >= key) {
                    return Err(SummaryError::Edges { position });
                }
                edges.push(key);
            }
            if edges.len() < 2 {
                return Err(SummaryError::Edges {
                    position: edges.len(),
                });
            }
            Bins::Edges(edges)
        }
    })
}

/// What one thread works with.
struct Task {
    evaluator: Evaluator,
    selected: Block,
    tally: Tally,
    users: u64,
    numbers: Distribution,
}

/// The number of users selected, and the numbers of those who have one.
fn gather(
    population: &Population,
    plan: &super::plan::PlanNode<'_>,
    subject: &BoundSubject<'_>,
    stop: &Stop,
) -> Result<(u64, Distribution), Stopped> {
    let begin = || Task {
        evaluator: Evaluator::default(),
        selected: Block::new(),
        tally: Tally::default(),
        users: 0,
        numbers: Distribution::default(),
    };
    let visit = |task: &mut Task, reader: &ShardReader<'_>| {
        let shard = reader.shard();
        task.evaluator.fill(plan, reader, &mut task.selected);
        task.users += u64::from(task.selected.count());
        match subject {
            BoundSubject::Property(property) => {
                if let Some(PropertyIndex::Numbers(index)) = shard.index(property.number()) {
                    task.numbers.add(index, &task.selected);
                }
            }
            BoundSubject::Events(_, measure) => {
                let (tally, numbers) = (&mut task.tally, &mut task.numbers);
                measured(measure, shard, &task.selected, tally, numbers);
            }
        }
    };
    let join = |mut a: Task, b: Task| {
        a.users += b.users;
        a.numbers.join(b.numbers);
        a
    };
    let task = over_shards(population, stop, begin, visit, join)?;
    Ok((task.users, task.numbers))
}

/// Adds the numbers of the selected users of a shard who have one.
#[expect(
    clippy::cast_precision_loss,
    reason = "the nearest double is what is asked for"
)]
fn measured(
    measure: &BoundMeasure,
    shard: &Shard,
    selected: &Block,
    tally: &mut Tally,
    numbers: &mut Distribution,
) {
    let window = measure.window;
    let Some(index) = shard.events(measure.event) else {
        return;
    };
    if window.0 >= window.1 || selected.count() == 0 {
        return;
    }
    let mut push = |millionths: f64| numbers.push(double_to_key(millionths / 1e6));
    match &measure.measured {
        BoundMeasured::Count(units) => {
            let counted = units.counted();
            tally.each_count(index, counted, window, selected, |count| {
                numbers.push(count.into());
            });
        }
        BoundMeasured::Sum => tally.each_sum(index, window, selected, |sum| push(sum as f64)),
        BoundMeasured::Mean => tally.each_mean(index, window, selected, |sum, count| {
            push(sum as f64 / f64::from(count));
        }),
        BoundMeasured::Extreme(which) => {
            tally.each_extreme(index, window, *which, selected, |amount| {
                push(amount as f64);
            });
        }
        BoundMeasured::Time(which) => {
            tally.each_time(index, window, *which, selected, |time| numbers.push(time));
        }
    }
}

/// `None` without numbers.
pub(super) fn statistics(
    value_type: ValueType,
    numbers: &mut Distribution,
    percentiles: &[f64],
    bins: &Bins,
) -> Option<Statistics> {
    let scale = Scale(value_type);
    let (min, max) = numbers.extremes()?;
    let moments = Moments::of(numbers, scale)?;
    let count = numbers.count();
    // The median and what the histogram takes for typical come with those asked for.
    let wanted: Vec<f64> = [50.0, 99.0].iter().chain(percentiles).copied().collect();
    let found = at_percentiles(numbers, count, &wanted, scale);
    let median = found.first().copied()?;
    let skew = if moments.standard_deviation > 0.0 {
        ((moments.mean - median) / moments.standard_deviation).clamp(-1.0, 1.0)
    } else {
        0.0
    };
    let typical = numbers
        .at_places(&[place_of(99.0, count).0])
        .first()
        .copied()?;
    Some(Statistics {
        min: exact(value_type, min)?,
        max: exact(value_type, max)?,
        mean: between_values(value_type, moments.mean)?,
        standard_deviation: deviation(value_type, moments.standard_deviation)?,
        median: between_values(value_type, median)?,
        percentiles: found[2..]
            .iter()
            .map(|number| between_values(value_type, *number))
            .collect::<Option<_>>()?,
        skew,
        histogram: named(
            value_type,
            histogram::histogram(numbers, scale, bins, typical),
        )?,
    })
}

fn at_percentiles(
    numbers: &mut Distribution,
    count: u64,
    percentiles: &[f64],
    scale: Scale,
) -> Vec<f64> {
    let places: Vec<(u64, f64)> = percentiles
        .iter()
        .map(|percent| place_of(*percent, count))
        .collect();
    let next = |place: u64| (place + 1).min(count - 1);
    let mut wanted: Vec<u64> = places
        .iter()
        .flat_map(|&(place, _)| [place, next(place)])
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let found = numbers.at_places(&wanted);
    let number_at = |place: u64| {
        let position = wanted.binary_search(&place).unwrap_or(0);
        found.get(position).map_or(0.0, |key| scale.number(*key))
    };
    let between = places
        .iter()
        .map(|&(place, part)| between(number_at(place), number_at(next(place)), part));
    between.collect()
}

/// A value of the property itself.
pub(super) fn exact(value_type: ValueType, key: i64) -> Option<Value> {
    match value_type {
        ValueType::Int64 => Some(Value::Int64(key)),
        ValueType::Double => Finite::new(double_from_key(key)).map(Value::Double),
        ValueType::Timestamp => Timestamp::from_micros(key).ok().map(Value::Timestamp),
        ValueType::Bool | ValueType::String | ValueType::StringSet | ValueType::Version => None,
    }
}

/// A value that may lie between two values of the property.
fn between_values(value_type: ValueType, number: f64) -> Option<Value> {
    if value_type == ValueType::Timestamp {
        Timestamp::from_micros(rounded(number))
            .ok()
            .map(Value::Timestamp)
    } else {
        Finite::new(number).map(Value::Double)
    }
}

fn deviation(value_type: ValueType, number: f64) -> Option<Deviation> {
    Some(if value_type == ValueType::Timestamp {
        Deviation::Span(Span::from_micros(rounded(number)).ok()?)
    } else {
        Deviation::Number(number)
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "microseconds of the years 1 to 9999"
)]
fn rounded(micros: f64) -> i64 {
    micros.round() as i64
}

/// `None` if an edge is no value of the type, which can't be: chosen edges lie within or beside
/// the values.
fn named(value_type: ValueType, counts: Counts) -> Option<Histogram> {
    let bins = counts.bins.into_iter().map(|(from, to, count)| {
        Some(HistogramBin {
            from: edge(value_type, from)?,
            to: edge(value_type, to)?,
            count,
        })
    });
    Some(Histogram {
        bins: bins.collect::<Option<_>>()?,
        below: counts.below,
        above: counts.above,
    })
}

/// An edge may lie a step beyond the last instant there is.
fn edge(value_type: ValueType, key: i64) -> Option<Value> {
    if value_type == ValueType::Timestamp {
        let (first, last) = (Timestamp::MIN.micros(), Timestamp::MAX.micros());
        return exact(value_type, key.clamp(first, last));
    }
    exact(value_type, key)
}
