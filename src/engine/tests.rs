//! The engine from outside: what is acknowledged stays, on a real disk and on one that lies.

mod backup;
mod once;
mod repair;
mod rooms;
mod slow;
mod verify;

use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::model::{
    Action, Amount, Change, Event, EventDeclaration, EventId, EventName, NonEmpty, Number,
    Operation, PropertyDeclaration, PropertyName, Span, Timestamp, UserId, UserUpdate, Value,
    ValueType,
};
use crate::storage::{DiskOperation, EntryKind};
use crate::testing::disk::{Crash, Failure, LyingDisk};

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
        once: None,
        action: Action::Write(NonEmpty::one(UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: vec![Change {
                property: PropertyName::new(property).unwrap(),
                operation: Operation::Set(Value::Int64(value)),
            }],
            events: Vec::new(),
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

/// Something that a workload does.
#[derive(Clone, Debug)]
enum Step {
    Commit(Command),
    Snapshot,
}

fn in_population(name: &str, action: Action) -> Command {
    Command::Population {
        name: PopulationName::new(name).unwrap(),
        once: None,
        action,
    }
}

fn increment(user: &str, property: &str) -> Command {
    let mut command = set(user, property, 0);
    if let Command::Population {
        action: Action::Write(updates),
        ..
    } = &mut command
    {
        let mut update = updates[0].clone();
        update.changes[0].operation = Operation::Increment(Number::Int64(1));
        *updates = NonEmpty::one(update);
    }
    command
}

/// The beginning of a day, of which there are enough.
fn day(number: i64) -> Timestamp {
    Timestamp::from_micros(1_790_035_200_000_000 + number * 86_400_000_000).unwrap()
}

fn event_name(name: &str) -> EventName {
    EventName::new(name).unwrap()
}

/// What a user did: names, days and ids, all received on some day.
fn did(user: &str, received: i64, events: &[(&str, i64, Option<&str>)]) -> UserUpdate {
    let events = events.iter().map(|(name, at, id)| Event {
        name: event_name(name),
        time: Some(day(*at)),
        received: day(received),
        amount: (at % 2 == 0).then(|| Amount::from_millionths(at * 1_250_000).unwrap()),
        id: id.map(|id| EventId::new(id).unwrap()),
    });
    UserUpdate {
        user: UserId::new(user).unwrap(),
        value_time: None,
        changes: Vec::new(),
        events: events.collect(),
    }
}

fn kept_for(name: &str, days: i64) -> EventDeclaration {
    EventDeclaration {
        name: event_name(name),
        retention: Span::from_micros(days * 86_400_000_000).unwrap(),
    }
}

/// Events of two users: some are duplicates, too old or too far ahead, and those of the user from
/// days ago go when these of today come.
fn events(user: &str, today: i64) -> Action {
    let id = format!("id-{}", today / 16);
    let mut first = did(
        user,
        today,
        &[
            ("purchase", today, Some(&id)),
            ("purchase", today, Some(&id)),
            ("visit", today - 1, None),
            ("visit", today - 450, None),
            ("login", today + 9, None),
        ],
    );
    first.changes.push(Change {
        property: PropertyName::new("visits").unwrap(),
        operation: Operation::Increment(Number::Int64(1)),
    });
    let of_another = [
        ("purchase", today / 16 * 2, Some(&*id)),
        ("login", today, None),
        ("visit", today - 2, None),
    ];
    let second = did("u3", today, &of_another);
    Action::Write(NonEmpty::new(vec![first, second]).unwrap())
}

/// Writes, events, refusals, erasures, two populations, declarations, and three snapshots in between.
fn workload() -> Vec<Step> {
    let mut steps = Vec::new();
    for number in 0..32_i64 {
        let user = format!("u{}", number % 7);
        steps.push(Step::Commit(match number % 8 {
            0 | 3 => increment(&user, "visits"),
            1 => set(&user, "age", number),
            2 => in_population(
                "drivers",
                Action::CreateProperty(PropertyDeclaration {
                    name: PropertyName::new(format!("p{number}")).unwrap(),
                    value_type: ValueType::Bool,
                    case_insensitive: false,
                }),
            ),
            // Refused: ages are whole numbers by then.
            4 => in_population(
                "default",
                Action::Write(NonEmpty::one(UserUpdate {
                    user: UserId::new("refused").unwrap(),
                    value_time: None,
                    changes: vec![Change {
                        property: PropertyName::new("age").unwrap(),
                        operation: Operation::Set(Value::Bool(true)),
                    }],
                    events: Vec::new(),
                })),
            ),
            5 => in_population("default", Action::Erase(UserId::new(user).unwrap())),
            6 => in_population("default", events(&user, number)),
            _ => in_population(
                "default",
                match number {
                    7 => Action::UpdateEvent(kept_for("visit", 10)),
                    15 => Action::CreateEvent(kept_for("signup", 30)),
                    23 => Action::UpdateEvent(kept_for("visit", 3)),
                    _ => Action::DeleteEvent(event_name("login")),
                },
            ),
        }));
        if number % 9 == 5 {
            steps.push(Step::Snapshot);
        }
    }
    steps
}

/// Everything that can be read, in a form that can be compared.
fn contents(engine: &Engine) -> String {
    let mut lines = Vec::new();
    for (name, population) in engine.populations() {
        lines.push(format!("{name} {}", population.user_count()));
        for property in population.properties() {
            lines.push(format!("{name} {property:?}"));
        }
        for event in population.events() {
            lines.push(format!("{name} {event:?}"));
        }
        for number in 0..7 {
            let user = UserId::new(format!("u{number}")).unwrap();
            lines.push(format!("{name} {user} {:?}", population.user(&user)));
            let events = population.user_events(&user, Timestamp::MAX);
            lines.push(format!("{name} {user} {events:?}"));
        }
        let refused = UserId::new("refused").unwrap();
        assert_eq!(population.user(&refused), None);
    }
    lines.join("\n")
}

fn small() -> EngineOptions {
    EngineOptions {
        query_threads: 1,
        log_file_bytes: 300,
        snapshot_interval: None,
        ..EngineOptions::new("/data")
    }
}

fn open_on(disk: &LyingDisk) -> Result<Engine, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Engine::open_on(&disk, &small(), Arc::new(SystemClock))
}

/// What becomes of the workload on a disk that fails at some point: the contents after each
/// acknowledged step, from the empty store on, and whether a command was left in doubt.
struct Run {
    acknowledged: usize,
    in_doubt: bool,
    /// What the engine said at the end, and what had failed by then.
    state: Option<(State, Option<DiskOperation>)>,
}

async fn run(disk: &LyingDisk, steps: &[Step]) -> Run {
    let mut run = Run {
        acknowledged: 0,
        in_doubt: false,
        state: None,
    };
    let Ok(engine) = open_on(disk) else {
        return run;
    };
    for step in steps {
        match step {
            Step::Commit(command) => match engine.commit(command.clone()).await {
                Ok(_) | Err(CommitError::Refused(_)) => {
                    assert!(!run.in_doubt, "acknowledged after a failure");
                    run.acknowledged += 1;
                }
                Err(CommitError::ReadOnly { .. }) => run.in_doubt = true,
                // The rest of the workload makes no sense without it.
                Err(CommitError::Full { .. }) => break,
                Err(other) => panic!("{other}"),
            },
            Step::Snapshot => {
                // That it failed shows in the state, if it matters.
                let _ = engine.snapshot().await;
            }
        }
    }
    run.state = Some((engine.state(), disk.failed()));
    engine.shutdown().await;
    run
}

/// The contents after each command of the workload, the empty store first.
async fn expected(steps: &[Step]) -> Vec<String> {
    let engine = open_on(&LyingDisk::new()).unwrap();
    let mut contents_after = vec![contents(&engine)];
    for step in steps {
        if let Step::Commit(command) = step {
            let _ = engine.commit(command.clone()).await;
            contents_after.push(contents(&engine));
        }
    }
    contents_after
}

/// Lets the power go out at every operation of the workload on a new disk. Says what was lost
/// first, if anything was.
async fn crash_everywhere(new_disk: impl Fn() -> LyingDisk) -> Result<(), String> {
    let steps = workload();
    let expected = expected(&steps).await;
    let count = {
        let disk = new_disk();
        let run = run(&disk, &steps).await;
        assert_eq!(run.acknowledged, expected.len() - 1);
        disk.operations()
    };
    for operation in 1..=count {
        let disk = new_disk();
        disk.fail_at(operation, Failure::PowerOut);
        let run = run(&disk, &steps).await;
        for crash in [
            Crash::LosesAll,
            Crash::KeepsAll,
            Crash::Tears { seed: operation },
            Crash::Tears {
                seed: operation + 1_000_000,
            },
        ] {
            let found = disk.after_crash(crash);
            let engine = open_on(&found)
                .map_err(|error| format!("operation {operation}, {crash:?}: {error}"))?;
            let contents = contents(&engine);
            let in_doubt = usize::from(run.in_doubt);
            if !expected[run.acknowledged..=run.acknowledged + in_doubt].contains(&contents) {
                return Err(format!(
                    "operation {operation}, {crash:?}: after {} commands\n{contents}",
                    run.acknowledged
                ));
            }
        }
    }
    Ok(())
}

/// That the workload has what it is there for.
#[tokio::test]
async fn the_workload_has_events_of_every_fate() {
    let expected = expected(&workload()).await;
    let engine = open_on(&LyingDisk::new()).unwrap();
    run_all(&engine).await;
    assert_eq!(Some(&contents(&engine)), expected.last());
    let population = engine.population(&PopulationName::default()).unwrap();
    let info = |name| population.event(&event_name(name));
    let purchase = info("purchase").unwrap();
    // Of u6, u0, u1 and u2 one each, of whom three were erased, and of u3 one for each id.
    assert_eq!((purchase.events, purchase.duplicates), (1 + 2, 4 + 2));
    let visit = info("visit").unwrap();
    // Of u2 and u3; those of u3 from before went.
    assert_eq!((visit.events, visit.too_old), (2, 4));
    assert_eq!(visit.kept_from, Some(day(27)));
    assert_eq!(info("login"), None);
    assert_eq!(info("signup").unwrap().events, 0);
}

/// Does everything of the workload.
async fn run_all(engine: &Engine) {
    for step in workload() {
        match step {
            Step::Commit(command) => {
                let _ = engine.commit(command).await;
            }
            Step::Snapshot => {
                engine.snapshot().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_crash_at_every_operation_loses_nothing_acknowledged() {
    crash_everywhere(LyingDisk::new).await.unwrap();
}

#[tokio::test]
async fn crashes_show_when_syncs_of_files_or_folders_do_nothing() {
    for kind in [EntryKind::File, EntryKind::Folder] {
        let outcome = crash_everywhere(|| {
            // Honest until the folder is made, so that only what is written to it can be lost.
            let disk = LyingDisk::new();
            drop(open_on(&disk).unwrap());
            disk.ignore_syncs(kind);
            disk
        });
        let lost = outcome.await.unwrap_err();
        assert!(lost.contains(" commands\n"), "{kind:?}: {lost}");
    }
}

/// Lets every operation of the workload fail once: nothing acknowledged is lost, nothing refused for
/// want of space is done, and the state says what follows from it. Returns how often the store
/// became read-only, and how often the disk was found full.
async fn fail_everywhere(failure: Failure) -> (u32, u32) {
    let steps = workload();
    let expected = expected(&steps).await;
    let count = {
        let disk = LyingDisk::new();
        run(&disk, &steps).await;
        disk.operations()
    };
    let (mut read_only, mut full) = (0, 0);
    for operation in 1..=count {
        let disk = LyingDisk::new();
        disk.fail_at(operation, failure);
        let run = run(&disk, &steps).await;
        match &run.state {
            Some((State::ReadOnly { .. }, _)) => read_only += 1,
            Some((State::Full { .. }, failed)) => {
                assert!(failure == Failure::Full && !run.in_doubt, "{operation}");
                assert_ne!(*failed, Some(DiskOperation::Sync), "{operation}");
                full += 1;
            }
            Some((State::Serving, failed)) => {
                assert!(!run.in_doubt, "{operation}");
                assert_ne!(*failed, Some(DiskOperation::Sync), "{operation}");
                assert_eq!(run.acknowledged, expected.len() - 1, "{operation}");
            }
            Some((State::Stopping, _)) | None => assert_eq!(run.acknowledged, 0, "{operation}"),
        }
        let found = disk.after_crash(Crash::LosesAll);
        let engine = open_on(&found)
            .unwrap_or_else(|error| panic!("operation {operation}, {failure:?}: {error}"));
        let in_doubt = usize::from(run.in_doubt);
        assert!(
            expected[run.acknowledged..=run.acknowledged + in_doubt].contains(&contents(&engine)),
            "operation {operation}, {failure:?}"
        );
    }
    (read_only, full)
}

#[tokio::test]
async fn a_failed_disk_refuses_writes_for_good_and_goes_on_reading() {
    let (read_only, full) = fail_everywhere(Failure::Io).await;
    assert!(read_only > 50, "{read_only}");
    assert_eq!(full, 0);
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_moment_acknowledges_nothing_that_it_refuses() {
    let (read_only, full) = fail_everywhere(Failure::Full).await;
    // Some of the operations are syncs, whose failure is final.
    assert!(read_only > 20 && full > 2, "{read_only}, {full}");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_but_not_erasures_and_takes_writes_when_there_is_space() {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    for number in 0..5 {
        let user = format!("u{number}");
        engine.commit(set(&user, "age", number)).await.unwrap();
    }
    disk.set_capacity(Some(disk.used()));
    let mut written = 5;
    let refused = loop {
        let user = format!("u{}", written % 5);
        match engine.commit(set(&user, "age", written)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CommitError::Full { .. }), "{refused}");
    assert!(matches!(engine.state(), State::Full { .. }));
    let again = engine.commit(set("u1", "age", 0)).await.unwrap_err();
    assert!(matches!(again, CommitError::Full { .. }), "{again}");
    // Reads go on, and erasures.
    let last = usize::try_from(written - 1).unwrap() % 5;
    let user = format!("u{last}");
    assert_eq!(
        value(&engine, &user, "age"),
        Some(Value::Int64(written - 1))
    );
    let erase = |user: &str| in_population("default", Action::Erase(UserId::new(user).unwrap()));
    let erased = engine.commit(erase("u1")).await.unwrap();
    assert!(erased.changes.erased);
    assert_eq!(value(&engine, "u1", "age"), None);
    // A snapshot does not fit, and leaves nothing behind.
    let bytes = disk.used();
    let snapshot = engine.snapshot().await.unwrap_err();
    assert_eq!(snapshot.reason(), crate::model::Reason::StorageFull);
    assert_eq!(disk.used(), bytes);
    assert!(matches!(engine.state(), State::Full { .. }));

    disk.set_capacity(None);
    let mut state = engine.watch_state();
    state.wait_for(|s| *s == State::Serving).await.unwrap();
    engine.commit(set("u1", "age", 7)).await.unwrap();
    let before = contents(&engine);
    engine.shutdown().await;
    let engine = open_on(&disk.after_crash(Crash::LosesAll)).unwrap();
    assert_eq!(contents(&engine), before);
}

#[tokio::test]
async fn a_damaged_byte_anywhere_is_refused_or_changes_nothing() {
    let steps = workload();
    let expected = expected(&steps).await;
    let disk = LyingDisk::new();
    run(&disk, &steps).await;
    let files = disk.files();
    assert!(
        files
            .keys()
            .any(|path| path.starts_with("/data/snapshots/"))
    );
    let (mut refused, mut fell_back) = (0, 0);
    for (path, bytes) in files {
        for position in 0..bytes.len() {
            let copy = disk.copy();
            copy.tamper(&path, |bytes| bytes[position] ^= 1 << (position % 8));
            match open_on(&copy) {
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("/data/"), "{text}");
                    refused += 1;
                }
                Ok(engine) => {
                    let contents = contents(&engine);
                    assert_eq!(Some(&contents), expected.last(), "{}", path.display());
                    drop(engine);
                    let is_aside = |path: &PathBuf| path.starts_with("/data/set-aside");
                    fell_back += usize::from(copy.files().keys().any(is_aside));
                }
            }
        }
    }
    assert!(refused > 100 && fell_back > 100, "{refused} {fell_back}");
}

#[tokio::test]
async fn two_damaged_snapshots_are_refused_once_the_log_is_trimmed() {
    let disk = LyingDisk::new();
    run(&disk, &workload()).await;
    let manifests: Vec<_> = disk
        .files()
        .into_keys()
        .filter(|path| path.ends_with("manifest"))
        .collect();
    assert_eq!(manifests.len(), 2);
    for manifest in &manifests {
        disk.tamper(manifest, |bytes| bytes[30] ^= 1);
    }
    // The spare file of the log holds nothing.
    let kept = || {
        let mut files = disk.files();
        files.retain(|path, _| path.extension().is_some() || !path.starts_with("/data/log"));
        files
    };
    let before = kept();
    let error = open_on(&disk).unwrap_err();
    assert!(
        matches!(error, OpenError::NothingToFallBackTo { .. }),
        "{error}"
    );
    assert!(kept() == before, "something was changed");
}

#[tokio::test]
async fn limits_in_force_are_those_of_the_log_until_they_are_changed() {
    let disk = LyingDisk::new();
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let with_properties = |properties| EngineOptions {
        limits: StoreLimits {
            properties,
            ..StoreLimits::default()
        },
        ..small()
    };
    let open = |properties| {
        let clock = Arc::new(SystemClock);
        Engine::open_on(&dyn_disk, &with_properties(properties), clock).unwrap()
    };
    let engine = open(1);
    assert_eq!(engine.applied(), Revision::new(1));
    engine.commit(set("u1", "a", 1)).await.unwrap();
    let second = engine.commit(set("u1", "b", 1)).await;
    assert!(matches!(second, Err(CommitError::Refused(_))));
    engine.snapshot().await.unwrap();
    drop(engine);
    // The refusal stays one, and the same limits are not recorded again.
    let engine = open(1);
    assert_eq!(engine.applied(), Revision::new(3));
    assert_eq!(value(&engine, "u1", "b"), None);
    drop(engine);
    let engine = open(2);
    assert_eq!(value(&engine, "u1", "b"), None);
    engine.commit(set("u1", "b", 1)).await.unwrap();
    drop(engine);
    let engine = open(1);
    assert_eq!(value(&engine, "u1", "b"), Some(Value::Int64(1)));
}

#[tokio::test]
async fn snapshots_follow_the_schedule() {
    let disk = LyingDisk::new();
    let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = EngineOptions {
        snapshot_log_bytes: 1,
        ..small()
    };
    let engine = Engine::open_on(&dyn_disk, &options, Arc::new(SystemClock)).unwrap();
    engine.commit(set("u1", "a", 1)).await.unwrap();
    let has_snapshot = || {
        let files = disk.files();
        files.keys().any(|path| path.ends_with("manifest"))
    };
    for _ in 0..100 {
        if has_snapshot() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no snapshot was written");
}

#[tokio::test]
async fn a_snapshot_shows_one_moment_while_writes_go_on() {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    let writer = tokio::spawn({
        let engine = engine.clone();
        async move {
            for number in 0..400 {
                engine.commit(set("u1", "a", number)).await.unwrap();
                engine.commit(set("u2", "b", number)).await.unwrap();
            }
        }
    });
    let mut snapshots = 0;
    while !writer.is_finished() {
        engine.snapshot().await.unwrap();
        snapshots += 1;
    }
    assert!(snapshots > 1);
    writer.await.unwrap();
    let applied = engine.applied();
    drop(engine);
    let engine = open_on(&disk.after_crash(Crash::LosesAll)).unwrap();
    assert_eq!(engine.applied(), applied);
    assert_eq!(value(&engine, "u1", "a"), Some(Value::Int64(399)));
    assert_eq!(value(&engine, "u2", "b"), Some(Value::Int64(399)));
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let second = Engine::open(&options(folder.path()), Arc::new(SystemClock));
    let error = second.unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    engine.shutdown().await;
    // The handle may live on: the folder is free.
    open(folder.path());
}

#[tokio::test]
async fn commands_are_grouped_and_answered_in_order() {
    let disk = LyingDisk::new();
    let engine = open_on(&disk).unwrap();
    let syncs = disk.syncs();
    let mut submitted = Vec::new();
    for number in 0..500 {
        submitted.push(engine.submit(set("u1", "a", number)).await.unwrap());
    }
    let mut last = Revision::ZERO;
    for outcome in submitted {
        let committed = outcome.await.unwrap();
        assert!(committed.revision > last);
        last = committed.revision;
    }
    assert_eq!(value(&engine, "u1", "a"), Some(Value::Int64(499)));
    assert!(disk.syncs() - syncs < 500, "{} syncs", disk.syncs() - syncs);
}

/// Prints how many syncs a second the disk does, and how many commits a second the engine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it by name with --ignored --nocapture, built for release"]
async fn measure_commits() {
    const SYNCS: u64 = 500;
    const IN_FLIGHT: u64 = 64;
    let folder = tempfile::tempdir().unwrap();
    let file = RealDisk
        .create(&folder.path().join("raw"), 1 << 20)
        .unwrap();
    file.sync().unwrap();
    let begun = std::time::Instant::now();
    for number in 0..SYNCS {
        file.write_at(number * 200, &[1; 200]).unwrap();
        file.sync().unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let rate = |count: u64, begun: std::time::Instant| count as f64 / begun.elapsed().as_secs_f64();
    println!("{:.0} syncs/s of the raw file", rate(SYNCS, begun));

    let data = folder.path().join("data");
    let engine = Engine::open(&EngineOptions::new(data), Arc::new(SystemClock)).unwrap();
    for in_flight in [1, IN_FLIGHT] {
        let begun = std::time::Instant::now();
        let tasks = (0..in_flight).map(|task| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let mut commits = 0;
                while begun.elapsed() < Duration::from_secs(3) {
                    let user = format!("u{task}-{}", commits % 1_000);
                    engine.commit(increment(&user, "visits")).await.unwrap();
                    commits += 1;
                }
                commits
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut commits = 0;
        for task in tasks {
            commits += task.await.unwrap();
        }
        println!(
            "{:.0} commits/s with {in_flight} in flight",
            rate(commits, begun)
        );
    }
    let begun = std::time::Instant::now();
    let info = engine.snapshot().await.unwrap();
    println!("{info:?} in {:?}", begun.elapsed());
}
