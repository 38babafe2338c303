//! That work ends when nobody wants it any more.

use tokio::sync::mpsc;

use super::*;
use crate::engine::EngineOptions;
use crate::testing::clock::ManualClock;

/// Services with one query thread.
fn services(folder: &tempfile::TempDir) -> Api {
    let options = EngineOptions {
        query_threads: 1,
        ..EngineOptions::new(folder.path().join("data"))
    };
    let clock = Arc::new(ManualClock::new(Timestamp::MIN));
    let engine = Engine::open(&options, clock).unwrap();
    let (_, closing) = tokio::sync::watch::channel(false);
    Api::new(engine, closing, Duration::from_mins(1))
}

fn within(text: &'static str) -> Deadline {
    let mut request = tonic::Request::new(());
    let value = tonic::metadata::MetadataValue::from_static(text);
    request.metadata_mut().insert("grpc-timeout", value);
    Deadline::of(&request)
}

fn never() -> Deadline {
    Deadline::of(&tonic::Request::new(()))
}

/// Work that goes on until it is told to stop; tells when it begins, and how it ended.
fn endless(
    told: mpsc::Sender<&'static str>,
) -> impl FnOnce(&Stop) -> Result<(), ApiError> + Send + 'static {
    move |stop| {
        let _ = told.try_send("began");
        while stop.check().is_ok() {
            std::thread::yield_now();
        }
        let _ = told.try_send("stopped");
        Err(ApiError::deadline())
    }
}

#[tokio::test]
async fn at_its_deadline_a_query_ends_and_its_thread_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let api = services(&folder);
    let (told, mut heard) = mpsc::channel(2);
    let late = api.evaluate(within("30m"), endless(told)).await;
    assert_eq!(late.unwrap_err().reason, Reason::DeadlineExceeded);
    assert_eq!(api.evaluate(never(), |_| Ok(7)).await.unwrap(), 7);
    assert_eq!(heard.recv().await, Some("began"));
    assert_eq!(heard.recv().await, Some("stopped"));
    assert_eq!(api.engine.queries(), 0);
}

#[tokio::test]
async fn a_query_that_was_called_off_ends_and_one_that_waits_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let api = services(&folder);
    let (told, mut heard) = mpsc::channel(2);
    let (other_told, mut other_heard) = mpsc::channel(2);
    let (one, other) = (api.clone(), api.clone());
    let running = tokio::spawn(async move { one.evaluate(never(), endless(told)).await });
    assert_eq!(heard.recv().await, Some("began"));
    let waiting = tokio::spawn(async move { other.step(never(), endless(other_told)).await });
    while api.engine.queries() < 2 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    running.abort();
    assert_eq!(api.evaluate(never(), |_| Ok(7)).await.unwrap(), 7);
    assert_eq!(heard.recv().await, Some("stopped"));
    assert_eq!(other_heard.recv().await, None);
    assert_eq!(api.engine.queries(), 0);
}

#[tokio::test]
async fn steps_leave_threads_for_queries_and_wait_no_longer_than_their_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let api = services(&folder);
    let permit = Arc::clone(&api.steps).acquire_owned().await.unwrap();
    let late = api.step(within("30m"), |_| Ok(())).await;
    assert_eq!(late.unwrap_err().reason, Reason::DeadlineExceeded);
    // Meanwhile queries are answered.
    assert_eq!(api.evaluate(never(), |_| Ok(7)).await.unwrap(), 7);
    drop(permit);
    assert_eq!(api.step(never(), |_| Ok(8)).await.unwrap(), 8);
}

#[tokio::test]
async fn what_is_small_does_not_wait_behind_the_steps_of_what_is_long() {
    let folder = tempfile::tempdir().unwrap();
    let api = services(&folder);
    let _long = Arc::clone(&api.steps).acquire_owned().await.unwrap();
    assert_eq!(api.small_step(never(), |_| Ok(7)).await.unwrap(), 7);
    let small = api.small_steps.clone();
    let _small = small.acquire_many_owned(2).await.unwrap();
    let late = api.small_step(within("30m"), |_| Ok(())).await;
    assert_eq!(late.unwrap_err().reason, Reason::DeadlineExceeded);
}

/// A change of events that was made is acknowledged, whatever there is to do.
#[tokio::test]
async fn a_change_that_was_made_is_not_said_to_be_late() {
    let folder = tempfile::tempdir().unwrap();
    let api = services(&folder);
    let retention = |days: i64| crate::proto::EventDeclaration {
        name: "visit".into(),
        retention: Some(prost_types::Duration {
            seconds: days * 86_400,
            nanos: 0,
        }),
        ..crate::proto::EventDeclaration::default()
    };
    let create = crate::proto::CreateEventRequest {
        event: Some(retention(10)),
        ..crate::proto::CreateEventRequest::default()
    };
    api.event_created(create, never()).await.unwrap();
    let update = |days| crate::proto::UpdateEventRequest {
        event: Some(retention(days)),
        ..crate::proto::UpdateEventRequest::default()
    };
    // While no step can begin, nothing is changed.
    let before = api.engine.applied();
    let busy = api.small_steps.clone().acquire_many_owned(2).await.unwrap();
    let late = api.event_updated(update(20), within("30m")).await;
    assert_eq!(late.unwrap_err().reason, Reason::DeadlineExceeded);
    assert_eq!(api.engine.applied(), before);
    drop(busy);
    let updated = api.event_updated(update(30), never()).await.unwrap();
    let event = updated.event.unwrap();
    assert_eq!(event.retention, retention(30).retention);
    assert_eq!(event.users, 0);
}

/// While the only thread is at work, of what is called off or late nothing is left.
#[tokio::test]
async fn a_query_that_waits_is_forgotten_at_once_with_all_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let api = services(&folder);
    let (told, mut heard) = mpsc::channel(2);
    let one = api.clone();
    let running = tokio::spawn(async move { one.evaluate(never(), endless(told)).await });
    assert_eq!(heard.recv().await, Some("began"));
    let request = Arc::new(());
    let holding = |deadline| {
        let (api, held) = (api.clone(), Arc::clone(&request));
        async move {
            let work = move |_: &Stop| {
                drop(held);
                Ok(())
            };
            api.evaluate(deadline, work).await
        }
    };
    let called_off = tokio::spawn(holding(never()));
    while api.engine.queries() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(Arc::strong_count(&request), 2);
    called_off.abort();
    assert!(called_off.await.unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&request), 1);
    assert_eq!(api.engine.queries(), 1);
    let late = holding(within("30m")).await;
    assert_eq!(late.unwrap_err().reason, Reason::DeadlineExceeded);
    assert_eq!(Arc::strong_count(&request), 1);
    assert_eq!(api.engine.queries(), 1);
    assert_eq!(api.engine.statistics().waiting_queries, 0);
    running.abort();
    assert_eq!(heard.recv().await, Some("stopped"));
}
