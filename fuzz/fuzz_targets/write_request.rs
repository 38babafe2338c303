//! A write of any updates, as it is sent or with some of its bytes changed, is applied or refused
//! with a cause; who was named in one that was applied is there afterwards, and sent again with its
//! request id it is answered as the first time.

#![no_main]

use headcount::model::{Action, UserUpdate};
use headcount::proto;
use headcount::proto::ingest_service_server::IngestService;
use headcount::proto::user_service_server::UserService;
use headcount::testing::generate::{Choices, action};
use headcount::testing::wire;
use headcount_fuzz::{SERVICE, damage, judge, request};
use libfuzzer_sys::{Corpus, fuzz_target};
use prost::Message;

/// The updates of the first write that the bytes make.
fn updates(choices: &mut Choices<'_>) -> Option<Vec<UserUpdate>> {
    (0..4).find_map(|_| match action(choices) {
        Action::Write(updates) => Some(updates.into_vec()),
        _ => None,
    })
}

/// Names no input before had, so that its write is no repeat of another one.
fn new_request_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("r{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let mut choices = Choices::new(bytes);
    let Some(updates) = updates(&mut choices) else {
        return Corpus::Reject;
    };
    let message = proto::WriteRequest {
        updates: updates.iter().map(wire::user_update).collect(),
        ..proto::WriteRequest::default()
    };
    let mut bytes = message.encode_to_vec();
    damage(&mut choices, &mut bytes);
    let Some(mut write) = request::<proto::WriteRequest>(&bytes) else {
        return Corpus::Reject;
    };
    let population = write.get_ref().population.clone();
    write.get_mut().request_id = new_request_id();
    let message = write.get_ref().clone();
    let Some(answer) = judge(SERVICE.wait(IngestService::write(&SERVICE.api, write))) else {
        return Corpus::Keep;
    };
    for update in &message.updates {
        let get = proto::GetUserRequest {
            population: population.clone(),
            user_id: update.user_id.clone(),
            ..proto::GetUserRequest::default()
        };
        let got = SERVICE.wait(UserService::get_user(
            &SERVICE.api,
            tonic::Request::new(get),
        ));
        assert!(got.is_ok(), "{got:?} after {message:?}");
    }
    let again = tonic::Request::new(message.clone());
    let again = judge(SERVICE.wait(IngestService::write(&SERVICE.api, again)));
    let again = again.unwrap_or_else(|| panic!("refused when sent again: {message:?}"));
    assert!(again.replayed, "{message:?}");
    assert_eq!(again.revision, answer.revision, "{message:?}");
    Corpus::Keep
});
