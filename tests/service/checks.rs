//! What a check can tell beside yes and no, and the buckets that users are divided into.

use headcount::proto::{
    self, BatchCheckRequest, CheckRequest, CreateSegmentRequest, ExplainRequest,
    ListUserSegmentsRequest, Operator, Segment, explain_request, expression, segment,
};
use tonic::Code;

use crate::harness::{Service, expect_error, int, set};

/// The bucket of 100 by the salt `spring-test`, by Python's hashlib, of some users.
const BUCKETS: [(&str, u32); 20] = [
    ("u1", 67),
    ("u2", 59),
    ("u3", 96),
    ("a user of more than sixteen bytes", 35),
    ("3f2504e0-4f89-41d3-9a0c-0305e82c3301", 6),
    (
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        6,
    ),
    ("日本", 44),
    ("Größe", 44),
    ("user-0", 1),
    ("user-1", 51),
    ("user-2", 20),
    ("user-3", 46),
    ("user-4", 95),
    ("user-5", 56),
    ("user-6", 19),
    ("user-7", 36),
    ("user-8", 12),
    ("user-9", 37),
    ("user-10", 7),
    ("user-11", 10),
];

fn bucket(operator: Operator, numbers: &[u32]) -> proto::Expression {
    proto::Expression {
        kind: Some(expression::Kind::Bucket(proto::BucketPredicate {
            salt: "spring-test".into(),
            buckets: 100,
            operator: operator.into(),
            numbers: numbers.to_vec(),
        })),
    }
}

async fn save(service: &Service, name: &str, filter: &str) {
    let request = CreateSegmentRequest {
        segment: Some(Segment {
            name: name.into(),
            definition: Some(segment::Definition::Filter(filter.into())),
            ..Segment::default()
        }),
        ..CreateSegmentRequest::default()
    };
    service.segments().create_segment(request).await.unwrap();
}

fn below(end: u32) -> Vec<String> {
    let users = BUCKETS.iter().filter(|(_, bucket)| *bucket < end);
    users.map(|(user, _)| (*user).to_owned()).collect()
}

#[tokio::test]
async fn users_are_in_the_buckets_that_any_language_computes() {
    let service = Service::start().await;
    let users = (0_i64..).zip(BUCKETS);
    let users = users.map(|(n, (user, _))| set(user, &[("n", int(n))]));
    service.write(users.collect()).await;
    for end in [0, 10, 50, 99, 100] {
        let filter = format!("bucket('spring-test', 100) < {end}");
        let expected = below(end);
        assert_eq!(service.count(&filter).await, expected.len() as u64);
        assert_eq!(service.members(&filter).await, expected, "{end}");
        let others = format!("n >= 0 AND NOT {filter}");
        let others = service.count(&others).await;
        assert_eq!(others, (BUCKETS.len() - expected.len()) as u64);
    }
    save(
        &service,
        "spring",
        "bucket('spring-test', 100) < 50 AND n >= 3",
    )
    .await;
    for (n, (user, number)) in BUCKETS.into_iter().enumerate() {
        let request = CheckRequest {
            user_id: user.into(),
            expressions: vec![
                bucket(Operator::Equal, &[number]),
                bucket(Operator::NotIn, &[1, number]),
                bucket(Operator::LessOrEqual, &[number]),
                bucket(Operator::Greater, &[number]),
            ],
            segments: vec!["spring".into()],
            ..CheckRequest::default()
        };
        let answer = service.query().check(request).await.unwrap().into_inner();
        let in_spring = number < 50 && n >= 3;
        assert_eq!(
            answer.members,
            [true, false, true, false, in_spring],
            "{user}"
        );
        let request = ListUserSegmentsRequest {
            user_id: user.into(),
            ..ListUserSegmentsRequest::default()
        };
        let answer = service.segments().list_user_segments(request).await;
        let found = answer.unwrap().into_inner().segments;
        assert_eq!(found, vec!["spring"; usize::from(in_spring)], "{user}");
    }
    let request = BatchCheckRequest {
        user_ids: BUCKETS.iter().map(|(user, _)| (*user).to_owned()).collect(),
        filters: vec!["bucket('spring-test', 100) < 50".into()],
        ..BatchCheckRequest::default()
    };
    let answer = service.query().batch_check(request).await.unwrap();
    for (check, (_, number)) in answer.into_inner().users.iter().zip(BUCKETS) {
        assert_eq!(check.members, [number < 50], "{}", check.user_id);
    }

    // Ids are hashed last, however few are expected.
    let request = ExplainRequest {
        selection: Some(explain_request::Selection::Filter(
            "bucket('spring-test', 100) = 1 AND n >= 0 AND n != 3".into(),
        )),
        ..ExplainRequest::default()
    };
    let answer = service.query().explain(request).await.unwrap().into_inner();
    let last = answer.plan.unwrap().children.pop().unwrap();
    assert_eq!(last.description, "bucket('spring-test', 100) = 1");
    assert_eq!(last.access, "hashed ids");

    let request = CheckRequest {
        user_id: "u1".into(),
        expressions: vec![bucket(Operator::Equal, &[100])],
        ..CheckRequest::default()
    };
    expect_error(
        service.query().check(request).await,
        Code::InvalidArgument,
        "INVALID_FIELD",
        Some("expressions[0].bucket.numbers[0]"),
    );
    service.stop().await;
}
