//! Recency, frequency and monetary value of real purchases, beside what a script that knows nothing
//! of Headcount reckoned: `tests/oracle/rfm.py`.

use std::path::Path;

use serde_json::{Value, json};

use crate::service::Service;

const AS_OF: [&str; 2] = ["--as-of", "1998-07-01"];

fn with_purchases() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/cdnow_purchases.csv");
    let imported = service.ask(&[
        "import",
        file.to_str().unwrap(),
        "--events",
        "--ignore",
        "quantity",
        "--retention",
        "36500d",
    ]);
    assert_eq!(imported.code, 0, "{}", imported.err);
    (folder, service)
}

fn expected() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/rfm.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn asked(service: &Service, arguments: &[&str]) -> Value {
    let all = [&["--output", "json"], arguments, &AS_OF].concat();
    let ended = service.ask(&all);
    assert_eq!(ended.code, 0, "{}", ended.err);
    ended.json()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

/// Every filter that is told with a number of users selects so many.
fn filters_select_what_was_told(service: &Service, told: &Value) {
    let scores = told["scores"].as_object().unwrap().values().flat_map(list);
    let parts = scores
        .chain(list(&told["cells"]))
        .chain(list(&told["groups"]));
    for part in [told].into_iter().chain(parts) {
        let filter = part["filter"].as_str().unwrap();
        let counted = asked(service, &["count", filter]);
        assert_eq!(counted["count"], part["users"], "{filter}");
    }
}

fn add_up(told: &Value) {
    let sum = |parts: &Value| -> u64 {
        list(parts)
            .iter()
            .map(|part| part["users"].as_u64().unwrap())
            .sum()
    };
    let all = told["users"].as_u64().unwrap();
    for parts in told["scores"].as_object().unwrap().values() {
        assert_eq!(sum(parts), all, "{parts}");
    }
    assert_eq!(sum(&told["cells"]), all);
    if !list(&told["groups"]).is_empty() {
        assert_eq!(sum(&told["groups"]), all);
    }
}

#[test]
fn scores_and_groups_are_those_of_the_file() {
    let (_folder, service) = with_purchases();
    let told = asked(&service, &["rfm", "purchase"]);
    let expected = expected();
    assert_eq!(told["users"], expected["users"]);
    assert_eq!(told["unit"], "days");
    for kind in ["recency", "frequency", "monetary"] {
        let rows = list(&told["scores"][kind]);
        let users: Vec<&Value> = rows.iter().map(|row| &row["users"]).collect();
        assert_eq!(json!(users), expected["users_by_score"][kind], "{kind}");
        let number = |value: &Value| value.as_f64().unwrap();
        let edges: Vec<f64> = rows[1..].iter().map(|row| number(&row["edge"])).collect();
        let expected: Vec<f64> = list(&expected["edges"][kind]).iter().map(number).collect();
        assert_eq!(edges, expected, "{kind}");
    }
    let cells: Vec<&Value> = list(&told["cells"])
        .iter()
        .map(|cell| &cell["users"])
        .collect();
    let expected_cells: Vec<&Value> = list(&expected["cells"]).iter().flat_map(list).collect();
    assert_eq!(cells, expected_cells);
    let groups = list(&told["groups"]);
    assert_eq!(groups.len(), expected["groups"].as_object().unwrap().len());
    for group in groups {
        let expected = &expected["groups"][group["name"].as_str().unwrap()];
        assert_eq!(group["users"], expected["users"], "{group}");
        let (average, expected) = (group["average"].as_f64(), expected["average"].as_f64());
        let near = average.zip(expected).map(|(a, b)| (a - b).abs() < 1e-9 * b);
        assert!(near.unwrap_or(average == expected), "{group}: {expected:?}");
    }
    add_up(&told);
    filters_select_what_was_told(&service, &told);
}

#[test]
fn windows_filters_and_other_numbers_of_scores_add_up_too() {
    let (_folder, service) = with_purchases();
    let told = asked(
        &service,
        &[
            "rfm",
            "purchase",
            "sum(purchase) > 500 OR count(purchase, 365d) = 2",
            "--window",
            "last 12 months",
            "--quantiles",
            "3",
        ],
    );
    assert_eq!(list(&told["cells"]).len(), 9);
    add_up(&told);
    filters_select_what_was_told(&service, &told);
    // All of them bought within a day, so that days do not tell them apart.
    let told = asked(
        &service,
        &["rfm", "purchase", "last(purchase) >= now() - 1d"],
    );
    assert_eq!(told["unit"], "hours");
    add_up(&told);
    filters_select_what_was_told(&service, &told);
}

#[test]
fn people_see_tables_and_what_to_make_of_them() {
    let (_folder, service) = with_purchases();
    let shown = service.ask(&[&["rfm", "purchase"], &AS_OF[..]].concat());
    for part in [
        "23,570 users as of 1998-07-01T00:00:00Z",
        "score  days since  users",
        "group            filter",
        "champions        last(purchase) >= now() - 141d AND count(purchase) > 2",
    ] {
        assert!(shown.out.contains(part), "{part} in {}", shown.out);
    }
    assert!(
        shown.err.contains("score 1 has 50.5 % of the users")
            && shown.err.contains("nobody has score 2"),
        "{}",
        shown.err
    );
    let nobody = service.ask(&["rfm", "purchase", "--as-of", "1990-01-01"]);
    assert!(
        nobody.code == 0 && nobody.out.contains("nobody: count(purchase) >= 1"),
        "{nobody:?}"
    );
    let unknown = service.ask(&["rfm", "purchas"]);
    assert!(
        unknown.err.contains("did you mean \"purchase\""),
        "{unknown:?}"
    );
    let window = service.ask(&["rfm", "purchase", "--window", "365"]);
    assert!(
        window.code == 2 && window.err.contains("--window"),
        "{window:?}"
    );
    let filter = service.ask(&["rfm", "purchase", "coun(purchase) > 3"]);
    assert!(filter.code == 2 && filter.err.contains('^'), "{filter:?}");
    let summary =
        service.ask(&[&["summarize", "--of", "sum(purchase, 365d)"], &AS_OF[..]].concat());
    assert!(
        summary.out.contains("users with a value     8,332"),
        "{}",
        summary.out
    );
    let wrong = service.ask(&["summarize", "--of", "sum(purchase, 365)"]);
    assert!(wrong.code == 2 && wrong.err.contains('^'), "{wrong:?}");
}
