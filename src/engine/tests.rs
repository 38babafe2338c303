//! The engine from outside: what is acknowledged stays, on a real disk and on one that lies.

use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::model::{Action, Change, NonEmpty, Operation, PropertyName, UserId, UserUpdate, Value};

fn options(folder: &std::path::Path) -> EngineOptions {
    EngineOptions {
        query_threads: 1,
        log_file_bytes: 4_096,
        ..EngineOptions::new(folder)
    }
}

fn open(folder: &std::path::Path) -> Engine {
    Engine::open(&options(folder), Arc::new(SystemClock)).unwrap()
}

fn set(user: &str, property: &str, value: i64) -> Command {
    Command::Population {
        name: PopulationName::default(),
        action: Action::Write(NonEmpty::one(UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: vec![Change {
                property: PropertyName::new(property).unwrap(),
                operation: Operation::Set(Value::Int64(value)),
            }],
        })),
    }
}

fn value(engine: &Engine, user: &str, property: &str) -> Option<Value> {
    let population = engine.population(&PopulationName::default()).unwrap();
    let user = population.user(&UserId::new(user).unwrap())?;
    user.get(&PropertyName::new(property).unwrap()).cloned()
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let id = engine.store_id();
    for number in 0..300 {
        let user = format!("u{}", number % 50);
        let committed = engine.commit(set(&user, "age", number)).await.unwrap();
        assert_eq!(engine.applied(), committed.revision);
        if number == 100 || number == 200 {
            let info = engine.snapshot().await.unwrap();
            assert_eq!((info.users, info.revision), (50, committed.revision));
        }
    }
    let last = engine.applied();
    engine.shutdown().await;
    assert_eq!(
        engine.commit(set("u1", "age", 1)).await,
        Err(CommitError::Stopping)
    );
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.store_id(), id);
    assert_eq!(engine.applied(), last);
    for number in 250..300 {
        let user = format!("u{}", number % 50);
        assert_eq!(value(&engine, &user, "age"), Some(Value::Int64(number)));
    }
}
