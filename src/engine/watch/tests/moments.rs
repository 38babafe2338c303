//! Moments at which the clock moves many, or jumps; and what is deleted or forgotten meanwhile.

use super::*;

#[test]
fn a_clock_that_moves_too_many_says_so_when_it_has() {
    let mut world = World::new("2026-01-10T23:59:00Z");
    world.watches.bounds.due = 8;
    let now = world.now();
    for user in 0..10 {
        world.carry_out(write(
            &format!("u{user}"),
            &[],
            &[("visit", "2026-01-10")],
            now,
        ));
    }
    world.carry_out(create("today", parsed("count(visit, this day) >= 1")));
    let mut watcher = world.watch(None, true, None);
    assert_eq!(told(&mut watcher).len(), 10);
    world.wait(30_000_000);
    assert_eq!(told(&mut watcher), Vec::<String>::new());
    world.wait(90_000_000);
    assert_eq!(told(&mut watcher), ["resync today TooManyChanges"]);
    let mut with_nobody = world.watch(None, true, None);
    assert_eq!(told(&mut with_nobody), Vec::<String>::new());
}

#[test]
fn what_was_deleted_meanwhile_is_told() {
    let mut world = World::new("2026-01-10T09:00:00Z");
    world.watches.bounds.kept = 8;
    let now = world.now();
    world.carry_out(write("a", &[("age", 30)], &[], now));
    world.carry_out(create("adult", parsed("age >= 18")));
    world.carry_out(create("old", parsed("age >= 60")));
    let names = || Some(vec![segment("adult"), segment("old")]);
    let mut watcher = world.watch(names(), false, None);
    assert_eq!(told(&mut watcher), Vec::<String>::new());
    let cursor = watcher.cursor();
    world.carry_out(Action::DeleteSegment(segment("old"), None));
    let mut again = world.watch(names(), false, cursor);
    assert_eq!(told(&mut again), ["resync old Deleted"]);
    for age in 0..10 {
        world.carry_out(write("a", &[("age", 10 * (age % 2 + 1))], &[], now));
    }
    let expected = ["resync adult TooSlow", "resync old Deleted"];
    assert_eq!(told(&mut watcher), expected);
}

#[test]
fn a_clock_that_is_set_back_is_followed() {
    let mut world = World::new("2026-01-10T09:00:00Z");
    let now = world.now();
    world.carry_out(write("a", &[], &[("visit", "2026-01-10T08:00:00Z")], now));
    world.carry_out(create("active", parsed("count(visit, 1d) >= 1")));
    let mut watcher = world.watch(None, true, None);
    assert_eq!(told(&mut watcher), ["active has a"]);
    world.wait(48 * HOUR);
    assert_eq!(
        told(&mut watcher),
        ["-active a Time 2026-01-11T08:00:00.000001Z"]
    );
    world.wait(-30_000_000);
    assert_eq!(told(&mut watcher), Vec::<String>::new());
    world.wait(-47 * HOUR);
    assert_eq!(
        told(&mut watcher),
        ["resync active ClockSetBack", "active has a"]
    );
    world.wait(24 * HOUR);
    assert_eq!(
        told(&mut watcher),
        ["-active a Time 2026-01-11T08:00:00.000001Z"]
    );
}

#[test]
fn what_becomes_known_is_told_of_those_who_are_new() {
    let mut world = World::new("2026-01-10T09:00:00Z");
    let day = |text: &str| {
        let span: Span = text.parse().unwrap();
        Action::UpdateEvent(crate::model::EventDeclaration {
            name: EventName::new("visit").unwrap(),
            retention: span,
        })
    };
    let now = world.now();
    world.carry_out(write("a", &[("age", 1)], &[("visit", "2025-12-01")], now));
    world.carry_out(create(
        "lost",
        parsed("count(visit, 20d) = 0 AND age >= 18"),
    ));
    world.carry_out(day("5d"));
    world.carry_out(write(
        "b",
        &[("age", 20)],
        &[("visit", "2026-01-10T08:00:00Z")],
        now,
    ));
    // Only five days are kept: it can't be told who did nothing in twenty.
    let mut watcher = world.watch(None, true, None);
    assert_eq!(told(&mut watcher), ["resync lost Unknown"]);
    world.carry_out(day("100d"));
    world.wait(30 * 24 * HOUR);
    assert_eq!(
        told(&mut watcher),
        ["resync lost EventsDropped", "lost has b"]
    );
    world.carry_out(write("c", &[("age", 30)], &[], world.now()));
    let time = world.now();
    assert_eq!(told(&mut watcher), [format!("+lost c Update {time}")]);
}

