//! Compares what a population holds twice: the two directions of the index, the counts with a
//! recount, the texts with their codes, and the users with the table that finds them.
//!
//! Invariant: a lock is held for one property of one shard at a time. What another thread could
//! have been changing meanwhile is compared again while no command is under way, so that a
//! mismatch that is told is one.

use std::sync::Arc;

use super::users::Ordinal;
use super::{Population, Property, ShardCell, split};
use crate::index::{Compared, Mismatches, PropertyIndex, SHARD_USERS};
use crate::model::Revision;

/// Shards whose users with a value are counted while writes wait, if they never stop by
/// themselves. More would make them wait for long.
const HELD_SHARDS: usize = 16;
/// How often a count that others change meanwhile is tried again.
const TRIES: usize = 3;
/// Texts that are compared under the lock of a dictionary at a time.
const TEXTS: u32 = 65_536;

const NO_ID: &str = "is a user without an id, or an id without a user";
const NOT_FOUND: &str = "is not found by the id";
const CODE_WITHOUT_TEXT: &str = "has a value without a text";
const WRONG_CODE: &str = "is a text that does not lead back to its value";
const WRONG_COUNT: &str = "is counted wrongly";
const WRONG_USERS: &str = "is missing in the count of users, or counted though there is none";

/// What a comparison of a count came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountsCompared {
    /// The comparison was made.
    Done(Mismatches),
    /// Writes never stopped for long enough.
    Changing,
}

impl Population {
    /// Compares the two directions of a property's index in one shard.
    #[must_use]
    pub fn compare_property(&self, shard: u32, property: &Property) -> Compared {
        let compared = self.with_shard(shard, |reader| {
            let shard = reader.shard();
            let mut compared = shard.compare(property.number);
            let postings = match shard.index(property.number) {
                Some(PropertyIndex::Codes(index)) => index.sorted_postings(),
                Some(PropertyIndex::Sets(index)) => index.sorted_postings(),
                Some(PropertyIndex::Numbers(_)) | None => Vec::new(),
            };
            let codes = postings.iter().map(|(code, _)| *code);
            let known = property.with_dictionary(|dictionary| {
                let is_unknown = |code: &u32| dictionary.text(*code).is_none();
                codes.clone().filter(is_unknown).count()
            });
            let unknown = known.unwrap_or_else(|| codes.filter(|code| *code > 1).count());
            note(&mut compared.mismatches, CODE_WITHOUT_TEXT, unknown as u64);
            compared
        });
        compared.unwrap_or_default()
    }

    /// Compares the users of a shard with their ids and the table that finds them. `values` is how
    /// many users there are.
    #[must_use]
    pub fn compare_users(&self, shard: u32) -> Compared {
        let mut compared = Compared::default();
        let users = self.with_shard(shard, |reader| {
            let live = reader.shard().live().to_block();
            let mut users = Vec::new();
            for user in 0..=u16::MAX {
                let id = reader.state.ids.get(user);
                if live.contains(user) != id.is_some() {
                    note(&mut compared.mismatches, NO_ID, 1);
                }
                if let Some(id) = id {
                    users.push((self.table.hash(&id), shard * SHARD_USERS + u32::from(user)));
                }
            }
            compared.values = u64::from(reader.shard().live().count());
            users
        });
        let mut missing = users.unwrap_or_default();
        missing.retain(|(hash, ordinal)| !self.leads_to(*hash, *ordinal));
        if !missing.is_empty() {
            // Users who were being erased are gone once the command is done.
            let _no_command = self.writer();
            missing.retain(|(hash, ordinal)| {
                let (shard, user) = split(*ordinal);
                let id = self.with_shard(shard, |reader| reader.state.ids.get(user));
                let is_same = id.flatten().is_some_and(|id| self.table.hash(&id) == *hash);
                is_same && !self.leads_to(*hash, *ordinal)
            });
        }
        note(&mut compared.mismatches, NOT_FOUND, missing.len() as u64);
        compared
    }

    fn leads_to(&self, hash: super::users::IdHash, ordinal: Ordinal) -> bool {
        let found = self
            .table
            .find(hash, |other| (other == ordinal).then_some(()));
        found.is_some()
    }

