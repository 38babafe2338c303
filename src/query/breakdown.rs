//! How the users whom an expression selects are spread over the values of properties.
//!
//! The users are selected once per shard and then counted by the columns of all properties asked
//! for: one step a user, whatever the number of values.

use std::cmp::Reverse;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::bind::Bound;
use super::bind_error::BindError;
use super::evaluate::Evaluator;
use super::plan::{PlanNode, Step, plan};
use super::shards::over_shards;
use super::stop::{Stop, Stopped};
use crate::bits::Block;
use crate::index::{Dictionary, DictionaryStamp, IndexKind, PropertyIndex, Stored};
use crate::model::{LimitExceeded, PropertyName, limit};
use crate::population::{Population, Property, ShardReader, ValueCount};

/// How many users are selected, and how they are spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Breakdown {
    /// How many users are selected.
    pub users: u64,
    /// One for each property asked for, in that order.
    pub properties: Vec<PropertyBreakdown>,
}

/// How the users are spread over the values of one property.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyBreakdown {
    /// The property.
    pub property: PropertyName,
    /// How many selected users have no value.
    pub missing: u64,
    /// How many different values the selected users have.
    pub distinct_values: u64,
    /// The values that most of the users have, and among equals in their order. Of a string set
    /// the values are its elements, so that a user counts for each of them. A value that went out
    /// of use while it was counted is left out.
    pub values: Vec<ValueCount>,
}

