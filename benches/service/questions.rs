//! Questions asked over gRPC: that they have the engine's answers, and what they cost above the
//! empty call.

use std::time::{Duration, Instant};

use headcount::filter;
use headcount::model::{PropertyName, Timestamp, UserId};
use headcount::population::Population;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::{
    BatchCheckRequest, BreakdownRequest, CountRequest, SummarizeRequest, breakdown_request,
    count_request, summarize_request,
};
use headcount::query::{
    Bound, HistogramBins, Stop, bind, breakdown, check, check_many, count, summarize,
};
use tonic::transport::Channel;

use crate::checks;
use crate::empty::EmptyClient;
use crate::host::Host;
use crate::measure::{Times, short};
use crate::world::{NOW, country_name, user_id};

/// Filters that users are checked against. None depends on the clock.
pub const SEGMENTS: [&str; 10] = [
    "plan = 'free'",
    "country IN ('C000', 'C001', 'C002') AND subscriber = TRUE",
    "age >= 25 AND age < 35",
    "amount > 100.0 OR plan = 'enterprise'",
    "tags HAS ANY ('tag-000', 'tag-001')",
    "NOT last_seen < TIMESTAMP '2025-12-02'",
    "os = 'ios' AND NOT gender = 'male'",
    "language != 'l00' AND plan IN ('pro', 'basic')",
    "tags HAS ALL ('tag-000', 'tag-002')",
    "signed_up >= TIMESTAMP '2025-12-02' AND os = 'android'",
];
const SEGMENT: &str = "plan = 'free' AND subscriber = TRUE";
const WINDOW: Duration = Duration::from_secs(1);

type Query = QueryServiceClient<Channel>;

fn countries() -> String {
    let names: Vec<String> = (0..20)
        .map(|n| format!("'{}'", country_name(n * 3)))
        .collect();
    format!("country IN ({})", names.join(", "))
}

