//! The demo's answers, counted again by looking at each row of the file.

use std::collections::HashMap;

use crate::service::{customers, run};

type Row = HashMap<String, String>;
type Segment = Box<dyn Fn(&Row) -> bool>;

fn rows() -> Vec<Row> {
    let mut reader = csv::Reader::from_path(customers()).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// The same segments as the demo's, written by hand.
fn expected(rows: &[Row]) -> Vec<u64> {
    let is = |row: &Row, column: &str, value: &str| row[column] == value;
    let tenure = |row: &Row| row["tenure"].parse::<u64>().unwrap();
    let segments: Vec<Segment> = vec![
        Box::new(move |row| is(row, "contract", "Month-to-month")),
        Box::new(move |row| is(row, "contract", "One year")),
        Box::new(move |row| is(row, "contract", "Two year")),
        Box::new(move |row| is(row, "internet_service", "Fiber optic")),
        Box::new(move |row| is(row, "internet_service", "DSL")),
        Box::new(move |row| is(row, "internet_service", "No")),
        Box::new(move |row| tenure(row) <= 6),
        Box::new(move |row| (7..=24).contains(&tenure(row))),
        Box::new(move |row| tenure(row) > 24),
        Box::new(move |row| is(row, "payment_method", "Electronic check")),
        Box::new(move |row| !is(row, "payment_method", "Electronic check")),
        Box::new(move |row| is(row, "tech_support", "No") && is(row, "online_security", "No")),
        Box::new(move |row| is(row, "tech_support", "Yes") || is(row, "online_security", "Yes")),
        Box::new(move |row| {
            is(row, "contract", "Month-to-month") && is(row, "internet_service", "Fiber optic")
        }),
        Box::new(move |row| {
            is(row, "contract", "Month-to-month")
                && is(row, "internet_service", "Fiber optic")
                && tenure(row) <= 6
                && is(row, "payment_method", "Electronic check")
        }),
        Box::new(move |row| {
            is(row, "contract", "Two year") && !is(row, "internet_service", "Fiber optic")
        }),
    ];
    let left = |row: &&Row| is(row, "churn", "Yes");
    let mut counts = vec![rows.len() as u64, rows.iter().filter(left).count() as u64];
    for segment in segments {
        counts.push(rows.iter().filter(|row| segment(row)).count() as u64);
        counts.push(rows.iter().filter(|row| segment(row)).filter(left).count() as u64);
    }
    counts
}

#[test]
fn the_answers_are_those_of_the_file() {
    let ended = run(&[
        "--output",
        "json",
        "demo",
        "--exit",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let answers = ended.json();
    assert_eq!(answers["imported"], 7_043);
    let counts = answers["counts"].as_array().unwrap();
    let found: Vec<u64> = counts
        .iter()
        .map(|count| count["count"].as_u64().unwrap())
        .collect();
    assert_eq!(found, expected(&rows()));
    let fiber = counts.iter().find(|count| {
        count["filter"] == "contract = 'Month-to-month' AND internet_service = 'Fiber optic'"
    });
    assert_eq!(fiber.unwrap()["count"], 2_128);
}

#[test]
fn people_see_the_same_and_a_port_in_use_is_no_obstacle() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&["demo", "--exit", "--listen", &address]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    for shown in [
        "7,043 customers",
        "1,869 of them left: 26.5 %",
        "2,128",
        "54.6 %",
        "grpcurl -plaintext",
    ] {
        assert!(
            ended.out.contains(shown),
            "{shown:?} is not in {}",
            ended.out
        );
    }
}