/// Why users can't be broken down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BreakdownError {
    /// There is no such property.
    #[error(transparent)]
    Property(#[from] BindError),
    /// All values were asked for, and there are too many to return.
    #[error("property {property:?}: {exceeded}; ask for the most frequent ones by a limit")]
    TooManyValues {
        /// The property.
        property: PropertyName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The property is a number or an instant with too many different values to count each.
    #[error("property {property:?}: {exceeded}; a summary tells how numbers are spread")]
    TooManyNumbers {
        /// The property.
        property: PropertyName,
        /// The limit.
        exceeded: LimitExceeded,
    },
    /// The evaluation was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Counts the users whom an expression selects by the values of properties: at most `limit` values
/// of each, all of them if `limit` is `None`.
///
/// # Errors
/// [`BreakdownError`] names the property that does not exist or has too many values, or says that
/// `stop` ended the work.
pub fn breakdown(
    population: &Population,
    bound: &Bound,
    properties: &[PropertyName],
    limit: Option<usize>,
    stop: &Stop,
) -> Result<Breakdown, BreakdownError> {
    let catalog = population.catalog();
    let properties: Vec<Arc<Property>> = properties
        .iter()
        .map(|name| {
            catalog.get(name).cloned().ok_or_else(|| {
                BindError::UnknownProperty {
                    property: name.clone(),
                    suggestions: catalog.near(name),
                }
                .into()
            })
        })
        .collect::<Result<_, BreakdownError>>()?;
    loop {
        let stamps = stamps(&properties);
        let counted = bound.answer(population, |root| {
            count(population, &plan(population, root), &properties, stop)
        })?;
        let answer = named(&properties, counted, limit)?;
        // A code that got another meaning while users were counted by it would name the wrong
        // value. That takes tens of thousands of values that came and went meanwhile.
        if keep_meanings(&properties, &stamps) {
            return Ok(answer);
        }
        stop.check()?;
    }
}

fn stamps(properties: &[Arc<Property>]) -> Vec<Option<DictionaryStamp>> {
    let stamps = properties.iter();
    stamps
        .map(|property| property.with_dictionary(Dictionary::stamp))
        .collect()
}

fn keep_meanings(properties: &[Arc<Property>], earlier: &[Option<DictionaryStamp>]) -> bool {
    let now = stamps(properties);
    now.iter().zip(earlier).all(|pair| match pair {
        (Some(now), Some(earlier)) => now.keeps_meanings_since(*earlier),
        _ => true,
    })
}

/// The counts of one property so far.
#[derive(Clone, Debug)]
enum Tally {
    /// `counts[0]` users without a value, `counts[code + 1]` with each code.
    Codes(Vec<u64>),
    Numbers {
        missing: u64,
        counts: HashMap<i64, u64, FixedState>,
    },
}

impl Tally {
    fn new(kind: IndexKind) -> Self {
        match kind {
            IndexKind::Codes | IndexKind::Sets => Self::Codes(vec![0]),
            IndexKind::Numbers => Self::Numbers {
                missing: 0,
                counts: HashMap::default(),
            },
        }
    }

    /// Counts the selected users of a shard.
    fn add(&mut self, index: Option<&PropertyIndex>, selected: &Block) {
        match (self, index) {
            (Self::Codes(counts), Some(PropertyIndex::Codes(index))) => {
                index.tally(selected, counts);
            }
            (Self::Codes(counts), Some(PropertyIndex::Sets(index))) => {
                index.tally(selected, counts);
            }
            (Self::Numbers { missing, counts }, Some(PropertyIndex::Numbers(index))) => {
                let mut having = 0;
                let mut add = |number, users: u32| {
                    having += u64::from(users);
                    // One more than the limit tells that it is exceeded.
                    if counts.len() as u64 <= limit::NUMBERS_PER_BREAKDOWN.default {
                        *counts.entry(number).or_insert(0) += u64::from(users);
                    }
                };
                if !index.tally(selected, &mut add) {
                    index.for_each_in(selected, |number| add(number, 1));
                }
                *missing += u64::from(selected.count()) - having;
            }
            // Nobody in the shard ever had the property.
            (Self::Codes(counts), None | Some(_)) => counts[0] += u64::from(selected.count()),
            (Self::Numbers { missing, .. }, None | Some(_)) => {
                *missing += u64::from(selected.count());
            }
        }
    }

    fn join(&mut self, other: Self) {
        match (self, other) {
            (Self::Codes(counts), Self::Codes(mut others)) => {
                if others.len() > counts.len() {
                    std::mem::swap(counts, &mut others);
                }
                for (count, other) in counts.iter_mut().zip(others) {
                    *count += other;
                }
            }
            (
                Self::Numbers { missing, counts },
                Self::Numbers {
                    missing: others_missing,
                    counts: others,
                },
            ) => {
                *missing += others_missing;
                for (number, users) in others {
                    *counts.entry(number).or_insert(0) += users;
                }
            }
            (Self::Codes(_) | Self::Numbers { .. }, _) => {}
        }
    }
}

struct Counted {
    users: u64,
    tallies: Vec<Tally>,
}

/// What one thread works with.
struct Task {
    evaluator: Evaluator,
    selected: Block,
    counted: Counted,
}

fn count(
    population: &Population,
    plan: &PlanNode<'_>,
    properties: &[Arc<Property>],
    stop: &Stop,
) -> Result<Counted, Stopped> {
    if matches!(plan.step, Step::Everyone)
        && let Some(counted) = kept(population, properties)
    {
        return Ok(counted);
    }
    let begin = || Task {
        evaluator: Evaluator::default(),
        selected: Block::new(),
        counted: Counted {
            users: 0,
            tallies: properties
                .iter()
                .map(|property| Tally::new(property.kind()))
                .collect(),
        },
    };
    let visit = |task: &mut Task, reader: &ShardReader<'_>| {
        let shard = reader.shard();
        task.evaluator.fill(plan, reader, &mut task.selected);
        let users = task.selected.count();
        if users == 0 {
            return;
        }
        task.counted.users += u64::from(users);
        for (tally, property) in task.counted.tallies.iter_mut().zip(properties) {
            tally.add(shard.index(property.number()), &task.selected);
        }
    };
    let join = |mut a: Task, b: Task| {
        a.counted.users += b.counted.users;
        for (tally, other) in a.counted.tallies.iter_mut().zip(b.counted.tallies) {
            tally.join(other);
        }
        a
    };
    let task = over_shards(population, stop, begin, visit, join)?;
    Ok(task.counted)
}

/// The counts of everyone, which are kept; `None` if those of a property are not.
fn kept(population: &Population, properties: &[Arc<Property>]) -> Option<Counted> {
    population.kept(|kept| {
        let tallies = properties.iter().map(|property| {
            let codes = kept.by_code(property.number());
            let missing = kept.users() - kept.having(property.number());
            (property.kind() != IndexKind::Numbers)
                .then(|| Tally::Codes(std::iter::once(missing).chain(codes.to_vec()).collect()))
        });
        Some(Counted {
            users: kept.users(),
            tallies: tallies.collect::<Option<_>>()?,
        })
    })
}

/// Gives the values their names, the most frequent ones first.
fn named(
    properties: &[Arc<Property>],
    counted: Counted,
    limit: Option<usize>,
) -> Result<Breakdown, BreakdownError> {
    let properties = properties.iter().zip(counted.tallies);
    let properties = properties.map(|(property, tally)| {
        let name = &property.declaration().name;
        let (missing, counts): (u64, Vec<(Stored, u64)>) = match tally {
            Tally::Codes(counts) => {
                let missing = counts.first().copied().unwrap_or(0);
                let codes = (0..).zip(counts.into_iter().skip(1));
                let used = codes.filter(|(_, users)| *users > 0);
                (
                    missing,
                    used.map(|(code, users)| (Stored::Code(code), users))
                        .collect(),
                )
            }
            Tally::Numbers { missing, counts } => {
                limit::NUMBERS_PER_BREAKDOWN
                    .check(counts.len() as u64)
                    .map_err(|exceeded| BreakdownError::TooManyNumbers {
                        property: name.clone(),
                        exceeded,
                    })?;
                let counts = counts.into_iter();
                (
                    missing,
                    counts
                        .map(|(number, users)| (Stored::Number(number), users))
                        .collect(),
                )
            }
        };
        let distinct_values = counts.len() as u64;
        if limit.is_none() {
            limit::VALUES_PER_BREAKDOWN
                .check(distinct_values)
                .map_err(|exceeded| BreakdownError::TooManyValues {
                    property: name.clone(),
                    exceeded,
                })?;
        }
        Ok(PropertyBreakdown {
            property: name.clone(),
            missing,
            distinct_values,
            values: most_frequent(property, counts, limit.unwrap_or(usize::MAX)),
        })
    });
    Ok(Breakdown {
        users: counted.users,
        properties: properties.collect::<Result<_, BreakdownError>>()?,
    })
}

fn most_frequent(
    property: &Property,
    mut counts: Vec<(Stored, u64)>,
    limit: usize,
) -> Vec<ValueCount> {
    if limit == 0 {
        return Vec::new();
    }
    if counts.len() > limit {
        // Names are looked up only for those that come before the last place or share it.
        let (_, &mut (_, last), _) =
            counts.select_nth_unstable_by_key(limit - 1, |(_, users)| Reverse(*users));
        counts.retain(|(_, users)| *users >= last);
    }
    let named = counts.into_iter().filter_map(|(stored, count)| {
        let value = property.value_of(&stored)?;
        Some(ValueCount { value, count })
    });
    let mut values: Vec<ValueCount> = named.collect();
    values.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    values.truncate(limit);
    values
}
