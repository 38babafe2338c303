//! What the golden folder of the first version was written with: all there was before events. That
//! version was released, so nothing is added here any more.

use headcount::engine::record;
use headcount::model::{
    Action, Change, Command, Finite, NonEmpty, Number, Once, Operation, PopulationName,
    PropertyDeclaration, PropertyName, RequestId, StoreLimits, StreamId, Text, Timestamp, UserId,
    UserUpdate, Value, ValueType,
};

/// Something done to the store.
pub(crate) enum Step {
    Commit(Command),
    Snapshot,
    /// Closes the store and opens it with the limits of [`limits`], which are recorded.
    Restart,
}

/// The limits in force at the end.
pub(crate) fn limits() -> StoreLimits {
    StoreLimits {
        users: 1_000,
        ..StoreLimits::default()
    }
}

fn property(text: &str) -> PropertyName {
    PropertyName::new(text).unwrap()
}

fn texts(texts: &[&str]) -> Vec<Text> {
    texts.iter().map(|text| Text::new(*text).unwrap()).collect()
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn string(text: &str) -> Value {
    Value::String(Text::new(text).unwrap())
}

fn double(number: f64) -> Value {
    Value::Double(Finite::new(number).unwrap())
}

fn strings(elements: &[&str]) -> Value {
    Value::StringSet(texts(elements).into_iter().collect())
}

fn set(value: Value) -> Operation {
    Operation::Set(value)
}

fn write_at(user: &str, value_time: Option<&str>, changes: &[(&str, Operation)]) -> Action {
    let changes = changes.iter().map(|(name, operation)| Change {
        property: property(name),
        operation: operation.clone(),
    });
    Action::Write(NonEmpty::one(UserUpdate {
        user: UserId::new(user).unwrap(),
        value_time: value_time.map(time),
        changes: changes.collect(),
        events: Vec::new(),
    }))
}

fn write(user: &str, changes: &[(&str, Operation)]) -> Action {
    write_at(user, None, changes)
}

fn erase(user: &str) -> Action {
    Action::Erase(UserId::new(user).unwrap())
}

fn create(name: &str, value_type: ValueType, case_insensitive: bool) -> Action {
    Action::CreateProperty(PropertyDeclaration {
        name: property(name),
        value_type,
        case_insensitive,
    })
}

fn every_type(active: bool, city: &str, age: i64, score: f64, seen: &str, app: &str) -> Action {
    write(
        if active { "u1" } else { "u6" },
        &[
            ("active", set(Value::Bool(active))),
            ("city", set(string(city))),
            ("tags", set(strings(&["news", "sport"]))),
            ("age", set(Value::Int64(age))),
            ("score", set(double(score))),
            ("seen", set(Value::Timestamp(time(seen)))),
            ("app", set(Value::Version(app.parse().unwrap()))),
        ],
    )
}

pub(crate) fn in_population(population: &str, once: Option<Once>, action: Action) -> Step {
    Step::Commit(Command::Population {
        name: PopulationName::new(population).unwrap(),
        once,
        action,
    })
}

pub(crate) fn plain(action: Action) -> Step {
    in_population("default", None, action)
}

pub(crate) fn request(id: &str, action: Action) -> Step {
    let once = Once::Request {
        id: RequestId::new(id).unwrap(),
        content: record::content(&action),
    };
    in_population("default", Some(once), action)
}

pub(crate) fn batch(previous: u64, sequence: u64, action: Action) -> Step {
    let once = Once::Batch {
        stream: StreamId::new("s").unwrap(),
        previous,
        sequence,
    };
    in_population("default", Some(once), action)
}

/// Everything that was done. The first has revision 2: the limits come before.
pub(crate) fn steps() -> Vec<Step> {
    let int = |number| set(Value::Int64(number));
    let (seen, early) = ("2026-11-20T08:00:00Z", "1969-12-31T23:59:59Z");
    vec![
        request("r-create", create("city", ValueType::String, true)),
        request(
            "r-first",
            every_type(true, "Paris", 41, 2.5, seen, "2.10.0-rc.1"),
        ),
        plain(write_at(
            "u2",
            Some("2026-01-02T00:00:00Z"),
            &[("city", set(string("Rome")))],
        )),
        // Older than what u2 has: stale.
        request(
            "r-stale",
            write_at(
                "u2",
                Some("2026-01-01T00:00:00Z"),
                &[("city", set(string("Bonn")))],
            ),
        ),
        plain(write(
            "u3",
            &[("age", int(7)), ("city", set(string("Oslo")))],
        )),
        plain(write(
            "u3",
            &[("visits", Operation::Increment(Number::Int64(2)))],
        )),
        // Refused: ages are whole numbers.
        request("r-refused", write("u1", &[("age", set(Value::Bool(true)))])),
        batch(
            0,
            10,
            write("u1", &[("age", Operation::Increment(Number::Int64(1)))]),
        ),
        batch(
            10,
            20,
            write("u4", &[("age", int(64)), ("score", set(double(-0.5)))]),
        ),
        Step::Snapshot,
        // 11, and in the log to the end, since the newest snapshot may be damaged.
        request("r-erase", erase("u4")),
        plain(write(
            "u1",
            &[
                (
                    "tags",
                    Operation::AddToSet(NonEmpty::new(texts(&["chess"])).unwrap()),
                ),
                ("active", Operation::Unset),
            ],
        )),
        plain(write(
            "u1",
            &[(
                "tags",
                Operation::RemoveFromSet(NonEmpty::new(texts(&["sport"])).unwrap()),
            )],
        )),
        in_population("drivers", None, create("rating", ValueType::Double, false)),
        in_population(
            "drivers",
            None,
            write("d1", &[("rating", set(double(4.5)))]),
        ),
        plain(Action::DeleteProperty(property("score"))),
        Step::Snapshot,
        // 17 are the limits.
        Step::Restart,
        plain(write(
            "u5",
            &[("age", int(30)), ("city", set(string("Paris")))],
        )),
        // Refused, which counts as carried out.
        batch(20, 30, write("u1", &[("age", set(string("old")))])),
        plain(erase("u2")),
        request("r-missing", Action::DeleteProperty(property("missing"))),
        plain(write(
            "u3",
            &[
                ("city", Operation::SetOnce(string("Bergen"))),
                ("plan", Operation::SetOnce(string("free"))),
                ("visits", Operation::Increment(Number::Int64(3))),
            ],
        )),
        plain(every_type(false, "PARIS", -5, 0.25, early, "1.0.0")),
        batch(30, 40, write("u5", &[("visits", int(1))])),
    ]
}
