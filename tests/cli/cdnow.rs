//! Real purchases, imported by the command and asked about as clients do: the answers are those of
//! `tests/oracle/cdnow.py`, which counts in the file without Headcount.

use std::path::Path;

use headcount::model::Timestamp;
use headcount::proto::query_service_client::QueryServiceClient;
use headcount::proto::{
    CheckRequest, CountRequest, ListMembersRequest, count_request, list_members_request,
};
use tonic::transport::Channel;

use crate::service::Service;

const NAMED: [&str; 5] = [
    "cdnow-00001",
    "cdnow-00004",
    "cdnow-00111",
    "cdnow-07592",
    "cdnow-14048",
];

/// A line of the script.
struct Expected<'a> {
    as_of: &'a str,
    filter: &'a str,
    count: u64,
    /// Those of [`NAMED`] who are members.
    named: Vec<&'a str>,
}

fn expected(line: &str) -> Expected<'_> {
    let parts: Vec<&str> = line.split('\t').collect();
    let [as_of, filter, count, named] = parts[..] else {
        panic!("{line}");
    };
    Expected {
        as_of,
        filter,
        count: count.parse().unwrap(),
        named: named.split(',').filter(|name| *name != "-").collect(),
    }
}

fn instant(text: &str) -> prost_types::Timestamp {
    let micros = text.parse::<Timestamp>().unwrap().micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap(),
    }
}

async fn count(client: &mut QueryServiceClient<Channel>, line: &Expected<'_>) -> u64 {
    let request = CountRequest {
        selection: Some(count_request::Selection::Filter(line.filter.into())),
        as_of: Some(instant(line.as_of)),
        ..CountRequest::default()
    };
    client.count(request).await.unwrap().into_inner().count
}

async fn members(client: &mut QueryServiceClient<Channel>, line: &Expected<'_>) -> Vec<String> {
    let mut request = ListMembersRequest {
        selection: Some(list_members_request::Selection::Filter(line.filter.into())),
        as_of: Some(instant(line.as_of)),
        page_size: 10_000,
        ..ListMembersRequest::default()
    };
    let mut members = Vec::new();
    loop {
        let page = client.list_members(request.clone()).await.unwrap();
        let page = page.into_inner();
        members.extend(page.user_ids);
        if page.next_page_token.is_empty() {
            return members;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn answers_about_real_purchases_are_those_of_a_script_that_counts_in_the_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut service = Service::start(&data);
    let file = root.join("data/cdnow_purchases.csv");
    let import = ["import", file.to_str().unwrap(), "--events"];
    let options = ["--ignore", "quantity", "--retention", "36500d"];
    let imported = service.ask(&[&import[..], &options].concat());
    assert_eq!(imported.code, 0, "{imported:?}");

    let printed = std::fs::read_to_string(root.join("tests/oracle/cdnow_expected.tsv")).unwrap();
    let lines: Vec<_> = printed.lines().map(expected).collect();
    assert!(lines.len() > 100);
    // The second time from a snapshot, and all in the other order.
    for is_restarted in [false, true] {
        if is_restarted {
            assert_eq!(service.ask(&["snapshot"]).code, 0);
            service.kill();
            service = Service::start(&data);
        }
        let mut client = QueryServiceClient::connect(service.address().to_owned())
            .await
            .unwrap();
        for number in 0..lines.len() {
            let number = if is_restarted {
                lines.len() - 1 - number
            } else {
                number
            };
            let line = &lines[number];
            let asked = format!("{} {}", line.as_of, line.filter);
            assert_eq!(count(&mut client, line).await, line.count, "{asked}");
            for user in NAMED {
                let request = CheckRequest {
                    user_id: user.into(),
                    filters: vec![line.filter.into()],
                    as_of: Some(instant(line.as_of)),
                    ..CheckRequest::default()
                };
                let answer = client.check(request).await.unwrap().into_inner();
                let is_member = line.named.contains(&user);
                assert_eq!(answer.members, [is_member], "{asked} {user}");
            }
            if is_restarted {
                continue;
            }
            let members = members(&mut client, line).await;
            assert_eq!(members.len() as u64, line.count, "{asked}");
            for user in NAMED {
                let is_listed = members.iter().any(|member| member == user);
                assert_eq!(is_listed, line.named.contains(&user), "{asked} {user}");
            }
        }
    }
    let verified = service.ask(&["verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}
