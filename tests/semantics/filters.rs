//! What filter texts mean, users without values above all: each text beside the users it selects.

use headcount::filter::parse;
use headcount::model::{
    Action, Change, NonEmpty, Operation, PropertyName, Revision, StoreLimits, Text, Timestamp,
    UserId, UserUpdate, Value,
};
use headcount::population::Population;
use headcount::query::{Stop, bind, check, count, members};

/// Four users: `none` has no values at all, and for `one`, `two` and `three` they go up.
fn population() -> Population {
    let text = |text: &str| Text::new(text).unwrap();
    let users: [(&str, Vec<(&str, Value)>); 4] = [
        (
            "one",
            vec![
                ("age", Value::Int64(10)),
                ("plan", Value::String(text("free"))),
                ("name", Value::String(text(""))),
                ("tags", Value::StringSet([text("a")].into())),
                ("app", Value::Version("2.9".parse().unwrap())),
                ("seen", Value::Timestamp("2026-01-01".parse().unwrap())),
                ("vip", Value::Bool(false)),
            ],
        ),
        (
            "two",
            vec![
                ("age", Value::Int64(20)),
                ("plan", Value::String(text("pro"))),
                ("name", Value::String(text("it's"))),
                ("tags", Value::StringSet([text("a"), text("b")].into())),
                ("app", Value::Version("2.10".parse().unwrap())),
                ("seen", Value::Timestamp("2026-02-01".parse().unwrap())),
                ("vip", Value::Bool(true)),
            ],
        ),
        (
            "three",
            vec![
                ("age", Value::Int64(30)),
                ("plan", Value::String(text("team"))),
                ("name", Value::String(text("Zoë"))),
                ("tags", Value::StringSet([text("c")].into())),
                ("app", Value::Version("10".parse().unwrap())),
                ("seen", Value::Timestamp("2026-03-01".parse().unwrap())),
                ("vip", Value::Bool(true)),
            ],
        ),
        ("none", vec![]),
    ];
    let updates = users
        .into_iter()
        .map(|(user, values)| UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: values
                .into_iter()
                .map(|(property, value)| Change {
                    property: PropertyName::new(property).unwrap(),
                    operation: Operation::Set(value),
                })
                .collect(),
            events: Vec::new(),
        })
        .collect();
    let population = Population::new(StoreLimits::default());
    population
        .apply(
            Revision::new(1),
            &Action::Write(NonEmpty::new(updates).unwrap()),
        )
        .unwrap();
    population
}

