//! Carries a write out, shard by shard.
//!
//! Invariant: a write is judged and staged as a whole before its first change, and what is then
//! carried out can't fail. All that it changes of a user becomes visible at once, together with
//! the counts: users of one shard are changed a few at a time under the shard's lock, which no
//! reader waits for longer than that takes. Codes that go out of use do so at the end, so that
//! those that were looked up at the beginning hold.
//!
//! Within a few users it is gone through property by property: so the postings of one property are
//! found in the cache, and a lock or a slot is taken once for many values.

use std::sync::PoisonError;

use super::capture::encode_state;
use super::judge_events::StagedEvents;
use super::named::{Named, NamedUsers};
use super::refusal::Refusal;
use super::staged::Staged;
use super::users::{IdHash, Ordinal};
use super::{Changes, Population, Writer, split};
use crate::model::{Revision, UserUpdate};

/// Values that are set under one shard's lock, unless those of one user are more. They take less
/// than 100 us.
const VALUES_AT_ONCE: usize = 1_024;

impl Population {
    pub(super) fn write(
        &self,
        writer: &mut Writer,
        revision: Revision,
        updates: &[UserUpdate],
    ) -> Result<Changes, Refusal> {
        let mut changes = Changes::default();
        let catalog = self.catalog();
        let mut named = self.named(updates);
        let (grown, effects, mut events) = self.judge(
            writer,
            &catalog,
            revision,
            updates,
            &mut named,
            &mut changes,
        )?;
        let mut staged = self.stage(writer, revision, effects)?;
        if let Some(catalog) = grown {
            self.catalog.store(catalog.into());
        }
        self.carry_out(writer, revision, &named, &mut staged, &mut events);
        self.finish_events(writer, revision, events, &mut changes);
        Ok(changes)
    }

    fn carry_out(
        &self,
        writer: &mut Writer,
        revision: Revision,
        named: &NamedUsers<'_>,
        staged: &mut [Staged],
        events: &mut StagedEvents,
    ) {
        let ordinals: Vec<Ordinal> = named
            .users
            .iter()
            .map(|user| {
                user.ordinal
                    .unwrap_or_else(|| self.next_ordinal(writer, revision))
            })
            .collect();
        let mut order: Vec<(Ordinal, &Named<'_>)> =
            ordinals.iter().copied().zip(&named.users).collect();
        if !ordinals.is_sorted() {
            order.sort_unstable_by_key(|(ordinal, _)| *ordinal);
            for staged in &mut *staged {
                staged.sort(&ordinals);
            }
            events.sort(&ordinals);
        }
        // Who looks a new user up finds no such id in the shard until all of the user is there.
        let new = order.iter().filter(|(_, user)| user.ordinal.is_none());
        let mut new: Vec<(IdHash, Ordinal)> =
            new.map(|(ordinal, user)| (user.hash, *ordinal)).collect();
        self.table.insert_all(&mut new);
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let (some, others) = rest.split_at(together(rest));
            self.change_users(revision, some, &ordinals, staged, events);
            rest = others;
        }
        for staged in staged {
            let number = staged.property.number;
            // A value can go and come back in one write.
            let unused = &mut staged.unused;
            if !unused.is_empty() {
                self.kept(|kept| unused.retain(|&code| kept.with_code(number, code) == 0));
                self.free(&staged.property, revision, unused);
            }
        }
    }