/// Ten users, who all did something on the tenth: the day ends for them at one instant. They are moved
/// one at a time.
fn at_midnight() -> (World, Watcher) {
    let mut world = World::new("2026-01-10T23:59:00Z");
    world.watches.bounds.moved = 1;
    let now = world.now();
    for user in 0..10 {
        let action = write(
            &format!("u{user}"),
            &[("age", user)],
            &[("visit", "2026-01-10")],
            now,
        );
        world.carry_out(action);
    }
    world.carry_out(create("today", parsed("count(visit, this day) >= 1")));
    world.carry_out(create("grown", parsed("age >= 5 AND NOT segment('today')")));
    world.carry_out(create("old", parsed("age >= 60")));
    let names = vec![segment("today"), segment("grown")];
    let mut watcher = world.watch(Some(names), true, None);
    assert_eq!(told(&mut watcher).len(), 10);
    world.wait_for(60_000_000, 3);
    let watch = world.watches.of(&PopulationName::default()).unwrap();
    assert!(watch.state().is_passing());
    (world, watcher)
}

#[test]
fn who_is_written_to_is_moved_first() {
    let (mut world, mut watcher) = at_midnight();
    let moved = told(&mut watcher);
    assert!(!moved.is_empty() && moved.len() < 10, "{moved:?}");
    // The last ones are not moved yet.
    world.carry_out(write("u9", &[], &[("visit", "2026-01-11")], world.now()));
    world.carry_out(write("u8", &[("age", 1)], &[], world.now()));
    world.carry_out(Action::Erase(UserId::new("u7").unwrap()));
    let midnight = "2026-01-11T00:00:00Z";
    assert_eq!(
        told(&mut watcher),
        [
            format!("+grown u9 Time {midnight}"),
            format!("-today u9 Time {midnight}"),
            format!("+grown u8 Time {midnight}"),
            format!("-today u8 Time {midnight}"),
            format!("-grown u8 Update {midnight}"),
            format!("+grown u7 Time {midnight}"),
            format!("-today u7 Time {midnight}"),
            format!("-grown u7 Erasure {midnight}"),
        ]
    );
    world.wait(1);
    let rest = told(&mut watcher);
    assert!(
        rest.iter()
            .all(|text| !text.contains("u8") && !text.contains("u7")),
        "{rest:?}"
    );
}

#[test]
fn what_is_watched_anew_at_midnight_loses_nobody() {
    let (world, mut watcher) = at_midnight();
    // Something else is watched as well, so that what is known is made anew.
    let mut other = world.watch(Some(vec![segment("today"), segment("old")]), true, None);
    world.wait(1);
    let moved = told(&mut watcher);
    assert_eq!(
        moved
            .iter()
            .filter(|text| text.starts_with("-today"))
            .count(),
        10,
        "{moved:?}"
    );
    assert_eq!(
        moved
            .iter()
            .filter(|text| text.starts_with("+grown"))
            .count(),
        5,
        "{moved:?}"
    );
    // Whoever begins meanwhile is told of those who are left, or that they were there before.
    let left = told(&mut other)
        .iter()
        .filter(|text| text.starts_with("today has"))
        .count();
    assert_eq!(left, 0);
    assert!(
        world
            .members(&segment("today"), world.now())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_a_moment_or_what_is_ahead_moves_is_bounded() {
    let mut world = World::new("2026-01-10T23:59:00Z");
    world.watches.bounds.kept = 8;
    world.watches.bounds.due = 20;
    let now = world.now();
    let visit = |world: &mut World, time: &str| {
        for user in 0..12 {
            world.carry_out(write(&format!("u{user}"), &[], &[("visit", time)], now));
        }
    };
    visit(&mut world, "2026-01-10");
    world.carry_out(create("today", parsed("count(visit, this day) >= 1")));
    let mut watcher = world.watch(None, false, None);
    assert_eq!(told(&mut watcher), Vec::<String>::new());
    // At midnight twelve leave at once.
    world.wait(120_000_000);
    assert_eq!(told(&mut watcher), ["resync today TooManyChanges"]);
    // Twelve who come to be soon are as many as can be known; as many again are not.
    visit(&mut world, "2026-01-11T00:01:20Z");
    visit(&mut world, "2026-01-11T00:01:30Z");
    assert_eq!(told(&mut watcher), Vec::<String>::new());
    world.wait(120_000_000);
    let resyncs = told(&mut watcher);
    assert!(!resyncs.is_empty(), "{resyncs:?}");
    assert!(
        resyncs.iter().all(|text| text.starts_with("resync today")),
        "{resyncs:?}"
    );
    assert_eq!(
        world.members(&segment("today"), world.now()).unwrap().len(),
        12
    );
}