#[test]
#[rustfmt::skip]
fn each_text_selects_its_users() {
    const EVERYONE: &str = "one two three none";
    selects(&[
        // Comparisons are false without a value, the negated forms are exact complements.
        ("age = 20",                          "two"),
        ("age != 20",                         "one three none"),
        ("NOT age = 20",                      "one three none"),
        ("NOT age != 20",                     "two"),
        ("age < 20",                          "one"),
        ("NOT age < 20",                      "two three none"),
        ("age >= 20",                         "two three"),
        ("NOT age < 20 AND age IS SET",       "two three"),
        ("age IN (10, 30, 99)",               "one three"),
        ("age NOT IN (10, 30, 99)",           "two none"),
        ("NOT age IN (10, 30, 99)",           "two none"),
        ("age BETWEEN 10 AND 20",             "one two"),
        ("age NOT BETWEEN 10 AND 20",         "three none"),
        ("age BETWEEN 20 AND 10",             ""),
        ("age NOT BETWEEN 20 AND 10",         EVERYONE),
        ("age IS SET",                        "one two three"),
        ("age IS NOT SET",                    "none"),
        ("age IS NULL OR age = 10",           "none one"),
        ("age IS NOT NULL AND NOT age = 10",  "two three"),
        ("age > -9223372036854775808",        "one two three"),
        ("age <= 9223372036854775807",        "one two three"),
        // Two truth values.
        ("age < 20 OR NOT age < 20",          EVERYONE),
        ("age < 20 AND NOT age < 20",         ""),
        ("NOT (age < 20 AND vip = TRUE)",     EVERYONE),
        ("NOT age < 20 OR NOT vip = TRUE",    EVERYONE),
        ("TRUE",                              EVERYONE),
        ("FALSE",                             ""),
        ("FALSE OR vip = TRUE",               "two three"),
        // NOT before AND before OR.
        ("age = 10 OR age = 20 AND vip = FALSE",    "one"),
        ("(age = 10 OR age = 20) AND vip = TRUE",   "two"),
        ("NOT age = 10 AND vip = FALSE",            ""),
        ("NOT (age = 10 AND vip = FALSE)",          "two three none"),
        // At least.
        ("AT LEAST 1 OF (age = 10, vip = TRUE)",                      "one two three"),
        ("AT LEAST 2 OF (age >= 20, vip = TRUE, plan = 'team')",      "two three"),
        ("AT LEAST 3 OF (age >= 20, vip = TRUE, plan = 'team')",      "three"),
        ("AT LEAST 2 OF (age != 20, plan != 'pro', tags HAS ANY ('a'))", "one three none"),
        ("NOT AT LEAST 1 OF (age = 10, vip = TRUE)",                  "none"),
        ("AT LEAST 2 OF (age = 10, age = 10)",                        "one"),
        // Texts: the empty one is a value; compared byte for byte.
        ("plan = 'pro'",                      "two"),
        ("plan = 'Pro'",                      ""),
        ("plan != 'Pro'",                     EVERYONE),
        ("name = ''",                         "one"),
        ("name != ''",                        "two three none"),
        ("name = 'it''s' OR name = 'Zoë'",    "two three"),
        ("plan IN ('pro', 'pro')",            "two"),
        // Sets.
        ("tags HAS ANY ('a', 'c')",           "one two three"),
        ("tags HAS ALL ('a', 'b')",           "two"),
        ("tags HAS NONE ('a')",               "three none"),
        ("NOT tags HAS ANY ('a')",            "three none"),
        ("NOT tags HAS ALL ('a', 'b')",       "one three none"),
        ("tags HAS ANY ('unheard of')",       ""),
        ("tags HAS NONE ('unheard of')",      EVERYONE),
        ("tags IS SET",                       "one two three"),
        // Versions: 2.10 is after 2.9.
        ("app > VERSION '2.9'",               "two three"),
        ("app < VERSION '2.10.0-rc.1'",       "one"),
        ("app = VERSION '10.0.0'",            "three"),
        ("app BETWEEN VERSION '2.9.1' AND VERSION '2.99'", "two"),
        // Instants; the question is asked as of 2026-02-15.
        ("seen >= DATE '2026-02-01'",         "two three"),
        ("seen < now()",                      "one two"),
        ("seen >= now() - 14d",               "two three"),
        ("seen >= now() - 2w AND seen <= now()", "two"),
        ("seen > now() + 13d",                "three"),
        ("seen BETWEEN now() - 45d AND now()", "one two"),
        ("seen = TIMESTAMP '2026-02-01T01:00:00+01:00'", "two"),
        // Bools.
        ("vip = TRUE",                        "two three"),
        ("vip = FALSE",                       "one"),
        ("vip != TRUE",                       "one none"),
        ("vip IN (TRUE, FALSE)",              "one two three"),
    ]);
}

fn selects(table: &[(&str, &str)]) {
    let population = population();
    let as_of: Timestamp = "2026-02-15".parse().unwrap();
    for (text, expected) in table {
        let expected: Vec<UserId> = expected
            .split_whitespace()
            .map(|user| UserId::new(user).unwrap())
            .collect();
        let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let bound =
            bind(&population, &expression, as_of).unwrap_or_else(|error| panic!("{text}: {error}"));
        let counted = count(&population, &bound, &Stop::never()).unwrap();
        assert_eq!(counted, expected.len() as u64, "{text}");
        let listed = members(&population, &bound, None, 100, &Stop::never()).unwrap();
        assert_eq!(listed.users.len(), expected.len(), "{text}");
        for user in ["one", "two", "three", "none"] {
            let user = UserId::new(user).unwrap();
            let selected = expected.contains(&user);
            assert_eq!(listed.users.contains(&user), selected, "{text}: {user}");
            let checked = check(&population, &user, std::slice::from_ref(&bound));
            assert_eq!(checked, Some(vec![selected]), "{text}: {user}");
        }
    }
}
