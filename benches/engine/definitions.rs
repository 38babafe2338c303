//! Segments that share their predicates as those of a company do.

use headcount::filter;
use headcount::model::{Action, Labels, SegmentDeclaration, SegmentName, Text, Timestamp};

use crate::world::{COUNTRIES, NOW, PLANS, SYSTEMS, country_name, language_name};

/// The definition of a segment: two to four of some 500 predicates, as teams combine them.
pub fn definition(number: usize) -> String {
    let country = country_name(number * 7 % COUNTRIES);
    let plan = PLANS[number % PLANS.len()].0;
    let system = SYSTEMS[number / 3 % SYSTEMS.len()].0;
    let age = 18 + number % 50;
    let days = [1, 7, 14, 30, 60, 90, 180, 365][number / 5 % 8];
    let language = language_name(number / 11 % 40);
    match number % 6 {
        0 => format!("country = '{country}' AND plan = '{plan}'"),
        1 => format!("country = '{country}' AND age >= {age} AND NOT plan = '{plan}'"),
        2 => format!("(os = '{system}' OR language = '{language}') AND age < {age}"),
        3 => format!("last_seen >= now() - {days}d AND plan = '{plan}' AND os = '{system}'"),
        4 => format!("signed_up >= now() - {days}d AND country != '{country}'"),
        _ => {
            format!("AT LEAST 2 OF (subscriber = TRUE, age >= {age}, last_seen >= now() - {days}d)")
        }
    }
}

pub fn name(number: usize) -> SegmentName {
    SegmentName::new(format!("segment-{number}")).expect("a good name")
}

/// Saves the segment of a number.
pub fn create(number: usize) -> Action {
    let declaration = SegmentDeclaration {
        name: name(number),
        definition: filter::parse(&definition(number)).expect("a good filter"),
        description: Text::new("").expect("a short text"),
        labels: Labels::new(),
    };
    let now = Timestamp::from_micros(NOW * 1_000_000).expect("an instant");
    Action::CreateSegment(Box::new(declaration), now)
}