    /// Compares the kept count of users, and the table that finds them, with a recount.
    #[must_use]
    pub fn compare_user_count(&self) -> CountsCompared {
        self.compare_counts(|shards| {
            let live = shards.iter().map(|cell| cell.read().shard.live().count());
            let users: u64 = live.map(u64::from).sum();
            let kept = self.user_count();
            let mut mismatches = Mismatches::new();
            note(&mut mismatches, WRONG_USERS, users.abs_diff(kept));
            let in_table = self.table.len();
            note(&mut mismatches, NOT_FOUND, users.abs_diff(in_table));
            mismatches
        })
    }

    /// Compares the kept counts of a property with a recount of all shards.
    #[must_use]
    pub fn compare_property_counts(&self, property: &Property) -> CountsCompared {
        let number = property.number;
        self.compare_counts(|shards| {
            let mut having = 0;
            let mut by_code: Vec<u64> = Vec::new();
            for cell in shards {
                let state = cell.read();
                let Some(index) = state.shard.index(number) else {
                    continue;
                };
                having += u64::from(index.count());
                let postings = match index {
                    PropertyIndex::Codes(index) => index.sorted_postings(),
                    PropertyIndex::Sets(index) => index.sorted_postings(),
                    PropertyIndex::Numbers(_) => Vec::new(),
                };
                for (code, posting) in postings {
                    let place = code as usize;
                    if place >= by_code.len() {
                        by_code.resize(place + 1, 0);
                    }
                    by_code[place] += u64::from(posting.count());
                }
            }
            self.kept(|kept| {
                let kept_by_code = kept.by_code(number);
                let codes = by_code.len().max(kept_by_code.len());
                let count = |counts: &[u64], code: usize| counts.get(code).copied().unwrap_or(0);
                let wrong = (0..codes)
                    .filter(|code| count(&by_code, *code) != count(kept_by_code, *code))
                    .count();
                let mut mismatches = Mismatches::new();
                note(&mut mismatches, WRONG_COUNT, wrong as u64);
                let difference = having.abs_diff(kept.having(number));
                note(&mut mismatches, WRONG_USERS, difference);
                mismatches
            })
        })
    }

    /// Compares the texts of a property with their codes. `values` is how many texts there are.
    #[must_use]
    pub fn compare_dictionary(&self, property: &Property) -> Compared {
        let mut compared = Compared::default();
        let mut from = 0_u32;
        loop {
            let to = from.saturating_add(TEXTS);
            let more = property.with_dictionary(|dictionary| {
                let mut wrong = 0;
                for code in from..to.min(dictionary.end()) {
                    if let Some(text) = dictionary.text(code) {
                        compared.values += 1;
                        let leads_back = dictionary.code(text) == Some(code)
                            && dictionary.matching(text).contains(&code);
                        wrong += u64::from(!leads_back);
                    }
                }
                note(&mut compared.mismatches, WRONG_CODE, wrong);
                to < dictionary.end()
            });
            if more != Some(true) {
                return compared;
            }
            from = to;
        }
    }

    /// Compares counts, first while others write.
    fn compare_counts(&self, compare: impl Fn(&[Arc<ShardCell>]) -> Mismatches) -> CountsCompared {
        for _ in 0..TRIES {
            let before = self.newest_change();
            let mismatches = compare(&self.shards.load());
            if mismatches.is_empty() || self.newest_change() == before {
                return CountsCompared::Done(mismatches);
            }
        }
        if self.shards.load().len() > HELD_SHARDS {
            return CountsCompared::Changing;
        }
        let _no_command = self.writer();
        CountsCompared::Done(compare(&self.shards.load()))
    }

    /// The last revision that changed a user, between two commands.
    fn newest_change(&self) -> Option<Revision> {
        let _no_command = self.writer();
        let shards = self.shards.load();
        shards.iter().map(|cell| cell.last_changed()).max()
    }
}