    /// Changes users of one shard at once.
    fn change_users(
        &self,
        revision: Revision,
        users: &[(Ordinal, &Named<'_>)],
        ordinals: &[Ordinal],
        staged: &mut [Staged],
        events: &mut StagedEvents,
    ) {
        let Some(&(last, _)) = users.last() else {
            return;
        };
        let shards = self.shards.load();
        let Some(cell) = shards.get(split(last).0 as usize) else {
            return;
        };
        let new = || users.iter().filter(|(_, user)| user.ordinal.is_none());
        {
            let mut state = cell.write(revision, self.epoch(), encode_state);
            for (ordinal, user) in new() {
                let place = split(*ordinal).1;
                state.ids.set(place, user.id.as_str());
                state.shard.insert_user(place);
            }
            for staged in &mut *staged {
                staged.advance(&state.shard, ordinals, last);
            }
            for staged in &mut *staged {
                staged.carry_out(&mut state.shard, ordinals, last);
            }
            events.carry_out(&mut state.shard, ordinals, last);
            // Under the shard's lock, so that who sees the new value sees it counted.
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            kept.add_users(new().count() as u64);
            for staged in staged {
                kept.change(
                    staged.property.number,
                    &staged.difference,
                    &mut staged.unused,
                );
            }
            events.count(&mut kept);
        }
    }
}

/// How many of some users, who are in the order of their ordinals, are changed at once: at least
/// the first.
fn together(users: &[(Ordinal, &Named<'_>)]) -> usize {
    let shard = split(users[0].0).0;
    let mut values = 0;
    let some = users
        .iter()
        .enumerate()
        .take_while(|(position, (ordinal, user))| {
            values += 1 + user.effects;
            *position == 0 || (values <= VALUES_AT_ONCE && split(*ordinal).0 == shard)
        });
    some.count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::index::SHARD_USERS;
    use crate::model::{
        Action, Change, NonEmpty, Operation, PropertyName, StoreLimits, Text, UserId, Value,
    };

    fn name(text: &str) -> PropertyName {
        PropertyName::new(text).unwrap()
    }

    fn id(number: u32) -> UserId {
        UserId::new(format!("user-{number}")).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::String(Text::new(text).unwrap())
    }

    fn set(number: u32, values: &[(&str, Value)]) -> UserUpdate {
        let changes = values.iter().map(|(property, value)| Change {
            property: name(property),
            operation: Operation::Set(value.clone()),
        });
        UserUpdate {
            user: id(number),
            value_time: None,
            changes: changes.collect(),
            events: Vec::new(),
        }
    }

    fn apply(population: &Population, revision: u64, updates: Vec<UserUpdate>) {
        let write = Action::Write(NonEmpty::new(updates).unwrap());
        population.apply(Revision::new(revision), &write).unwrap();
    }

    fn counts(population: &Population, property: &str) -> BTreeMap<Value, u64> {
        let values = population
            .values(&name(property), "", None, 100, || true)
            .unwrap();
        let counts = values.into_iter().map(|value| (value.value, value.count));
        counts.collect()
    }

    #[test]
    fn users_of_many_shards_are_changed_whatever_their_order() {
        let population = Population::new(StoreLimits::default());
        let users = SHARD_USERS + 2_000;
        let new = |number| set(number, &[("plan", text("free")), ("age", Value::Int64(1))]);
        apply(&population, 1, (0..users).map(new).collect());
        let free = BTreeMap::from([(text("free"), u64::from(users))]);
        assert_eq!(counts(&population, "plan"), free);

        // Users of both shards in turns, backwards, some twice, and new ones between them.
        let (mut updates, mut expected) = (Vec::new(), BTreeMap::new());
        for step in 0..3_000_u32 {
            let number = match step % 4 {
                0 => users + step,
                1 => users - 1 - step / 2,
                2 => 5_000 - step,
                _ => step / 8,
            };
            let age = Value::Int64(i64::from(step));
            updates.push(set(number, &[("age", age.clone())]));
            expected.insert(number, age);
            if step % 3 == 0 {
                updates.push(set(number, &[("plan", text("pro"))]));
            }
        }
        apply(&population, 2, updates);
        for (number, age) in &expected {
            assert_eq!(
                population.user(&id(*number)).unwrap().get(&name("age")),
                Some(age)
            );
        }
        let new = expected.range(users..).count();
        assert_eq!(population.user_count(), u64::from(users) + new as u64);
        let with_age = population.property(&name("age")).unwrap().users;
        assert_eq!(with_age, population.user_count());
        let plans = counts(&population, "plan");
        assert_eq!(
            plans.values().sum::<u64>(),
            population.property(&name("plan")).unwrap().users
        );
        let is_pro = |number: &&u32| {
            population.user(&id(**number)).unwrap().get(&name("plan")) == Some(&text("pro"))
        };
        let pro = expected.keys().filter(is_pro).count() as u64;
        assert!(pro > 900);
        assert_eq!(plans[&text("pro")], pro);
    }

    #[test]
    fn a_text_that_goes_and_comes_in_one_write_keeps_its_code() {
        let population = Population::new(StoreLimits::default());
        apply(&population, 1, vec![set(1, &[("plan", text("old"))])]);
        // Nobody has it between the two, and one of the texts is never had at the end.
        let updates = vec![
            set(1, &[("plan", text("other"))]),
            set(1, &[("plan", text("new"))]),
            set(2, &[("plan", text("old"))]),
        ];
        apply(&population, 2, updates);
        let expected = BTreeMap::from([(text("new"), 1), (text("old"), 1)]);
        assert_eq!(counts(&population, "plan"), expected);
        let info = population.property(&name("plan")).unwrap();
        assert_eq!(info.distinct_values, 2);
        assert_eq!(
            population.user(&id(2)).unwrap().get(&name("plan")),
            Some(&text("old"))
        );
    }
}
