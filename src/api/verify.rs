//! Compares the index with a scan, a step at a time: each step is a query like any other, so that
//! others get their turn between any two.
//!
//! Invariant: an answer names properties, events and shards, never a value or a user.

use std::sync::Arc;

use super::Api;
use super::convert;
use super::deadline::Deadline;
use super::error::ApiError;
use crate::model::PopulationName;
use crate::population::{CountsCompared, KnownEvent, Population, Property};
use crate::proto::{Mismatch, PopulationVerification, VerifyRequest, VerifyResponse};

/// Mismatches named in an answer, for each population.
const NAMED: usize = 100;

pub(super) async fn verify(
    api: &Api,
    deadline: Deadline,
    request: VerifyRequest,
) -> Result<VerifyResponse, ApiError> {
    let populations = if request.population.is_empty() {
        api.engine.populations()
    } else {
        let name = convert::population_name(request.population)?;
        let population = api.population(&name)?;
        vec![(name, population)]
    };
    let revision = api.applied();
    let mut verified = Vec::with_capacity(populations.len());
    for (name, population) in populations {
        let chosen = Chosen {
            sample: request.sample_shards,
            seed: request.seed,
        };
        verified.push(one(api, deadline, &name, &population, chosen).await?);
    }
    Ok(VerifyResponse {
        populations: verified,
        revision,
    })
}

/// What a mismatch is about.
#[derive(Clone, Copy)]
enum About<'a> {
    /// Users, events or static lists as such.
    All,
    Property(&'a str),
    Event(&'a str),
}

#[derive(Clone, Copy)]
struct Chosen {
    sample: u32,
    seed: u64,
}

impl Chosen {
    /// The numbers of the shards, ascending; Floyd's algorithm (1987), so that each set of so many
    /// is as likely.
    fn of(self, shards: u32) -> Vec<u32> {
        if self.sample == 0 || self.sample >= shards {
            return (0..shards).collect();
        }
        // Vigna's SplitMix64 (2015).
        let mut state = self.seed;
        let mut below = |end: u32| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u32::try_from((z ^ (z >> 31)) % u64::from(end)).unwrap_or_default()
        };
        let mut chosen = std::collections::BTreeSet::new();
        for end in shards - self.sample..shards {
            let number = below(end + 1);
            if !chosen.insert(number) {
                chosen.insert(end);
            }
        }
        chosen.into_iter().collect()
    }
}

async fn one(
    api: &Api,
    deadline: Deadline,
    name: &PopulationName,
    population: &Arc<Population>,
    chosen: Chosen,
) -> Result<PopulationVerification, ApiError> {
    let shards = population.shard_count();
    let numbers = chosen.of(shards);
    let mut found = PopulationVerification {
        population: name.as_str().to_owned(),
        shards,
        compared_shards: u32::try_from(numbers.len()).unwrap_or(u32::MAX),
        ..PopulationVerification::default()
    };
    let properties: Vec<Arc<Property>> = population.catalog().iter().cloned().collect();
    let events: Vec<Arc<KnownEvent>> = population.catalog().events().cloned().collect();
    for &shard in &numbers {
        let users = step(api, deadline, population, move |p| p.compare_users(shard)).await?;
        found.compared_users += users.values;
        found.note(About::All, Some(shard), users.mismatches);
        for property in &properties {
            let (its, name) = (Arc::clone(property), &property.declaration().name);
            let compared = step(api, deadline, population, move |population| {
                population.compare_property(shard, &its)
            });
            let compared = compared.await?;
            found.compared_values += compared.values;
            let about = About::Property(name.as_str());
            found.note(about, Some(shard), compared.mismatches);
        }
        let lists = step(api, deadline, population, move |p| p.compare_lists(shard)).await?;
        found.compared_values += lists.values;
        found.note(About::All, Some(shard), lists.mismatches);
        let compared = step(api, deadline, population, move |population| {
            population.compare_event_names(shard)
        });
        found.note(About::All, Some(shard), compared.await?.mismatches);
        for event in &events {
            let (number, name) = (event.number(), &event.declaration().name);
            let compared = step(api, deadline, population, move |population| {
                population.compare_events(shard, number)
            });
            let compared = compared.await?;
            found.compared_events += compared.values;
            let about = About::Event(name.as_str());
            found.note(about, Some(shard), compared.mismatches);
        }
    }
    for property in &properties {
        let (its, name) = (Arc::clone(property), &property.declaration().name);
        let compared = step(api, deadline, population, move |population| {
            population.compare_dictionary(&its)
        });
        let about = About::Property(name.as_str());
        found.note(about, None, compared.await?.mismatches);
    }
    if numbers.len() < shards as usize {
        let counts = 2 + properties.len() + events.len();
        found.skipped_counts = u32::try_from(counts).unwrap_or(u32::MAX);
        return Ok(found);
    }
    let users = step(api, deadline, population, Population::compare_user_count).await?;
    found.note_counts(About::All, users);
    let lists = step(api, deadline, population, Population::compare_list_counts).await?;
    found.note_counts(About::All, lists);
    for property in &properties {
        let (its, name) = (Arc::clone(property), &property.declaration().name);
        let compared = step(api, deadline, population, move |population| {
            population.compare_property_counts(&its)
        });
        found.note_counts(About::Property(name.as_str()), compared.await?);
    }
    for event in &events {
        let (number, name) = (event.number(), &event.declaration().name);
        let compared = step(api, deadline, population, move |population| {
            population.compare_event_counts(number)
        });
        found.note_counts(About::Event(name.as_str()), compared.await?);
    }
    Ok(found)
}

/// Runs one step on the query threads.
async fn step<T: Send + 'static>(
    api: &Api,
    deadline: Deadline,
    population: &Arc<Population>,
    compare: impl FnOnce(&Population) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let population = Arc::clone(population);
    api.step(deadline, move |_| Ok(compare(&population))).await
}

impl PopulationVerification {
    fn note(
        &mut self,
        about: About<'_>,
        shard: Option<u32>,
        mismatches: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        let (property, event) = match about {
            About::All => ("", ""),
            About::Property(name) => (name, ""),
            About::Event(name) => ("", name),
        };
        for (description, count) in mismatches {
            self.mismatch_count = self.mismatch_count.saturating_add(count);
            if self.mismatches.len() < NAMED {
                self.mismatches.push(Mismatch {
                    property: property.to_owned(),
                    event: event.to_owned(),
                    shard,
                    count,
                    description: description.to_owned(),
                });
            }
        }
    }

    fn note_counts(&mut self, about: About<'_>, compared: CountsCompared) {
        match compared {
            CountsCompared::Done(mismatches) => self.note(about, None, mismatches),
            CountsCompared::Changing => self.skipped_counts += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_so_many_shards_and_the_same_for_the_same_seed() {
        let choose = |sample, seed, shards| Chosen { sample, seed }.of(shards);
        assert_eq!(choose(0, 1, 3), [0, 1, 2]);
        assert_eq!(choose(5, 1, 3), [0, 1, 2]);
        assert_eq!(choose(1, 1, 0), Vec::<u32>::new());
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let chosen = choose(4, seed, 20);
            assert_eq!(chosen, choose(4, seed, 20));
            assert_eq!(chosen.len(), 4);
            assert!(chosen.is_sorted_by(|a, b| a < b) && chosen.iter().all(|shard| *shard < 20));
            seen.extend(chosen);
        }
        assert_eq!(seen.len(), 20);
    }
}