fn counted() -> [(&'static str, String); 4] {
    [
        ("Count of one value", "plan = 'free'".into()),
        ("Count of an AND of 2", SEGMENT.into()),
        ("Count of a list of 20", countries()),
        ("Count of a range", "age >= 25 AND age < 35".into()),
    ]
}

fn counting(text: &str) -> CountRequest {
    CountRequest {
        selection: Some(count_request::Selection::Filter(text.into())),
        ..Default::default()
    }
}

fn checking(users: u64, some: u64) -> BatchCheckRequest {
    let step = (users / some).max(1);
    BatchCheckRequest {
        user_ids: (0..some).map(|n| user_id(n * step % users)).collect(),
        filters: SEGMENTS.map(String::from).to_vec(),
        ..Default::default()
    }
}

/// A request to break down the users of a filter.
pub fn breaking_down(text: &str, property: &str, limit: i32) -> BreakdownRequest {
    BreakdownRequest {
        selection: Some(breakdown_request::Selection::Filter(text.into())),
        properties: vec![property.into()],
        limit,
        ..Default::default()
    }
}

fn summarizing() -> SummarizeRequest {
    SummarizeRequest {
        selection: Some(summarize_request::Selection::Filter(SEGMENT.into())),
        property: "age".into(),
        ..Default::default()
    }
}

fn bound(population: &Population, text: &str) -> Bound {
    let now = Timestamp::from_micros(NOW * 1_000_000).expect("an instant of this century");
    let expression = filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    bind(population, &expression, now).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Asserts that clients are told what the engine says.
pub async fn same_answers(host: &Host, users: u64) {
    let population = host.population();
    let mut query = Query::new(host.connect().await);
    let stop = Stop::never();
    for (_, text) in counted() {
        let found = query.count(counting(&text)).await.expect("an answer");
        let expected = count(&population, &bound(&population, &text), &stop);
        let expected = expected.expect("no deadline");
        assert_eq!(found.into_inner().count, expected, "{text}");
    }
    let bounds: Vec<Bound> = SEGMENTS
        .iter()
        .map(|text| bound(&population, text))
        .collect();
    for user in [0, users / 2, users - 1] {
        let request = checks::request(user, SEGMENTS.len());
        let found = query.check(request).await.expect("an answer").into_inner();
        let id = UserId::new(user_id(user)).expect("a short id");
        let expected = check(&population, &id, &bounds);
        assert_eq!(Some(found.members), expected, "user {user}");
    }
    let request = checking(users, 1_000);
    let ids: Vec<UserId> = request
        .user_ids
        .iter()
        .map(|id| UserId::new(id.as_str()).expect("a short id"))
        .collect();
    let ids: Vec<&UserId> = ids.iter().collect();
    let found = query.batch_check(request).await.expect("an answer");
    let found = found.into_inner().users.into_iter();
    let found: Vec<_> = found.map(|user| Some(user.members)).collect();
    let expected = check_many(&population, &ids, &bounds, &stop);
    assert_eq!(found, expected.expect("no deadline"));

    let segment = bound(&population, SEGMENT);
    let country = [PropertyName::new("country").expect("a good name")];
    let found = query
        .breakdown(breaking_down(SEGMENT, "country", 200))
        .await;
    let found = found.expect("an answer").into_inner();
    let expected = breakdown(&population, &segment, &country, Some(200), &stop);
    let expected = expected.expect("no deadline");
    assert_eq!(found.users, expected.users);
    let found = found.properties[0].values.iter().map(|value| value.count);
    let expected = expected.properties[0].values.iter();
    assert!(found.eq(expected.map(|value| value.count)));

    let age = PropertyName::new("age").expect("a good name");
    let bins = HistogramBins::Suitable;
    let found = query.summarize(summarizing()).await.expect("an answer");
    let found = found.into_inner().statistics.expect("some users");
    let expected = summarize(&population, &segment, &age.into(), &[], &bins, &stop);
    let expected = expected.expect("no deadline").statistics;
    let expected = expected.expect("some users");
    let wire = headcount::testing::wire::value;
    let of_engine = [&expected.mean, &expected.median].map(wire);
    assert_eq!([found.mean, found.median], of_engine.map(Some));
}

enum Question {
    Count(CountRequest),
    BatchCheck(BatchCheckRequest),
    Breakdown(BreakdownRequest),
    Summarize(SummarizeRequest),
}

impl Question {
    async fn ask(&self, query: &mut Query) -> Duration {
        // What a client does to make its request is not part of the call.
        match self {
            Self::Count(request) => time(query.count(request.clone())).await,
            Self::BatchCheck(request) => time(query.batch_check(request.clone())).await,
            Self::Breakdown(request) => time(query.breakdown(request.clone())).await,
            Self::Summarize(request) => time(query.summarize(request.clone())).await,
        }
    }
}

async fn time<T, E: std::fmt::Debug>(call: impl Future<Output = Result<T, E>>) -> Duration {
    let start = Instant::now();
    let answer = call.await;
    let elapsed = start.elapsed();
    answer.expect("an answer");
    elapsed
}

pub async fn measure(host: &Host, users: u64) {
    let mut query = Query::new(host.connect().await);
    let mut empty = EmptyClient::new(host.connect_empty().await);
    let mut questions = vec![
        (
            "BatchCheck, 1,000 users x 10 filters",
            Question::BatchCheck(checking(users, 1_000)),
        ),
        (
            "BatchCheck, 100 users x 10 filters",
            Question::BatchCheck(checking(users, 100)),
        ),
    ];
    for (name, text) in counted() {
        questions.push((name, Question::Count(counting(&text))));
    }
    questions.push((
        "Breakdown by 200 countries",
        Question::Breakdown(breaking_down(SEGMENT, "country", 200)),
    ));
    questions.push(("Summarize of age", Question::Summarize(summarizing())));
    println!(
        "{:<38} {:>11} {:>11} {:>11}",
        "1 in flight, median", "empty call", "call", "above empty"
    );
    for (name, question) in questions {
        let (mut times, mut empties) = (Times::default(), Times::default());
        let start = Instant::now();
        while start.elapsed() < WINDOW {
            let call = Instant::now();
            empty.call().await;
            empties.push(call.elapsed());
            times.push(question.ask(&mut query).await);
        }
        let (median, nothing) = (times.median(), empties.median());
        println!(
            "{name:<38} {:>11} {:>11} {:>11}",
            short(nothing),
            short(median),
            short(median.saturating_sub(nothing)),
        );
    }
    println!();
}
