//! Overlaps and comparisons of the sample customers, counted again by looking at each row of the
//! file.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::service::{Service, customers};

type Row = HashMap<String, String>;

fn rows() -> Vec<Row> {
    let mut reader = csv::Reader::from_path(customers()).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn with_customers() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let imported = service.ask(&["import", customers().to_str().unwrap()]);
    assert_eq!(imported.code, 0);
    (folder, service)
}

fn json_of(service: &Service, arguments: &[&str]) -> Value {
    let format = ["--output", "json"].into_iter();
    let all: Vec<&str> = format.chain(arguments.iter().copied()).collect();
    let ended = service.ask(&all);
    assert_eq!(ended.code, 0, "{}", ended.err);
    ended.json()
}

/// Whether a row has what a finding says.
fn has(row: &Row, found: &Value) -> bool {
    let text = &row[found["property"].as_str().unwrap()];
    if found["not_set"] == true {
        return text.is_empty();
    }
    match (&found["value"], &found["range"]) {
        (Value::String(value), _) => value == text,
        (Value::Bool(value), _) => value.to_string() == *text,
        (Value::Number(value), _) => text.parse::<f64>().ok() == value.as_f64(),
        (_, range) => text.parse::<f64>().is_ok_and(|number| {
            range["from"].as_f64().is_none_or(|from| number >= from)
                && range["to"]
                    .as_f64()
                    .is_none_or(|to| number < to || range["includes_to"] == true && number <= to)
        }),
    }
}

