//! What is sent again after a crash takes effect once, wherever the crash was.

use super::*;
use crate::model::{Once, RequestId, StreamId};

/// Something that a client does, which it does again after a crash.
enum Sent {
    Request(String, Action),
    Batch(u64, Action),
    Snapshot,
}

fn action(command: Command) -> Action {
    match command {
        Command::Population { action, .. } => action,
        Command::SetLimits(_) => panic!("not for a population"),
    }
}

fn stream() -> StreamId {
    StreamId::new("s").unwrap()
}

fn request(id: impl Into<Box<str>>, action: Action) -> Command {
    Command::Population {
        name: PopulationName::default(),
        once: Some(Once::Request {
            id: RequestId::new(id).unwrap(),
            content: record::content(&action),
        }),
        action,
    }
}

/// Increments, events, erasures and refusals, by ids and in a stream, with three snapshots in
/// between.
fn workload() -> Vec<Sent> {
    let mut sent = vec![Sent::Request("first".into(), action(set("u0", "age", 1)))];
    for number in 1..=24_u64 {
        let user = format!("u{}", number % 3);
        let increment = action(increment(&user, "visits"));
        let today = i64::try_from(number).unwrap();
        // One without an id, which would count again, and one that is a duplicate.
        let events = Action::Write(NonEmpty::one(did(
            &user,
            today,
            &[
                ("visit", today, None),
                ("visit", today, Some("i")),
                ("visit", today, Some("i")),
            ],
        )));
        let id = format!("r{number}");
        sent.push(match number % 8 {
            1 | 5 => Sent::Request(id, increment),
            2 => Sent::Request(id, events),
            6 => Sent::Batch(number * 10, events),
            // Refused: visits are whole numbers by then.
            3 => Sent::Request(
                id,
                Action::Write(NonEmpty::one(UserUpdate {
                    user: UserId::new("refused").unwrap(),
                    value_time: None,
                    changes: vec![Change {
                        property: PropertyName::new("visits").unwrap(),
                        operation: Operation::Set(Value::Bool(true)),
                    }],
                    events: Vec::new(),
                })),
            ),
            4 => Sent::Request(id, Action::Erase(UserId::new(user).unwrap())),
            _ => Sent::Batch(number * 10, increment),
        });
        if number % 8 == 6 {
            sent.push(Sent::Snapshot);
        }
    }
    sent
}

/// Sends everything, as a client that opens the stream first, until the disk fails. Returns the
/// outcomes.
async fn send(engine: &Engine, all: &[Sent]) -> Vec<Result<Committed, CommitError>> {
    let population = engine.population(&PopulationName::default()).unwrap();
    let last = population.last_of_stream(&stream());
    let mut previous = last.map_or(0, |(last, _)| last);
    let mut outcomes = Vec::new();
    for sent in all {
        let command = match sent {
            Sent::Request(id, action) => request(id.as_str(), action.clone()),
            Sent::Batch(sequence, action) => {
                let command = Command::Population {
                    name: PopulationName::default(),
                    once: Some(Once::Batch {
                        stream: stream(),
                        previous,
                        sequence: *sequence,
                    }),
                    action: action.clone(),
                };
                previous = previous.max(*sequence);
                command
            }
            Sent::Snapshot => {
                // That it failed shows when the next command is sent.
                let _ = engine.snapshot().await;
                continue;
            }
        };
        match engine.commit(command).await {
            Err(CommitError::ReadOnly { .. }) => break,
            outcome => outcomes.push(outcome),
        }
    }
    outcomes
}

/// What an outcome is when the command is sent again.
fn again(outcome: &Result<Committed, CommitError>) -> Result<Committed, CommitError> {
    match outcome.clone() {
        Ok(committed) => Ok(Committed {
            replayed: true,
            ..committed
        }),
        Err(CommitError::Refused(refusal)) => Err(CommitError::RefusedBefore(refusal)),
        Err(other) => Err(other),
    }
}

