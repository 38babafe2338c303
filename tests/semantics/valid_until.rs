//! Until when a check holds, against the naive twin: at every instant at which anything could change,
//! the answer is what it was, and at the one that is told it is another.

use std::collections::BTreeSet;
use std::sync::Arc;

use headcount::filter::parse;
use headcount::model::{
    Action, Event, EventName, EventTest, Expression, Instant, Measure, NonEmpty, Operand, Revision,
    StoreLimits, Test, Timestamp, UserId, UserUpdate, Value, Window,
};
use headcount::population::Population;
use headcount::query::{
    Bound, Checked, ExplainCheckError, Stop, Stopped, bind, check_many_until, check_until_exactly,
    explain_check,
};
use headcount::testing::naive::NaivePopulation;
use proptest::prelude::*;

use crate::generate::{
    as_of, cases, declarations, event_test, expression, history, lasting_events, mixed, users,
};
use crate::{bound_at, same_outcome};

const HALF_HOUR: i64 = 1_800_000_000;
const DAY: i64 = 48 * HALF_HOUR;
/// When it is midnight in UTC, Paris, New York, Kolkata and Apia: half hours after midnight in UTC.
const MIDNIGHTS: [i64; 8] = [0, 8, 10, 20, 22, 37, 44, 46];
/// How far ahead the beginnings of days are looked at, of which there are too many.
const DAYS_AHEAD: i64 = 40;

/// How much is looked at for a user at most: a day of events is one unit.
const WORK: usize = 4_096;

fn check_until(population: &Population, user: &UserId, bounds: &[Bound]) -> Option<Checked> {
    headcount::query::check_until(population, user, bounds, &Stop::never()).unwrap()
}

/// The twin knows no calendar at the end of time.
fn last() -> Timestamp {
    "9999-01-01".parse().unwrap()
}

