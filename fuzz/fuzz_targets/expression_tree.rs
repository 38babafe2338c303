//! Any expression tree, as it is sent or with some of its bytes changed, is counted or refused with
//! a cause; one that is counted has the same count as the filter text that it stands for.

#![no_main]

use headcount::proto;
use headcount::proto::query_service_server::QueryService;
use headcount::proto::{CountRequest, ExplainRequest, count_request, explain_request};
use headcount::testing::generate::{Choices, Vocabulary, expression};
use headcount::testing::wire;
use headcount_fuzz::{SERVICE, damage, judge};
use libfuzzer_sys::{Corpus, fuzz_target};
use prost::Message;
use tonic::Request;

fn count(selection: count_request::Selection) -> Option<u64> {
    let request = CountRequest {
        selection: Some(selection),
        as_of: Some(prost_types::Timestamp {
            seconds: 1_767_225_600,
            nanos: 0,
        }),
        ..CountRequest::default()
    };
    let answer = SERVICE.wait(QueryService::count(&SERVICE.api, Request::new(request)));
    judge(answer).map(|answer| answer.count)
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let mut choices = Choices::new(bytes);
    let tree = wire::expression(&expression(&mut choices, Vocabulary::Anything));
    let mut sent = tree.encode_to_vec();
    damage(&mut choices, &mut sent);
    let Ok(tree) = proto::Expression::decode(sent.as_slice()) else {
        return Corpus::Reject;
    };
    let explain = ExplainRequest {
        selection: Some(explain_request::Selection::Expression(tree.clone())),
        ..ExplainRequest::default()
    };
    let explained = SERVICE.wait(QueryService::explain(&SERVICE.api, Request::new(explain)));
    let explained = judge(explained);
    let counted = count(count_request::Selection::Expression(tree));
    if let (Some(explained), Some(counted)) = (explained, counted)
        && explained.filter.len() <= 65_536
    {
        let filter = explained.filter;
        let of_text = count(count_request::Selection::Filter(filter.clone()));
        assert_eq!(of_text, Some(counted), "{filter}");
    }
    Corpus::Keep
});
