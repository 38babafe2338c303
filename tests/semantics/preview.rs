//! Previews of definitions beside a plain list of users, and beside what saving them then does.

use std::collections::BTreeSet;

use headcount::model::{
    Action, Expression, Labels, NonEmpty, Revision, SegmentChange, SegmentDeclaration, SegmentName,
    StoreLimits, Text, Timestamp, UserId,
};
use headcount::population::Population;
use headcount::query::{Passage, Preview, Previewed, Stop, bind, members, preview};
use headcount::testing::naive::NaivePopulation;
use proptest::prelude::*;

use crate::generate::{self, cases, expression, history, now};

fn name(text: &str) -> SegmentName {
    SegmentName::new(text).unwrap()
}

fn create(segment: &str, definition: Expression) -> Action {
    let declaration = SegmentDeclaration {
        name: name(segment),
        definition,
        description: Text::new("").unwrap(),
        labels: Labels::new(),
    };
    Action::CreateSegment(Box::new(declaration), Timestamp::MIN)
}

fn update(segment: &str, definition: Expression) -> Action {
    let change = SegmentChange {
        name: name(segment),
        definition: Some(definition),
        description: None,
        labels: None,
        unchanged_since: None,
    };
    Action::UpdateSegment(Box::new(change), Timestamp::MIN)
}

/// All members in the order of their list.
fn listed(population: &Population, segment: &str) -> Vec<UserId> {
    let bound = bind(population, &Expression::Segment(name(segment)), now()).unwrap();
    let page = members(population, &bound, None, 1_000, &Stop::never()).unwrap();
    assert!(page.next.is_none());
    page.users
}

fn without(users: &[UserId], others: &[UserId]) -> Vec<UserId> {
    let left = users.iter().filter(|user| !others.contains(user));
    left.cloned().collect()
}

fn passage(before: &[UserId], after: &[UserId]) -> Passage {
    Passage {
        enter: without(after, before).len() as u64,
        stay: (after.len() - without(after, before).len()) as u64,
        leave: without(before, after).len() as u64,
    }
}

fn previewed(population: &Population, segment: Option<&str>, definition: &Expression) -> Preview {
    let segment = segment.map(name);
    let judged = population.judge_definition(segment.as_ref(), definition);
    let judged = judged.unwrap();
    let bound = Previewed::bind(population, segment.as_ref(), definition, &judged, now());
    preview(population, &bound.unwrap(), 5, &Stop::never()).unwrap()
}

/// The clauses of a definition beside the users whom each is true of.
fn clauses_agree(found: &Preview, definition: &Expression, naive: &NaivePopulation) {
    let operands = if let Expression::And(operands) = definition {
        operands.to_vec()
    } else {
        vec![definition.clone()]
    };
    assert_eq!(found.clauses.len(), operands.len());
    let mut left = naive.select(&Expression::Everyone, now());
    for (clause, operand) in found.clauses.iter().zip(operands) {
        let alone = naive.select(&operand, now());
        left = left.intersection(&alone).cloned().collect();
        assert_eq!(clause.filter, operand.to_string());
        assert_eq!(clause.count, alone.len() as u64, "{operand}");
        assert_eq!(clause.remaining, left.len() as u64, "{operand}");
    }
    assert_eq!(left.len() as u64, found.passage.then());
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_preview_says_what_saving_then_does(
        history in history(1..60),
        before in expression(),
        outer in expression(),
        clauses in prop::collection::vec(expression(), 1..5),
    ) {
        let population = Population::new(StoreLimits::default());
        let mut naive = NaivePopulation::default();
        let declarations = generate::declarations();
        let mut revision = 0;
        let mut apply = |population: &Population, action: &Action| {
            revision += 1;
            population.apply(Revision::new(revision), action)
        };
        for action in declarations.iter().chain(&history.actions) {
            let _ = apply(&population, action);
            let _ = naive.apply(action);
        }
        let definition = if clauses.len() == 1 {
            clauses[0].clone()
        } else {
            Expression::And(NonEmpty::new(clauses).unwrap())
        };
        let nobody = previewed(&population, None, &definition);
        let selected: BTreeSet<UserId> = naive.select(&definition, now());
        prop_assert_eq!(nobody.passage.then(), selected.len() as u64);
        prop_assert_eq!(nobody.passage.now(), 0);
        clauses_agree(&nobody, &definition, &naive);

        let inner = Expression::Segment(name("inner"));
        let middle = Expression::Not(Box::new(inner.clone()));
        let both = NonEmpty::new(vec![Expression::Segment(name("middle")), outer]).unwrap();
        let segments = [
            ("inner", before),
            ("middle", middle),
            ("outer", Expression::Or(both.clone())),
            ("strict", Expression::And(both)),
        ];
        let names = segments.each_ref().map(|(name, _)| *name);
        for (segment, definition) in segments {
            apply(&population, &create(segment, definition)).unwrap();
        }
        let found = previewed(&population, Some("inner"), &definition);
        clauses_agree(&found, &definition, &naive);
        let now = names.map(|name| listed(&population, name));
        apply(&population, &update("inner", definition)).unwrap();
        let then = names.map(|name| listed(&population, name));
        let passages: Vec<Passage> =
            now.iter().zip(&then).map(|(now, then)| passage(now, then)).collect();
        prop_assert_eq!(found.users, naive.user_ids().count() as u64);
        prop_assert_eq!(found.passage, passages[0]);
        let some = |users: Vec<UserId>| users.into_iter().take(5).collect::<Vec<_>>();
        prop_assert_eq!(&found.entering, &some(without(&then[0], &now[0])));
        prop_assert_eq!(&found.leaving, &some(without(&now[0], &then[0])));
        let dependents: Vec<Option<Passage>> = passages[1..].iter().copied().map(Some).collect();
        prop_assert_eq!(&found.dependents, &dependents);
    }
}
