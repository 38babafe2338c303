//! Compares what a population holds twice: the two directions of the index, the counts with a
//! recount, the texts with their codes, the users with the table that finds them, and events with
//! the users, names and counts that they belong to.
//!
//! Invariant: a lock is held for one property of one shard at a time. What another thread could
//! have been changing meanwhile is compared again while no command is under way, so that a
//! mismatch that is told is one.

use std::sync::Arc;

use super::lists::{LISTS, list_numbers, lists_of};
use super::users::Ordinal;
use super::{Population, Property, ShardCell, split};
use crate::index::{Compared, Mismatches, PropertyIndex, SHARD_USERS, SetIndex};
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
const NO_LIST: &str = "is a member of a static list that does not exist";
const WRONG_CODE: &str = "is a text that does not lead back to its value";
const NO_NAME: &str = "is a number of events without a name";
const WRONG_EVENTS: &str = "is missing in the count of events, or counted though there is none";
const WRONG_OLDEST: &str = "is a shard with older events than there are said to be";
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

    /// Compares the two directions of the static lists in one shard, and the lists with those that
    /// there are. `values` is how many users are in any.
    #[must_use]
    pub fn compare_lists(&self, shard: u32) -> Compared {
        let strangers = || {
            let known = list_numbers(&self.catalog());
            let strangers = self.with_shard(shard, |reader| {
                let postings = lists_of(reader.shard()).map(SetIndex::sorted_postings);
                let strangers = postings.unwrap_or_default().into_iter();
                let strangers = strangers.filter(|(list, _)| !known.contains(list));
                strangers.map(|(_, users)| u64::from(users.count())).sum()
            });
            strangers.unwrap_or_default()
        };
        let compared = self.with_shard(shard, |reader| reader.shard().compare(LISTS));
        let mut compared = compared.unwrap_or_default();
        let mut wrong = strangers();
        if wrong > 0 {
            // A list gets its members before its name, and loses them after it.
            let _no_command = self.writer();
            wrong = strangers();
        }
        note(&mut compared.mismatches, NO_LIST, wrong);
        compared
    }

    /// Compares the kept counts of the static lists with a recount of all shards.
    #[must_use]
    pub fn compare_list_counts(&self) -> CountsCompared {
        self.compare_counts_of(LISTS)
    }

    /// Compares the events of a name, by its number, with the users of one shard, and with what is
    /// derived from them. `values` is how many events there are.
    #[must_use]
    pub fn compare_events(&self, shard: u32, event: u32) -> Compared {
        let compared = self.with_shard(shard, |reader| reader.shard().compare_events(event));
        compared.unwrap_or_default()
    }

    /// Compares the numbers of events that a shard has with the names that are known. `values` is
    /// how many there are.
    #[must_use]
    pub fn compare_event_names(&self, shard: u32) -> Compared {
        let mut compared = Compared::default();
        let unknown = |compared: &mut Compared| {
            let numbers = self.with_shard(shard, |reader| {
                let numbers = reader.shard().all_events().map(|(event, _)| event);
                numbers.collect::<Vec<_>>()
            });
            let numbers = numbers.unwrap_or_default();
            compared.values = numbers.len() as u64;
            let catalog = self.catalog();
            let is_known = |number: &&u32| catalog.events().any(|event| event.number() == **number);
            numbers.iter().filter(|number| !is_known(number)).count() as u64
        };
        let mut wrong = unknown(&mut compared);
        if wrong > 0 {
            // A name that is being deleted is gone everywhere once the command is done.
            let _no_command = self.writer();
            wrong = unknown(&mut compared);
        }
        note(&mut compared.mismatches, NO_NAME, wrong);
        compared
    }

    /// Compares the kept counts of the events of a name, by its number, with a recount of all
    /// shards.
    #[must_use]
    pub fn compare_event_counts(&self, event: u32) -> CountsCompared {
        self.compare_counts(|shards| {
            let (mut events, mut oldest) = (0, Vec::new());
            for cell in shards {
                if let Some(index) = cell.read().shard.events(event) {
                    events += index.len();
                    oldest.extend(index.oldest_day());
                }
            }
            let kept = self.kept(|kept| kept.of_events(event));
            let mut mismatches = Mismatches::new();
            note(&mut mismatches, WRONG_EVENTS, events.abs_diff(kept.events));
            let older = |day: &&i32| kept.oldest_day.is_none_or(|oldest| **day < oldest);
            let older = oldest.iter().filter(older).count();
            note(&mut mismatches, WRONG_OLDEST, older as u64);
            mismatches
        })
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
        self.compare_counts_of(property.number)
    }

    fn compare_counts_of(&self, number: u32) -> CountsCompared {
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
    use crate::index::{KeptWindow, StoredEvent, WindowKind};
    use crate::model::{
        Action, Change, Event, EventId, EventName, NonEmpty, Operation, PropertyName, StoreLimits,
        Text, Timestamp, UserId, UserUpdate, Value,
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

    /// The number of the events of a name.
    fn number_of(population: &Population, name: &str) -> u32 {
        let name = EventName::new(name).unwrap();
        population.catalog().event(&name).unwrap().number()
    }

    /// When the event of an hour happens.
    fn did_at(hour: i64) -> i64 {
        1_800_000_000_000_000 - (1_000 - hour) * 3_600_000_000
    }

    /// An event of a user in some hour.
    fn did(user: &str, event: &str, hour: i64) -> Action {
        let received = Timestamp::from_micros(1_800_000_000_000_000).unwrap();
        Action::Write(NonEmpty::one(UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: Vec::new(),
            events: vec![Event {
                name: EventName::new(event).unwrap(),
                time: Some(Timestamp::from_micros(did_at(hour)).unwrap()),
                received,
                amount: None,
                id: (hour % 3 == 0).then(|| EventId::new(format!("id-{}", hour % 5)).unwrap()),
            }],
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
            for event in ["purchase", "login"] {
                revision = revision.next();
                population
                    .apply(revision, &did(&user, event, number))
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
        let events: Vec<u32> = population.catalog().events().map(|e| e.number()).collect();
        for &event in &events {
            add(counts(population.compare_event_counts(event)));
        }
        for shard in 0..population.shard_count() {
            add(population.compare_users(shard).mismatches);
            add(population.compare_event_names(shard).mismatches);
            for &event in &events {
                add(population.compare_events(shard, event).mismatches);
            }
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

    /// Changes the shard of a population behind the back of everything else.
    fn change_shard(population: &Population, change: impl FnOnce(&mut crate::index::Shard)) {
        let shards = population.shards.load();
        let mut state = shards[0].write(Revision::new(9_999), 0, |_| Vec::new());
        change(&mut state.shard);
    }

    fn stored(hour: i64) -> StoredEvent {
        StoredEvent {
            time: 1_800_000_000_000_000 + hour * 3_600_000_000,
            amount: None,
            id: 0,
        }
    }

    #[test]
    fn an_event_that_is_not_counted_is_told() {
        let population = population();
        let purchase = number_of(&population, "purchase");
        change_shard(&population, |shard| {
            assert!(shard.insert_event(purchase, 11, stored(5)));
        });
        let expected = Mismatches::from([(WRONG_EVENTS, 1)]);
        assert_eq!(mismatches(&population), expected);
        change_shard(&population, |shard| {
            assert!(shard.insert_event(purchase, 11, stored(-5_000)));
        });
        let expected = Mismatches::from([(WRONG_EVENTS, 2), (WRONG_OLDEST, 1)]);
        assert_eq!(mismatches(&population), expected);
    }

    #[test]
    fn events_that_are_gone_but_counted_are_told() {
        let population = population();
        let lost = population.event(&EventName::new("login").unwrap()).unwrap();
        let login = number_of(&population, "login");
        change_shard(&population, |shard| shard.remove_events(login));
        let expected = Mismatches::from([(WRONG_EVENTS, lost.events)]);
        assert_eq!(mismatches(&population), expected);
    }

    #[test]
    fn events_of_nobody_and_of_no_name_are_told() {
        let population = population();
        let gone = 60_000;
        let purchase = number_of(&population, "purchase");
        change_shard(&population, |shard| {
            assert!(shard.insert_event(purchase, gone, stored(5)));
            assert!(shard.insert_event(77, 11, stored(5)));
        });
        let mismatches = mismatches(&population);
        let of_nobody = "has events without being a user";
        let expected = Mismatches::from([(NO_NAME, 1), (WRONG_EVENTS, 1), (of_nobody, 1)]);
        assert_eq!(mismatches, expected);
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
                        1 => set(&user, "age", Value::Int64(number.cast_signed() % 9)),
                        2 if number % 100 == 2 => {
                            Action::DeleteEvent(EventName::new("login").unwrap())
                        }
                        2 if number % 2 == 0 => did(&user, "login", number.cast_signed() % 90),
                        2 => did(&user, "purchase", number.cast_signed() % 900),
                        // Texts that soon nobody has any more.
                        _ => {
                            let text = Text::new(format!("p{}", number % 70)).unwrap();
                            set(&user, "plan", Value::String(text))
                        }
                    };
                    population.apply(revision, &action).unwrap();
                    if number % 50 == 7 {
                        let purchase = number_of(&population, "purchase");
                        let end = did_at(number.cast_signed() % 900);
                        let begin = end - 5 * 86_400_000_000;
                        let window = KeptWindow::within(WindowKind::Events, begin, end);
                        for _ in 0..2 {
                            population.asked_for_window(purchase, window.unwrap());
                        }
                    }
                }
            });
            while !writer.is_finished() {
                assert_eq!(mismatches(&population), Mismatches::new());
            }
        });
        assert_eq!(mismatches(&population), Mismatches::new());
    }
}