/// The findings of words beside what `tests/oracle/churn.py` works out without Headcount.
fn figures_are_those_of_the_formulas(findings: &[Value]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/churn.ndjson");
    let expected = std::fs::read_to_string(path).unwrap();
    let mut compared = 0;
    for line in expected.lines() {
        let expected: Value = serde_json::from_str(line).unwrap();
        let same = |found: &&Value| {
            let value = &found["value"];
            let text = value.as_str().map(str::to_owned);
            let text = text.unwrap_or_else(|| value.to_string());
            found["property"] == expected["property"] && text == expected["value"]
        };
        let Some(found) = findings.iter().find(same) else {
            // Not significant, or the mirror of the other value.
            let is_bool = ["true", "false"]
                .map(Value::from)
                .contains(&expected["value"]);
            let p_value = expected["p_value"].as_f64().unwrap();
            assert!(is_bool || p_value > 0.01, "{expected}");
            continue;
        };
        compared += 1;
        for name in ["count", "against_count"] {
            assert_eq!(found[name], expected[name], "{found}");
        }
        for path in [
            "/difference/0",
            "/difference/1",
            "/lift",
            "/lift_interval/0",
            "/lift_interval/1",
            "/effect",
            "/p_value",
        ] {
            let number = |of: &Value| of.pointer(path).and_then(Value::as_f64).unwrap();
            let (found, expected) = (number(found), number(&expected));
            assert!(
                (found / expected - 1.0).abs() < 1e-8,
                "{path} of {line}: {found}"
            );
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn why_customers_leave_is_found_without_being_asked_for() {
    let (_folder, service) = with_customers();
    let answer = json_of(&service, &["compare", "churn = 'Yes'", "--top", "1000"]);
    assert!(answer["as_of"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        (
            &answer["users"],
            &answer["against_users"],
            &answer["left_out"]
        ),
        (&json!(1_869), &json!(5_174), &json!(["churn"]))
    );
    let findings = answer["findings"].as_array().unwrap();
    let rank = |property: &str, value: &Value| {
        let place = findings.iter().position(|found| {
            found["property"] == property && (found["value"] == *value || value.is_null())
        });
        place.unwrap_or(usize::MAX)
    };
    assert_eq!(rank("contract", &json!("Month-to-month")), 0);
    assert!(rank("tenure", &Value::Null) < 5, "{findings:?}");
    assert!(
        rank("internet_service", &json!("Fiber optic")) < 5,
        "{findings:?}"
    );
    let first = &findings[0];
    assert_eq!(
        (&first["count"], &first["against_count"]),
        (&json!(1_655), &json!(2_220))
    );
    let close = |value: &Value, expected: f64| {
        assert!(
            (value.as_f64().unwrap() / expected - 1.0).abs() < 1e-9,
            "{value}"
        );
    };
    figures_are_those_of_the_formulas(findings);

    let rows = rows();
    let (left, stayed): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row["churn"] == "Yes");
    assert!(findings.len() > 50);
    for found in findings {
        let count = |side: &[&Row]| side.iter().filter(|row| has(row, found)).count();
        assert_eq!(found["count"], count(&left), "{found}");
        assert_eq!(found["against_count"], count(&stayed), "{found}");
    }
    let properties = answer["properties"].as_array().unwrap();
    let names: Vec<_> = properties
        .iter()
        .map(|property| property["property"].as_str().unwrap())
        .collect();
    assert_eq!(names[..2], ["contract", "tenure"]);
    assert!(names[..6].contains(&"internet_service"));
    close(&properties[0]["effect"], 0.409_798_391_825_53);
    let medians =
        ["statistics", "against_statistics"].map(|side| &properties[1]["numbers"][side]["median"]);
    assert_eq!(medians, [&json!(10.0), &json!(38.0)]);

    let shown = service.ask(&["compare", "churn = 'Yes'", "--top", "5"]).out;
    for part in [
        "1,869 users beside all 5,174 others",
        "contract              Month-to-month  88.6 %  42.9 %    +43.6 to +47.6  2.06x   +0.41  ████",
        "tenure                below 20",
        "internet_service      Fiber optic",
        "median 10",
        "--top N shows more",
        "left out, since the filters test it: churn",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn others_and_properties_can_be_chosen() {
    let (_folder, service) = with_customers();
    let answer = json_of(
        &service,
        &[
            "compare",
            "contract = 'One year'",
            "--against",
            "contract = 'Two year'",
            "--properties",
            "churn,total_charges",
        ],
    );
    assert_eq!(
        (&answer["users"], &answer["against_users"]),
        (&json!(1_473), &json!(1_695))
    );
    let churn = answer["findings"].as_array().unwrap();
    let churn = churn
        .iter()
        .find(|found| found["property"] == "churn")
        .unwrap();
    assert_eq!(
        (&churn["value"], &churn["count"], &churn["against_count"]),
        (&json!("Yes"), &json!(166), &json!(48))
    );
    let compared = answer["properties"].as_array().unwrap();
    let charges = compared
        .iter()
        .find(|one| one["property"] == "total_charges")
        .unwrap();
    assert_eq!(
        (compared.len(), &charges["against_missing"]),
        (2, &json!(10))
    );
    let nobody = service.ask(&["compare", "tenure > 1000"]);
    assert!(
        nobody.out.contains("nothing can be compared with nobody"),
        "{}",
        nobody.out
    );
    let refused = service.ask(&["compare", "TRUE", "--against", "tenure >"]);
    assert!(
        refused.code == 2 && refused.err.contains("  tenure >\n          ^"),
        "{}",
        refused.err
    );
    let refused = service.ask(&["compare", "TRUE", "--top", "0"]);
    assert_eq!(refused.code, 2);
}

#[test]
fn overlaps_are_those_of_the_file() {
    let (_folder, service) = with_customers();
    let filters = [
        "monthly: contract = 'Month-to-month'",
        "fiber: internet_service = 'Fiber optic'",
        "tenure <= 6",
    ];
    let at = ["overlap", "--as-of", "2026-01-31"].into_iter();
    let arguments = at.chain(filters).collect::<Vec<_>>();
    let answer = json_of(&service, &arguments);
    assert_eq!(answer["as_of"], "2026-01-31T00:00:00Z");
    let mut regions: HashMap<Vec<usize>, u64> = HashMap::new();
    for row in rows() {
        let is = [
            row["contract"] == "Month-to-month",
            row["internet_service"] == "Fiber optic",
            row["tenure"].parse::<u32>().unwrap() <= 6,
        ];
        let region = (0..3).filter(|place| is[*place]).collect();
        *regions.entry(region).or_insert(0) += 1;
    }
    assert_eq!(answer["users_in_none"], regions.remove(&vec![]).unwrap());
    let found = answer["regions"].as_array().unwrap();
    assert_eq!(found.len(), regions.len());
    for region in found {
        let selections: Vec<usize> = serde_json::from_value(region["selections"].clone()).unwrap();
        assert_eq!(region["count"], regions[&selections], "{region}");
    }
    let sum = |wanted: &[usize]| -> u64 {
        let inside = |region: &Vec<usize>| wanted.iter().all(|place| region.contains(place));
        regions
            .iter()
            .filter(|(region, _)| inside(region))
            .map(|(_, count)| count)
            .sum()
    };
    for (place, selection) in answer["selections"].as_array().unwrap().iter().enumerate() {
        assert_eq!(selection["count"], sum(&[place]));
        assert_eq!(selection["only_here"], regions[&vec![place]]);
    }
    for (pair, places) in answer["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .zip([[0, 1], [0, 2], [1, 2]])
    {
        assert_eq!(pair["count"], sum(&places));
    }
    assert_eq!(
        answer["reach"][0],
        json!({ "selection": 0, "added": 3_875, "reached": 3_875 })
    );
    assert_eq!(answer["reach"][1]["added"], 968);
    assert_eq!(
        (
            &answer["selections"][0]["name"],
            &answer["selections"][2]["name"]
        ),
        (&json!("monthly"), &Value::Null)
    );

    let shown = service.ask(&arguments).out;
    for part in [
        "monthly  3,875  55.0 %",
        "monthly              -  2,128  54.9 %",
        "monthly + fiber",
        "fiber only",
        "1. monthly         3,875     3,875  55.0 %  ██",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let many: Vec<String> = (0..12).map(|n| format!("tenure > {n}")).collect();
    let arguments = ["overlap"]
        .into_iter()
        .chain(many.iter().map(String::as_str));
    let shown = service.ask(&arguments.collect::<Vec<_>>()).out;
    assert!(
        shown.contains("Jaccard") && shown.contains("46 more pairs"),
        "{shown}"
    );
    let refused = service.ask(&["overlap", "TRUE", "x: tenure >"]);
    assert!(
        refused.code == 2 && refused.err.contains("  tenure >\n          ^"),
        "{}",
        refused.err
    );
    assert_eq!(service.ask(&["overlap", "TRUE"]).code, 2);
}
