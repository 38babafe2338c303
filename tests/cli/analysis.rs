//! Breakdowns and summaries of the sample customers. The numbers were counted with awk on the CSV,
//! as `awk -F, 'NR > 1 && $18 == "true" { n[$17]++ } END { for (k in n) print k, n[k] }'`.

use serde_json::json;

use crate::service::{Service, customers};

fn with_customers() -> (tempfile::TempDir, Service) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("data"));
    let imported = service.ask(&["import", customers().to_str().unwrap()]);
    assert_eq!(imported.code, 0);
    (folder, service)
}

#[test]
fn customers_are_broken_down_and_summarized() {
    let (_folder, service) = with_customers();
    let json = |arguments: &[&str]| {
        let format = ["--output", "json"].into_iter();
        let all: Vec<&str> = format.chain(arguments.iter().copied()).collect();
        let ended = service.ask(&all);
        assert_eq!(ended.code, 0, "{}", ended.err);
        ended.json()
    };

    let answer = json(&[
        "breakdown",
        "--by",
        "contract,tenure",
        "paperless_billing = TRUE",
    ]);
    assert_eq!(answer["users"], 4_171);
    assert_eq!(
        answer["properties"][0],
        json!({
            "property": "contract",
            "missing": 0,
            "distinct_values": 3,
            "values": [
                { "value": "Month-to-month", "count": 2_586 },
                { "value": "One year", "count": 800 },
                { "value": "Two year", "count": 785 },
            ],
        })
    );
    assert_eq!(
        answer["properties"][1]["values"].as_array().unwrap().len(),
        20
    );

    let answer = json(&[
        "summarize",
        "--of",
        "tenure",
        "--percentiles",
        "50",
        "churn = 'Yes'",
    ]);
    let statistics = &answer["statistics"];
    assert_eq!(
        (&answer["users"], &answer["missing"]),
        (&json!(1_869), &json!(0))
    );
    assert_eq!(
        (
            &statistics["min"],
            &statistics["max"],
            &statistics["median"]
        ),
        (&json!(1), &json!(72), &json!(10.0))
    );
    let close = |value: &serde_json::Value, expected: f64| {
        assert!(
            (value.as_f64().unwrap() - expected).abs() < 0.0001,
            "{value}"
        );
    };
    close(&statistics["mean"], 17.9791);
    close(&statistics["standard_deviation"], 19.5259);
    assert_eq!(statistics["skewed"], true);

    let answer = json(&["summarize", "--of", "total_charges"]);
    let statistics = &answer["statistics"];
    assert_eq!(
        (&answer["users"], &answer["missing"]),
        (&json!(7_043), &json!(11))
    );
    close(&statistics["median"], 1_397.475);
    close(&statistics["max"], 8_684.8);

    let answer = json(&["summarize", "--of", "tenure", "--edges", "10,40,50"]);
    let histogram = &answer["statistics"]["histogram"];
    assert_eq!(
        histogram,
        &json!({
            "bins": [
                { "from": 10, "to": 40, "count": 2_368 },
                { "from": 40, "to": 50, "count": 716 },
            ],
            "below": 1_854,
            "above": 2_105,
        })
    );
}

#[test]
fn bars_are_drawn_and_errors_say_what_to_do() {
    let (_folder, service) = with_customers();
    let shown = service
        .ask(&["breakdown", "--by", "contract", "--limit", "2"])
        .out;
    assert!(
        shown.contains("Month-to-month  3,875  55.0 %  ████"),
        "{shown}"
    );
    assert!(
        shown.contains("(1 more value: --limit N shows them)"),
        "{shown}"
    );
    let shown = service.ask(&["summarize", "--of", "tenure", "--edges", "0,20,40,60,80"]);
    for part in [
        "0  20  2,807  39.9 %  ████",
        "60  80  1,483  21.1 %",
        "median",
        "7,043 users",
    ] {
        assert!(shown.out.contains(part), "{part} in {}", shown.out);
    }
    let refused = service.ask(&["summarize", "--of", "contract"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("a breakdown counts its values"),
        "{}",
        refused.err
    );
    let refused = service.ask(&["breakdown", "--by", "contarct"]);
    assert!(
        refused.err.contains("did you mean \"contract\""),
        "{}",
        refused.err
    );
}