fn instant(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

/// How far from `now()` windows and values are asked for, and whether days of the calendar are.
#[derive(Default)]
struct Shifts {
    spans: BTreeSet<i64>,
    calendar: bool,
}

impl Shifts {
    fn add(&mut self, expression: &Expression) {
        match expression {
            Expression::Everyone | Expression::Segment(_) | Expression::Bucket(_) => {}
            Expression::Not(one) => self.add(one),
            Expression::And(all) | Expression::Or(all) | Expression::AtLeast { of: all, .. } => {
                all.iter().for_each(|one| self.add(one));
            }
            Expression::Predicate(predicate) => {
                if let Test::Compare {
                    operand: Operand::AsOfPlus(span),
                    ..
                } = &predicate.test
                {
                    self.spans.insert(span.micros());
                }
            }
            Expression::Event(predicate) => {
                self.spans.insert(0);
                match &predicate.window {
                    Window::Ever => {}
                    Window::Rolling(span) => {
                        self.spans.insert(-span.micros());
                    }
                    Window::Between { from, to } => {
                        self.add_instant(*from);
                        self.add_instant(*to);
                    }
                    Window::This(_) | Window::Last(..) => self.calendar = true,
                }
                if let EventTest::Time { operand, .. } = &predicate.test {
                    self.add_instant(*operand);
                }
            }
        }
    }

    fn add_instant(&mut self, instant: Instant) {
        if let Instant::AsOfPlus(span) = instant {
            self.spans.insert(span.micros());
        }
    }

    /// Every instant after `as_of` at which the answer could change, and those beside it.
    fn probes(&self, moments: &[i64], as_of: Timestamp) -> BTreeSet<Timestamp> {
        let mut probes = BTreeSet::new();
        let shifted = moments
            .iter()
            .flat_map(|moment| self.spans.iter().map(move |span| moment - span));
        for near in shifted {
            probes.extend((-1..=2).map(|beside| near + beside));
        }
        if self.calendar {
            let first = as_of.micros().div_euclid(DAY) * DAY;
            let days = (0..DAYS_AHEAD).map(|day| first + day * DAY);
            let starts = days.flat_map(|day| MIDNIGHTS.map(|start| day + start * HALF_HOUR));
            probes.extend(starts.flat_map(|start| [start - 1, start]));
        }
        let probes = probes.into_iter().map(Timestamp::from_micros);
        probes
            .filter_map(Result::ok)
            .filter(|at| *at > as_of && *at < last())
            .collect()
    }
}

/// The times of the events and the instants that are known of a user.
fn moments(naive: &NaivePopulation, user: &UserId) -> Vec<i64> {
    let names = naive.events().names();
    let events = names.flat_map(|(name, _)| naive.events().of(user, name));
    let values = naive
        .user(user)
        .into_iter()
        .flat_map(|values| values.values());
    let values = values.filter_map(|value| match value {
        Value::Timestamp(at) => Some(at.micros()),
        Value::Bool(_)
        | Value::String(_)
        | Value::StringSet(_)
        | Value::Int64(_)
        | Value::Double(_)
        | Value::Version(_) => None,
    });
    events.map(|event| event.time).chain(values).collect()
}

/// Whether looking can't be given up: so little is asked of so few events, on so few days.
fn is_within_bounds(naive: &NaivePopulation, expression: &Expression, user: &UserId) -> bool {
    let is_light = match expression {
        Expression::Event(predicate) => match &predicate.test {
            EventTest::Number { measure, .. } => *measure == Measure::Count,
            EventTest::Time { .. } => true,
        },
        Expression::Predicate(_) => expression.listed_values() == 0,
        Expression::Everyone
        | Expression::Segment(_)
        | Expression::Bucket(_)
        | Expression::Not(_)
        | Expression::And(_)
        | Expression::Or(_)
        | Expression::AtLeast { .. } => false,
    };
    let all = users().flat_map(|user| moments(naive, &user));
    let days: BTreeSet<i64> = all.map(|moment| moment.div_euclid(DAY)).collect();
    // Each of them passes two edges of a window and two of an operand at most.
    is_light && moments(naive, user).len() * 4 * (10 + days.len() * 3) < WORK
}

/// Until when it is told that a check of one user holds if looking is not given up, once that was looked
/// at.
fn holds_until_then(
    population: &Population,
    naive: &NaivePopulation,
    expression: &Expression,
    user: &UserId,
    as_of: Timestamp,
) -> Option<Timestamp> {
    let bound = bound_at(population, expression, as_of);
    let Checked {
        members,
        valid_until,
    } = check_until_exactly(
        population,
        user,
        std::slice::from_ref(&bound),
        &Stop::never(),
    )
    .unwrap()?;
    let context = || format!("{user} {expression} as of {as_of} until {valid_until:?}");
    let now = naive.is_member(user, expression, as_of);
    assert_eq!(members, [now], "{}", context());
    let mut shifts = Shifts::default();
    shifts.add(expression);
    for probe in shifts.probes(&moments(naive, user), as_of) {
        if valid_until.is_some_and(|until| probe >= until) {
            break;
        }
        let then = naive.is_member(user, expression, probe);
        assert_eq!(then, now, "at {probe}: {}", context());
    }
    if let Some(until) = valid_until.filter(|until| *until < last()) {
        assert!(until > as_of, "{}", context());
        let then = naive.is_member(user, expression, until);
        assert_ne!(then, now, "{}", context());
    }
    let told = check_until(population, user, std::slice::from_ref(&bound)).unwrap();
    assert_eq!(told.members, [now], "{}", context());
    if is_within_bounds(naive, expression, user) {
        assert_eq!(told.valid_until, valid_until, "{}", context());
    }
    is_not_too_late(told.valid_until, valid_until, as_of);
    let explained = explain_check(population, user, &[bound], &Stop::never());
    let explained = explained.unwrap().unwrap();
    assert_eq!(explained[0].valid_until, told.valid_until, "{}", context());
    valid_until
}

fn is_not_too_late(told: Option<Timestamp>, exact: Option<Timestamp>, as_of: Timestamp) {
    assert!(told.is_none_or(|told| told > as_of), "{told:?} {exact:?}");
    let is_late = |exact| told.is_none_or(|told| told > exact);
    assert!(!exact.is_some_and(is_late), "{told:?} {exact:?}");
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn checks_hold_until_they_say(
        history in history(1..50),
        plain in prop::collection::vec(expression(), 1..4),
        mixed in prop::collection::vec(mixed(), 1..4),
        tests in prop::collection::vec(event_test(), 1..8),
        as_of in prop::collection::vec(as_of(), 1..3),
    ) {
        let population = Arc::new(Population::new(StoreLimits::default()));
        let mut naive = NaivePopulation::default();
        for action in declarations().iter().chain(&lasting_events()) {
            population.apply(Revision::new(1), action).unwrap();
            naive.apply(action).unwrap();
        }
        for (position, action) in history.actions.iter().enumerate() {
            // Nothing is dropped, so that every window can be asked for.
            if matches!(action, Action::UpdateEvent(_) | Action::DeleteEvent(_)) {
                continue;
            }
            let revision = Revision::new(position as u64 + 2);
            same_outcome(&population.apply(revision, action), &naive.apply(action));
        }
        let expressions = [plain, mixed, tests].concat();
        for as_of in as_of {
            let asked = expressions.iter().filter(|one| bind(&population, one, as_of).is_ok());
            let asked: Vec<&Expression> = asked.collect();
            for user in users().take(5) {
                let mut earliest = None;
                for expression in &asked {
                    let until = holds_until_then(&population, &naive, expression, &user, as_of);
                    earliest = earliest.into_iter().chain(until).min();
                }
                let bounds = asked.iter().map(|one| bound_at(&population, one, as_of));
                let bounds: Vec<_> = bounds.collect();
                let exact = check_until_exactly(&population, &user, &bounds, &Stop::never());
                let exact = exact.unwrap();
                prop_assert_eq!(exact.as_ref().and_then(|all| all.valid_until), earliest);
                let all = check_until(&population, &user, &bounds);
                is_not_too_late(all.as_ref().and_then(|all| all.valid_until), earliest, as_of);
                let many = check_many_until(&population, &[&user, &user], &bounds, &Stop::never());
                prop_assert_eq!(many.unwrap(), [all.clone(), all]);
            }
        }
    }
}

/// A user who logged in once a day for a year, up to an instant.
fn busy(as_of: i64) -> (Population, UserId) {
    let population = Population::new(StoreLimits::default());
    let user = UserId::new("u").unwrap();
    let events = (0..365).map(|day| Event {
        name: EventName::new("login").unwrap(),
        time: Some(instant(as_of - day * DAY - 1)),
        received: instant(as_of),
        amount: Some("1".parse().unwrap()),
        id: None,
    });
    let update = UserUpdate {
        user: user.clone(),
        value_time: None,
        changes: Vec::new(),
        events: events.collect(),
    };
    let write = Action::Write(NonEmpty::one(update));
    population.apply(Revision::new(1), &write).unwrap();
    (population, user)
}

#[test]
fn many_events_are_no_many_steps() {
    let now = 20_500 * DAY;
    let (population, user) = busy(now);
    for (filter, days) in [
        // Only the last of them matters, and of those that are counted one.
        ("count(login, 400d) >= 1", Some(400)),
        ("count(login, 400d) > 300", Some(100)),
        ("count(login, 400d) = 0", Some(400)),
        ("last(login) < now() - 14d", Some(14)),
        (
            "last(login) >= now() - 14d OR count(login, 30d) = 30",
            Some(14),
        ),
        ("first(login) < now() - 400d", Some(36)),
        ("count(login) >= 1", None),
        ("TRUE", None),
    ] {
        let bound = bound_at(&population, &parse(filter).unwrap(), instant(now));
        let checked = check_until(&population, &user, &[bound]).unwrap();
        let expected = days.map(|days| instant(now + days * DAY));
        assert_eq!(checked.valid_until, expected, "{filter}");
    }
}

/// Sums change with every event, so that looking is given up: never too late.
#[test]
fn looking_is_given_up_before_the_change() {
    let now = 20_500 * DAY;
    let (population, user) = busy(now);
    let bound = bound_at(
        &population,
        &parse("sum(login, 400d) >= 1").unwrap(),
        instant(now),
    );
    let checked = check_until(&population, &user, &[bound]).unwrap();
    assert_eq!(checked.members, [true]);
    let first = checked.valid_until.unwrap().micros();
    let change = now + 400 * DAY;
    // The oldest of 365 days leaves the window after 36, and one each day from then on.
    assert!(
        first >= now + 36 * DAY && first <= now + 52 * DAY,
        "{first}"
    );
    // Who asks again and again gets there.
    let mut until = first;
    while until < change {
        let filter = parse("sum(login, 400d) >= 1").unwrap();
        let bound = bound_at(&population, &filter, instant(until));
        let again = check_until(&population, &user, &[bound]).unwrap();
        assert_eq!(again.members, [true]);
        let next = again.valid_until.unwrap().micros();
        assert!(next > until && next <= change, "{until} {next}");
        until = next;
    }
}

/// However many events a user has, and however much is asked for beside them.
#[test]
fn looking_takes_no_longer_than_the_bounds_allow() {
    let now = 20_500 * DAY;
    let (population, user) = busy(now);
    let many = (0..20_000).map(|number| Event {
        name: EventName::new("buy").unwrap(),
        time: Some(instant(now - 1 - number * (DAY / 100))),
        received: instant(now),
        amount: Some("1".parse().unwrap()),
        id: None,
    });
    let update = UserUpdate {
        user: user.clone(),
        value_time: None,
        changes: vec![headcount::model::Change {
            property: headcount::model::PropertyName::new("n").unwrap(),
            operation: headcount::model::Operation::Set(Value::Int64(-1)),
        }],
        events: many.collect(),
    };
    let write = Action::Write(NonEmpty::one(update));
    population.apply(Revision::new(2), &write).unwrap();
    let numbers: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    let listed = format!("n IN ({})", numbers.join(","));
    let hundredth = DAY / 100;
    for (filter, first, step) in [
        // 20,000 events within 200 days: each of them is a step, and looked at for each step.
        ("sum(buy, 365d) > 0".to_owned(), now + 165 * DAY, hundredth),
        // A list of 5,000 values is one node.
        (
            format!("{listed} OR sum(login, 400d) > 0"),
            now + 36 * DAY,
            DAY,
        ),
        (
            format!("{listed} OR count(login, 400d) > 364 OR count(login, 400d) > 0"),
            now + 36 * DAY,
            DAY,
        ),
    ] {
        let bound = bound_at(&population, &parse(&filter).unwrap(), instant(now));
        let checked = check_until(&population, &user, &[bound]).unwrap();
        assert_eq!(checked.members, [true]);
        let until = checked.valid_until.unwrap().micros();
        // One step or two.
        assert!(until >= first && until <= first + 2 * step, "{until}");
    }
}

#[test]
fn a_user_who_does_not_exist_has_no_answer() {
    let (population, _) = busy(20_500 * DAY);
    let nobody = UserId::new("nobody").unwrap();
    let filter = parse("count(login, 30d) = 0").unwrap();
    let bound = bound_at(&population, &filter, instant(20_500 * DAY));
    assert_eq!(
        check_until(&population, &nobody, std::slice::from_ref(&bound)),
        None
    );
    let stop = Stop::never();
    stop.cancel();
    assert!(check_many_until(&population, &[&nobody], &[&bound], &stop).is_err());
    let explained = explain_check(&population, &nobody, &[bound], &stop);
    assert_eq!(explained, Err(ExplainCheckError::Stopped(Stopped)));
}

#[test]
fn values_are_passed_to_the_microsecond() {
    let population = Population::new(StoreLimits::default());
    let user = UserId::new("u").unwrap();
    let update = UserUpdate {
        user: user.clone(),
        value_time: None,
        changes: vec![headcount::model::Change {
            property: headcount::model::PropertyName::new("seen").unwrap(),
            operation: headcount::model::Operation::Set(Value::Timestamp(instant(50))),
        }],
        events: Vec::new(),
    };
    let write = Action::Write(NonEmpty::one(update));
    population.apply(Revision::new(1), &write).unwrap();
    for (filter, as_of, until) in [
        ("seen = now()", 49, Some(50)),
        ("seen = now()", 50, Some(51)),
        ("seen = now()", 51, None),
        ("seen < now() - 10us", 50, Some(61)),
        ("seen >= now() - 10us", 60, Some(61)),
        ("seen <= now() + 10us", 0, Some(40)),
        ("seen <= now() + 10us AND FALSE", 0, None),
    ] {
        let bound = bound_at(&population, &parse(filter).unwrap(), instant(as_of));
        let checked = check_until(&population, &user, &[bound]).unwrap();
        assert_eq!(
            checked.valid_until,
            until.map(instant),
            "{filter} as of {as_of}"
        );
    }
}
