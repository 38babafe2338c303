//! The saved segments of the golden folder of the second version.

use headcount::filter;
use headcount::model::{
    Action, Expression, FirstMembers, FrozenUsers, ListDeclaration, NonEmpty, Revision,
    SegmentChange, SegmentDeclaration, SegmentName, StoreLimits, Text, Timestamp, UserId,
    UserUpdate,
};
use headcount::population::Population;
use headcount::query::{Stop, bind, freeze};

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

fn users(ids: &[&str]) -> Vec<UserId> {
    ids.iter().map(|id| UserId::new(*id).unwrap()).collect()
}

fn some(ids: &[&str]) -> NonEmpty<UserId> {
    NonEmpty::new(users(ids)).unwrap()
}

fn create_list(list: &str, members: FirstMembers) -> Action {
    let declaration = ListDeclaration {
        name: name(list),
        description: text("who is meant"),
        labels: [(text("team"), text("crm"))].into(),
        members,
    };
    Action::CreateList(Box::new(declaration), time("2026-11-23T10:00:02Z"))
}

/// The first three users of a population, as of a revision that is never reached.
fn frozen() -> FrozenUsers {
    let population = Population::new(StoreLimits::default());
    let updates = users(&["a", "b", "c"]).into_iter().map(|user| UserUpdate {
        user,
        value_time: None,
        changes: Vec::new(),
        events: Vec::new(),
    });
    let write = Action::Write(NonEmpty::new(updates.collect()).unwrap());
    population.apply(Revision::new(1), &write).unwrap();
    let bound = bind(&population, &Expression::Everyone, Timestamp::MAX).unwrap();
    freeze(&population, &bound, Revision::new(1_000), &Stop::never()).unwrap()
}

pub(crate) fn between_the_snapshots() -> Vec<Step> {
    let asked = FirstMembers::Users(users(&["u1", "u2", "u3", "nobody"]));
    vec![
        plain(create_list("asked", asked)),
        plain(create_list("gone, too", FirstMembers::Users(Vec::new()))),
        plain(Action::DeleteSegment(name("gone, too"), None)),
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
        plain(create_list("everyone then", FirstMembers::Frozen(frozen()))),
        request(
            "s-add",
            Action::AddMembers(name("asked"), some(&["u4", "u5", "x"])),
        ),
        plain(Action::RemoveMembers(name("asked"), some(&["u2"]))),
        request(
            "s-no-list",
            Action::AddMembers(name("in Paris"), some(&["u1"])),
        ),
    ]
}
