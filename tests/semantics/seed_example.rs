//! Ten customers: the mean misleads, the segments tell.

use headcount::filter;
use headcount::model::{
    Action, Change, NonEmpty, Operation, PropertyName, Revision, StoreLimits, UserId, UserUpdate,
    Value,
};
use headcount::population::Population;
use headcount::query::{Stop, bind, count};

use crate::generate::now;

#[test]
fn ten_customers_seven_of_them_15_or_16() {
    let ages = [15, 15, 15, 15, 16, 16, 16, 40, 42, 75];
    let updates = ages.iter().enumerate().map(|(number, age)| UserUpdate {
        user: UserId::new(format!("customer-{number}")).unwrap(),
        value_time: None,
        changes: vec![Change {
            property: PropertyName::new("age").unwrap(),
            operation: Operation::Set(Value::Int64(*age)),
        }],
        events: Vec::new(),
    });
    let population = Population::new(StoreLimits::default());
    let write = Action::Write(NonEmpty::new(updates.collect()).unwrap());
    population.apply(Revision::new(1), &write).unwrap();
    let how_many = |filter: &str| {
        let bound = bind(&population, &filter::parse(filter).unwrap(), now()).unwrap();
        count(&population, &bound, &Stop::never()).unwrap()
    };
    // The mean age is 26.5, an age at which there is nobody within ten years.
    assert_eq!(ages.iter().sum::<i64>(), 265);
    assert_eq!(how_many("age BETWEEN 17 AND 36"), 0);
    assert_eq!(how_many("age IN (15, 16)"), 7);
    assert_eq!(how_many("age >= 40 AND age <= 42"), 2);
    assert_eq!(how_many("age > 42"), 1);
    assert_eq!(
        how_many("age < 18 OR age BETWEEN 40 AND 42 OR age = 75"),
        10
    );
    assert_eq!(how_many("TRUE"), 10);
}
