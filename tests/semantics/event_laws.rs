//! Laws of what users did, on events and windows at random.

use headcount::model::{
    Amount, Comparison, EventName, EventPredicate, EventTest, Expression, Instant, Measure, Span,
    Timestamp, UserId, WhichEvent, Window, Zone,
};
use headcount::population::Population;
use headcount::testing::generate::Choices;
use headcount::testing::generate_events::{edge, event_names, window, zone};
use proptest::prelude::*;

use crate::generate::{cases, history, now};
use crate::laws::{not, population, size};
use crate::{all_members, bound};

/// The most events that a user can have in these tests, by far.
const MOST: i64 = 64;

/// Events of one name in a window.
#[derive(Clone, Debug)]
struct Asked {
    event: EventName,
    window: Window,
    zone: Zone,
}

impl Asked {
    fn is(&self, measure: Measure, comparison: Comparison, number: i64) -> Expression {
        self.test(EventTest::Number {
            measure,
            comparison,
            operand: Amount::whole(number).unwrap(),
        })
    }

    fn time(&self, which: WhichEvent, comparison: Comparison, operand: Timestamp) -> Expression {
        self.test(EventTest::Time {
            which,
            comparison,
            operand: Instant::At(operand),
        })
    }

    fn test(&self, test: EventTest) -> Expression {
        Expression::Event(Box::new(EventPredicate {
            event: self.event.clone(),
            window: self.window.clone(),
            zone: self.zone.clone(),
            test,
        }))
    }

    fn between(&self, from: Timestamp, to: Timestamp) -> Self {
        Self {
            window: Window::Between {
                from: Instant::At(from),
                to: Instant::At(to),
            },
            ..self.clone()
        }
    }

    /// The users with at least so many, and so on for each number from 1.
    fn levels(&self, population: &Population, measure: Measure) -> Vec<Vec<UserId>> {
        let levels = (1..=MOST).map(|number| {
            let asked = self.is(measure, Comparison::GreaterOrEqual, number);
            all_members(population, &bound(population, &asked), 1_000)
        });
        levels.take_while(|users| !users.is_empty()).collect()
    }
}

/// How many of something a user has.
fn number_of(levels: &[Vec<UserId>], user: &UserId) -> usize {
    levels.iter().filter(|users| users.contains(user)).count()
}

fn asked() -> impl Strategy<Value = Asked> {
    prop::collection::vec(any::<u8>(), 0..16).prop_map(|bytes| {
        let mut choices = Choices::new(&bytes);
        let names = event_names();
        let around = [now(), edge(&mut choices)];
        Asked {
            event: names[choices.below(names.len())].clone(),
            window: window(&mut choices, &around),
            zone: zone(&mut choices),
        }
    })
}

fn instants() -> impl Strategy<Value = [Timestamp; 3]> {
    prop::collection::vec(any::<u8>(), 9).prop_map(|bytes| {
        let mut choices = Choices::new(&bytes);
        let mut instants = [(); 3].map(|()| edge(&mut choices));
        instants.sort();
        instants
    })
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn never_is_count_zero(history in history(1..30), asked in asked()) {
        let population = population(&history.without_declarations().actions);
        let (never, ever) = (
            asked.is(Measure::Count, Comparison::Equal, 0),
            asked.is(Measure::Count, Comparison::GreaterOrEqual, 1),
        );
        let members = |of: &Expression| all_members(&population, &bound(&population, of), 1_000);
        prop_assert_eq!(members(&never), members(&not(&ever)));
        prop_assert_eq!(size(&population, &never) + size(&population, &ever), population.user_count());
        for measure in [Measure::Days, Measure::Weeks, Measure::Months] {
            let never_by_units = asked.is(measure, Comparison::Equal, 0);
            prop_assert_eq!(members(&never_by_units), members(&never));
        }
        // Who never did has neither a first nor a last event.
        for which in [WhichEvent::First, WhichEvent::Last] {
            let any = asked.time(which, Comparison::GreaterOrEqual, Timestamp::MIN);
            prop_assert_eq!(members(&any), members(&ever));
        }
    }

    #[test]
    fn last_and_first_agree_with_counts(
        history in history(1..30),
        asked in asked(),
        [from, at, to] in instants(),
    ) {
        let population = population(&history.without_declarations().actions);
        let members = |of: &Expression| all_members(&population, &bound(&population, of), 1_000);
        let any = |of: &Asked| of.is(Measure::Count, Comparison::Greater, 0);
        let asked = asked.between(from, to);
        let (before, since) = (any(&asked.between(from, at)), any(&asked.between(at, to)));
        let (first, last) = (WhichEvent::First, WhichEvent::Last);
        prop_assert_eq!(members(&asked.time(first, Comparison::Less, at)), members(&before));
        prop_assert_eq!(members(&asked.time(last, Comparison::GreaterOrEqual, at)), members(&since));
        // The first is not after the last, and they are the same for who did it once.
        let one = members(&asked.is(Measure::Count, Comparison::Equal, 1));
        let first = members(&asked.time(first, Comparison::Equal, at));
        let last = members(&asked.time(last, Comparison::Equal, at));
        for user in one {
            prop_assert_eq!(first.contains(&user), last.contains(&user));
        }
    }

    #[test]
    fn days_never_exceed_count(history in history(1..30), asked in asked()) {
        let population = population(&history.without_declarations().actions);
        let levels = |measure| asked.levels(&population, measure);
        let (counts, days) = (levels(Measure::Count), levels(Measure::Days));
        let (weeks, months) = (levels(Measure::Weeks), levels(Measure::Months));
        for user in counts.first().unwrap_or(&Vec::new()) {
            let [count, days, weeks, months] =
                [&counts, &days, &weeks, &months].map(|levels| number_of(levels, user));
            prop_assert!(1 <= weeks && weeks <= days && days <= count);
            prop_assert!(1 <= months && months <= days);
            // A week has at most seven days, a month 31.
            prop_assert!(days <= 7 * weeks && days <= 31 * months);
        }
    }

    #[test]
    fn windows_add_up(history in history(1..30), asked in asked(), [a, b, c] in instants()) {
        let population = population(&history.without_declarations().actions);
        let levels = |from, to, measure| asked.between(from, to).levels(&population, measure);
        let [ab, bc, ac] = [(a, b), (b, c), (a, c)].map(|(from, to)| levels(from, to, Measure::Count));
        for user in crate::users() {
            prop_assert_eq!(number_of(&ab, &user) + number_of(&bc, &user), number_of(&ac, &user));
        }
        // A unit that a window is cut through counts on both sides, once as a whole.
        for measure in [Measure::Days, Measure::Weeks, Measure::Months] {
            let [ab, bc, ac] = [(a, b), (b, c), (a, c)].map(|(from, to)| levels(from, to, measure));
            for user in crate::users() {
                let apart = number_of(&ab, &user) + number_of(&bc, &user);
                let whole = number_of(&ac, &user);
                prop_assert!(whole <= apart && apart <= whole + 1);
            }
        }
        // A rolling window is the one between two instants that it says.
        let span = Span::from_micros((now().micros() - a.micros()).max(1)).unwrap();
        let rolling = Asked { window: Window::Rolling(span), ..asked.clone() };
        let between = asked.between(now().saturating_add(span.reversed()), now());
        prop_assert_eq!(
            rolling.levels(&population, Measure::Count),
            between.levels(&population, Measure::Count)
        );
    }
}
