//! What the golden folder of the second version was written with: everything of the first one, and
//! events in between.

use headcount::model::{
    Action, Amount, Event, EventDeclaration, EventId, EventName, NonEmpty, UserId, UserUpdate,
};

use crate::commands::{self, Step, batch, in_population, plain, request, time};

fn name(text: &str) -> EventName {
    EventName::new(text).unwrap()
}

fn kept_for(event: &str, span: &str) -> EventDeclaration {
    EventDeclaration {
        name: name(event),
        retention: span.parse().unwrap(),
    }
}

/// An event with its time, millionths and id, each maybe missing.
struct Did(
    &'static str,
    Option<&'static str>,
    Option<i64>,
    Option<&'static str>,
);

fn update(user: &str, received: &str, events: &[Did]) -> UserUpdate {
    let events = events.iter().map(|Did(event, at, amount, id)| Event {
        name: name(event),
        time: at.map(time),
        received: time(received),
        amount: amount.map(|millionths| Amount::from_millionths(millionths).unwrap()),
        id: id.map(|id| EventId::new(id).unwrap()),
    });
    UserUpdate {
        user: UserId::new(user).unwrap(),
        value_time: None,
        changes: Vec::new(),
        events: events.collect(),
    }
}

fn write(user: &str, received: &str, events: &[Did]) -> Action {
    Action::Write(NonEmpty::one(update(user, received, events)))
}

fn before_the_first_snapshot() -> Vec<Step> {
    let received = "2026-11-20T10:00:00Z";
    vec![
        request(
            "e-declare",
            Action::CreateEvent(kept_for("purchase", "30d")),
        ),
        request(
            "e-first",
            write(
                "u1",
                received,
                &[
                    Did(
                        "purchase",
                        Some("2026-11-20T08:00:00Z"),
                        Some(19_990_000),
                        Some("o-1"),
                    ),
                    // In this order a duplicate, too old, and too far ahead.
                    Did(
                        "purchase",
                        Some("2026-11-20T08:00:00Z"),
                        Some(19_990_000),
                        Some("o-1"),
                    ),
                    Did("purchase", Some("2026-10-01T00:00:00Z"), None, None),
                    Did("purchase", Some("2026-11-25T00:00:00Z"), None, Some("o-9")),
                    Did("login", None, None, None),
                ],
            ),
        ),
        plain(write(
            "u2",
            received,
            &[
                Did("login", Some("2026-11-19T23:59:59.999999Z"), None, None),
                Did(
                    "Order Placed",
                    Some("2026-11-01T00:00:00Z"),
                    Some(-5_500_000),
                    None,
                ),
            ],
        )),
        // It will be dropped.
        plain(write(
            "u3",
            received,
            &[Did(
                "purchase",
                Some("2026-10-25T12:00:00Z"),
                Some(5_000_000),
                Some("old"),
            )],
        )),
    ]
}

pub(crate) fn between_the_snapshots() -> Vec<Step> {
    let received = "2026-11-21T10:00:00Z";
    let two = vec![
        update(
            "u1",
            received,
            &[
                // Not more than a day from the one that is known: a duplicate.
                Did("purchase", Some("2026-11-21T08:00:00Z"), None, Some("o-1")),
                Did(
                    "purchase",
                    Some("2026-11-21T09:00:00Z"),
                    Some(1),
                    Some("o-2"),
                ),
            ],
        ),
        update(
            "u3",
            "2026-11-21T10:00:01Z",
            &[Did("login", None, None, Some("s"))],
        ),
    ];
    vec![
        request("e-again", Action::Write(NonEmpty::new(two).unwrap())),
        in_population(
            "drivers",
            None,
            write("d1", received, &[Did("trip", None, Some(12_500_000), None)]),
        ),
        plain(Action::CreateEvent(kept_for("gone", "36h"))),
        plain(write("u3", received, &[Did("gone", None, None, None)])),
        plain(Action::DeleteEvent(name("gone"))),
        request("e-update", Action::UpdateEvent(kept_for("purchase", "28d"))),
        // With this one, purchases before 2026-10-26 go.
        plain(write(
            "u3",
            "2026-11-23T10:00:00Z",
            &[Did("purchase", None, None, Some("old"))],
        )),
    ]
}

fn at_the_end() -> Vec<Step> {
    vec![
        // Received before the last one: not older than events are kept, but those of its day went.
        request(
            "e-late",
            write(
                "u1",
                "2026-11-22T12:00:00Z",
                &[Did("purchase", Some("2026-10-25T13:00:00Z"), None, None)],
            ),
        ),
        batch(
            40,
            50,
            write(
                "u5",
                "2026-11-23T11:00:00Z",
                &[
                    Did("login", Some("2026-11-23T10:59:59Z"), None, None),
                    Did("login", Some("2026-11-22T10:00:00Z"), None, None),
                    Did(
                        "purchase",
                        None,
                        Some(1_000_000_000_000_000_000),
                        Some("most"),
                    ),
                ],
            ),
        ),
        request("e-missing", Action::DeleteEvent(name("missing"))),
        request("e-exists", Action::CreateEvent(kept_for("purchase", "1d"))),
        plain(Action::CreateEvent(kept_for("signup", "52w"))),
    ]
}

/// Everything that was done.
pub(crate) fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut between = [before_the_first_snapshot(), between_the_snapshots()].into_iter();
    for step in commands::steps() {
        if matches!(step, Step::Snapshot) {
            steps.extend(between.next().unwrap());
        }
        steps.push(step);
    }
    steps.extend(at_the_end());
    steps
}
