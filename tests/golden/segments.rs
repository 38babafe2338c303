//! The saved segments of the golden folder of the second version.

use headcount::filter;
use headcount::model::{Action, SegmentChange, SegmentDeclaration, SegmentName, Text};

use crate::commands::{Step, plain, request, time};

fn name(text: &str) -> SegmentName {
    SegmentName::new(text).unwrap()
}

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn create(segment: &str, definition: &str, label: &str) -> Action {
    let declaration = SegmentDeclaration {
        name: name(segment),
        definition: filter::parse(definition).unwrap(),
        description: text("who is meant"),
        labels: [(text("team"), text(label))].into(),
    };
    Action::CreateSegment(Box::new(declaration), time("2026-11-23T10:00:01Z"))
}

pub(crate) fn between_the_snapshots() -> Vec<Step> {
    vec![
        plain(create("in Paris", "city = 'paris'", "crm")),
        plain(create("gone", "TRUE", "")),
        plain(Action::DeleteSegment(name("gone"), None)),
    ]
}

pub(crate) fn at_the_end() -> Vec<Step> {
    let definition = "segment('in Paris') AND count(purchase) >= 1";
    let change = SegmentChange {
        name: name("in Paris"),
        definition: Some(filter::parse("city IN ('paris', 'PARIS')").unwrap()),
        description: Some(text("")),
        labels: None,
        unchanged_since: None,
    };
    let change = Action::UpdateSegment(Box::new(change), time("2026-11-23T11:00:00Z"));
    let in_use = Action::DeleteSegment(name("in Paris"), None);
    vec![
        plain(create("it's bought", definition, "crm")),
        request("s-update", change),
        request("s-in-use", in_use),
    ]
}