fn note(mismatches: &mut Mismatches, what: &'static str, count: u64) {
    if count > 0 {
        *mismatches.entry(what).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::PoisonError;

    use super::*;
    use crate::model::{
        Action, Change, NonEmpty, Operation, PropertyName, StoreLimits, Text, UserId, UserUpdate,
        Value,
    };

    fn set(user: &str, property: &str, value: Value) -> Action {
        Action::Write(NonEmpty::one(UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: vec![Change {
                property: PropertyName::new(property).unwrap(),
                operation: Operation::Set(value),
            }],
            events: Vec::new(),
        }))
    }

    fn population() -> Population {
        let population = Population::new(StoreLimits::default());
        let mut revision = Revision::ZERO;
        for number in 0..300_i64 {
            let user = format!("user-{number}");
            let plan = Value::String(Text::new(format!("plan-{}", number % 20)).unwrap());
            for (property, value) in [("age", Value::Int64(number % 50)), ("plan", plan)] {
                revision = revision.next();
                population
                    .apply(revision, &set(&user, property, value))
                    .unwrap();
            }
            if number % 7 == 0 {
                revision = revision.next();
                let user = UserId::new(user).unwrap();
                population.apply(revision, &Action::Erase(user)).unwrap();
            }
        }
        population
    }

    /// Everything that is wrong with a population.
    fn mismatches(population: &Population) -> Mismatches {
        let mut found = Mismatches::new();
        let mut add = |mismatches: Mismatches| {
            for (what, count) in mismatches {
                note(&mut found, what, count);
            }
        };
        let counts = |compared| match compared {
            CountsCompared::Done(mismatches) => mismatches,
            CountsCompared::Changing => panic!("nobody writes"),
        };
        add(counts(population.compare_user_count()));
        for shard in 0..population.shard_count() {
            add(population.compare_users(shard).mismatches);
            for property in population.catalog().iter() {
                add(population.compare_property(shard, property).mismatches);
            }
        }
        for property in population.catalog().iter() {
            add(counts(population.compare_property_counts(property)));
            add(population.compare_dictionary(property).mismatches);
        }
        found
    }

    #[test]
    fn a_sound_population_has_no_mismatch() {
        let population = population();
        assert_eq!(mismatches(&population), Mismatches::new());
        assert_eq!(population.compare_users(0).values, population.user_count());
        let catalog = population.catalog();
        let plan = catalog.get(&PropertyName::new("plan").unwrap()).unwrap();
        assert_eq!(population.compare_dictionary(plan).values, 20);
        assert_eq!(
            population.compare_property(0, plan).values,
            population.user_count()
        );
    }

    #[test]
    fn a_user_who_is_not_found_by_id_is_told() {
        let population = population();
        let id = UserId::new("user-8").unwrap();
        let hash = population.table.hash(id.as_str());
        let ordinal = population.ordinal_of(&id, hash).unwrap();
        population.table.remove(hash, ordinal);
        // By the user, and by the size of the table.
        assert_eq!(mismatches(&population), Mismatches::from([(NOT_FOUND, 2)]));
    }

    #[test]
    fn a_user_without_an_id_is_told() {
        let population = population();
        let shards = population.shards.load();
        shards[0]
            .write(Revision::new(9_999), 0, |_| Vec::new())
            .ids
            .clear(11);
        assert_eq!(mismatches(&population), Mismatches::from([(NO_ID, 1)]));
    }

    #[test]
    fn wrong_counts_are_told() {
        let population = population();
        let catalog = population.catalog();
        let plan = catalog.get(&PropertyName::new("plan").unwrap()).unwrap();
        {
            let mut kept = population
                .kept
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            kept.add_code(plan.number, 3, 1);
            kept.add_having(plan.number, 2);
            kept.add_users(5);
        }
        let expected = Mismatches::from([(WRONG_COUNT, 1), (WRONG_USERS, 2 + 5)]);
        assert_eq!(mismatches(&population), expected);
    }

    #[test]
    fn a_code_whose_text_is_gone_is_told() {
        let population = population();
        let catalog = population.catalog();
        let plan = catalog.get(&PropertyName::new("plan").unwrap()).unwrap();
        population.free(plan, Revision::new(9_999), &[3]);
        assert_eq!(
            mismatches(&population),
            Mismatches::from([(CODE_WITHOUT_TEXT, 1)])
        );
    }

    #[test]
    fn nothing_is_told_of_a_population_that_is_written_meanwhile() {
        let population = population();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 0..3_000_u64 {
                    let user = format!("user-{}", number % 40);
                    let revision = Revision::new(10_000 + number);
                    let action = match number % 5 {
                        0 => Action::Erase(UserId::new(user).unwrap()),
                        1 | 2 => set(&user, "age", Value::Int64(number.cast_signed() % 9)),
                        // Texts that soon nobody has any more.
                        _ => {
                            let text = Text::new(format!("p{}", number % 70)).unwrap();
                            set(&user, "plan", Value::String(text))
                        }
                    };
                    population.apply(revision, &action).unwrap();
                }
            });
            while !writer.is_finished() {
                assert_eq!(mismatches(&population), Mismatches::new());
            }
        });
        assert_eq!(mismatches(&population), Mismatches::new());
    }
}
