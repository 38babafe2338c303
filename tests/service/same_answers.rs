//! Text, tree, count, check, list and stream tell the same, and the same as the naive twin.

use std::collections::BTreeSet;

use headcount::model::{
    Action, Change, Expression, NonEmpty, Operation, PropertyName, Timestamp, UserId, UserUpdate,
    ValueType,
};
use headcount::proto::{
    BatchCheckRequest, BatchCountRequest, ListMembersRequest, Selection, list_members_request,
    selection,
};
use headcount::testing::generate::{self, Choices, Vocabulary};
use headcount::testing::naive::NaivePopulation;
use headcount::testing::wire;

use crate::harness::{NOW, Service};

const USERS: usize = 300;
const EXPRESSIONS: u64 = 200;

fn vocabulary() -> Vec<(PropertyName, ValueType)> {
    let types = ValueType::ALL.into_iter().enumerate();
    types
        .map(|(n, value_type)| (PropertyName::new(format!("p{n}")).unwrap(), value_type))
        .collect()
}

fn users(vocabulary: &[(PropertyName, ValueType)]) -> NonEmpty<UserUpdate> {
    let users = (0..USERS).map(|n| {
        let bytes = generate::bytes(n as u64, 200);
        let mut choices = Choices::new(&bytes);
        let mut changes = Vec::new();
        for (property, value_type) in vocabulary {
            let value = generate::value(&mut choices, *value_type);
            // The first user has all, so that all exist.
            if n == 0 || choices.yes() {
                changes.push(Change {
                    property: property.clone(),
                    operation: Operation::Set(value),
                });
            }
        }
        UserUpdate {
            user: UserId::new(format!("u{n}")).unwrap(),
            value_time: None,
            changes,
            events: Vec::new(),
        }
    });
    NonEmpty::new(users.collect()).unwrap()
}

fn selections(expression: &Expression) -> [Selection; 2] {
    let text = selection::Selection::Filter(expression.to_string());
    let tree = selection::Selection::Expression(wire::expression(expression));
    [text, tree].map(|selection| Selection {
        selection: Some(selection),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_expressions_have_one_answer() {
    let now: Timestamp = NOW.parse().unwrap();
    let service = Service::start().await;
    let vocabulary = vocabulary();
    let users = users(&vocabulary);
    service
        .write(users.iter().map(wire::user_update).collect())
        .await;
    let mut naive = NaivePopulation::default();
    naive.apply(&Action::Write(users)).unwrap();

    let user_ids: Vec<String> = (0..USERS).map(|n| format!("u{n}")).collect();
    for seed in 0..EXPRESSIONS {
        let bytes = generate::bytes(seed, 120);
        let vocabulary = Vocabulary::Properties(&vocabulary);
        let expression = generate::expression(&mut Choices::new(&bytes), vocabulary);
        let expected: BTreeSet<String> = naive
            .select(&expression, now)
            .iter()
            .map(|user| user.as_str().to_owned())
            .collect();
        let context = || format!("seed {seed}: {expression}");

        let request = BatchCountRequest {
            selections: selections(&expression).to_vec(),
            ..Default::default()
        };
        let counts = service.query().batch_count(request).await;
        let counts = counts.unwrap_or_else(|status| panic!("{}: {status}", context()));
        let count = expected.len() as u64;
        assert_eq!(counts.into_inner().counts, [count, count], "{}", context());

        let request = BatchCheckRequest {
            user_ids: user_ids.clone(),
            filters: vec![expression.to_string()],
            expressions: vec![wire::expression(&expression)],
            ..Default::default()
        };
        let checks = service
            .query()
            .batch_check(request)
            .await
            .unwrap()
            .into_inner();
        for check in checks.users {
            let member = expected.contains(&check.user_id);
            assert_eq!(
                check.members,
                [member, member],
                "{} {}",
                check.user_id,
                context()
            );
        }

        let tree = wire::expression(&expression);
        let request = ListMembersRequest {
            selection: Some(list_members_request::Selection::Expression(tree)),
            page_size: 1_000,
            ..Default::default()
        };
        let page = service
            .query()
            .list_members(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            BTreeSet::from_iter(page.user_ids),
            expected,
            "{}",
            context()
        );
    }
    service.stop().await;
}