#[tokio::test]
async fn after_a_crash_at_every_operation_everything_can_be_sent_again() {
    let all = workload();
    let plain = {
        let engine = open_on(&LyingDisk::new()).unwrap();
        for sent in &all {
            if let Sent::Request(_, action) | Sent::Batch(_, action) = sent {
                let _ = engine
                    .commit(in_population("default", action.clone()))
                    .await;
            }
        }
        contents(&engine)
    };
    let count = {
        let disk = LyingDisk::new();
        let engine = open_on(&disk).unwrap();
        send(&engine, &all).await;
        assert_eq!(contents(&engine), plain);
        engine.shutdown().await;
        // What is remembered outlives the records that it came from.
        let mut log = disk.files().into_keys();
        assert!(log.all(|path| !path.ends_with("00000000000000000001.log")));
        disk.operations()
    };
    for operation in 1..=count {
        let disk = LyingDisk::new();
        disk.fail_at(operation, Failure::PowerOut);
        let acknowledged = match open_on(&disk) {
            Ok(engine) => {
                let acknowledged = send(&engine, &all).await;
                engine.shutdown().await;
                acknowledged
            }
            Err(_) => Vec::new(),
        };
        let all_or_nothing = [Crash::LosesAll, Crash::KeepsAll];
        for crash in [
            all_or_nothing[usize::from(operation.is_multiple_of(2))],
            Crash::Tears { seed: operation },
        ] {
            let found = disk.after_crash(crash);
            let engine = open_on(&found).unwrap();
            let outcomes = send(&engine, &all).await;
            let context = format!("operation {operation}, {crash:?}");
            assert_eq!(contents(&engine), plain, "{context}");
            for ((outcome, first), sent) in outcomes
                .iter()
                .zip(&acknowledged)
                .zip(all.iter().filter(|sent| !matches!(sent, Sent::Snapshot)))
            {
                match (sent, outcome) {
                    // Of an accepted batch, only that it was accepted is remembered.
                    (Sent::Batch(..), Ok(committed)) => assert!(committed.replayed, "{context}"),
                    _ => assert_eq!(*outcome, again(first), "{context}"),
                }
            }
            // And once more, from another start.
            engine.shutdown().await;
            let engine = open_on(&found).unwrap();
            let outcomes = send(&engine, &all).await;
            assert!(outcomes.iter().all(|outcome| match outcome {
                Ok(committed) => committed.replayed,
                Err(error) => matches!(error, CommitError::RefusedBefore(_)),
            }));
            assert_eq!(contents(&engine), plain, "{context}");
        }
    }
}

#[tokio::test]
async fn a_snapshot_remembers_what_it_shows_while_writes_go_on() {
    const WRITES: u64 = 300;
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    let counted = |user: &str, number: u64| {
        let mut update = did(
            user,
            0,
            &[
                ("visit", 0, None),
                // Each is a duplicate of the one two writes before, except the first two.
                (
                    "login",
                    0,
                    Some(if number.is_multiple_of(2) {
                        "even"
                    } else {
                        "odd"
                    }),
                ),
            ],
        );
        update.changes.push(Change {
            property: PropertyName::new("visits").unwrap(),
            operation: Operation::Increment(Number::Int64(1)),
        });
        Action::Write(NonEmpty::one(update))
    };
    let of_stream = move |number| Command::Population {
        name: PopulationName::default(),
        once: Some(Once::Batch {
            stream: stream(),
            previous: number,
            sequence: number + 1,
        }),
        action: counted("u2", number),
    };
    let by_id = move |number| request(format!("r{number}"), counted("u1", number));
    let writer = tokio::spawn({
        let engine = engine.clone();
        async move {
            for number in 0..WRITES {
                engine.commit(by_id(number)).await.unwrap();
                engine.commit(of_stream(number)).await.unwrap();
            }
        }
    });
    // Of each snapshot what a start from it would find, also when nothing follows it.
    let mut snapshots = 0;
    while !writer.is_finished() {
        engine.snapshot().await.unwrap();
        snapshots += 1;
        let engine = open_on(&disk.after_crash(Crash::LosesAll)).unwrap();
        let count = |user| match value(&engine, user, "visits") {
            Some(Value::Int64(count)) => u64::try_from(count).unwrap(),
            None => 0,
            other => panic!("{other:?}"),
        };
        let population = engine.population(&PopulationName::default()).unwrap();
        let did = |user: &str, name: &str| {
            let user = UserId::new(user).unwrap();
            let events = population.user_events(&user, Timestamp::MAX);
            let events = events.unwrap_or_default().into_iter();
            let mut of_name = events.filter(|event| event.name.as_str() == name);
            of_name.next().map_or(0, |event| event.count)
        };
        let as_written = || {
            let (requests, batches) = (count("u1"), count("u2"));
            assert_eq!(
                (did("u1", "visit"), did("u2", "visit")),
                (requests, batches)
            );
            let logins = (requests.min(2), batches.min(2));
            assert_eq!((did("u1", "login"), did("u2", "login")), logins);
            let login = population.event(&event_name("login"));
            let refused = requests.saturating_sub(2) + batches.saturating_sub(2);
            assert_eq!(login.map_or(0, |login| login.duplicates), refused);
            (requests, batches)
        };
        let (requests, batches) = as_written();
        for number in requests.saturating_sub(1)..=requests {
            let committed = engine.commit(by_id(number)).await.unwrap();
            assert_eq!(committed.replayed, number < requests);
        }
        let last = population.last_of_stream(&stream());
        assert_eq!(last.map_or(0, |(last, _)| last), batches);
        engine.commit(of_stream(batches)).await.unwrap();
        assert_eq!(as_written(), (requests + 1, batches + 1));
    }
    assert!(snapshots > 1);
    writer.await.unwrap();
}
