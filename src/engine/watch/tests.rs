//! Replaying what is told, from any point, gives the members that a query gives: whatever is written,
//! erased and defined anew, and however time goes by.

mod moments;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::filter;
use crate::model::{
    Action, Change, Event, EventName, Expression, Labels, NonEmpty, Operation, PropertyName,
    SegmentChange, SegmentDeclaration, Span, Text, UserId, UserUpdate, Value, ValueType,
};
use crate::query::{Stop, bind, members};
use crate::testing::clock::ManualClock;
use crate::testing::generate::{self, Choices, Vocabulary};
use crate::testing::generate_events;

const HOUR: i64 = 3_600_000_000;

/// All without its threads, so that a test has its steps one after another.
struct World {
    registry: Registry,
    watches: Watches,
    clock: Arc<ManualClock>,
    revision: Revision,
}

impl World {
    fn new(now: &str) -> Self {
        let clock = Arc::new(ManualClock::new(now.parse().unwrap()));
        Self {
            registry: Registry::new(),
            watches: Watches::new(
                Arc::clone(&clock) as Arc<dyn Clock>,
                Arc::new(Received::new()),
                Revision::ZERO,
                1,
            ),
            clock,
            revision: Revision::ZERO,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn population(&self) -> Arc<Population> {
        self.registry.get(&PopulationName::default()).unwrap()
    }

    fn carry_out(&mut self, action: Action) -> bool {
        self.revision = self.revision.next();
        let command = Command::Population {
            name: PopulationName::default(),
            once: None,
            action,
        };
        let judged = self
            .watches
            .carry_out(&self.registry, self.revision, &command);
        self.watches.applied(self.revision);
        judged.outcome.is_ok()
    }

    fn wait(&self, micros: i64) {
        self.wait_for(micros, usize::MAX);
    }

    /// Moves the clock, and no more than some of those whom it moves.
    fn wait_for(&self, micros: i64, slices: usize) {
        self.clock.advance(Span::from_micros(micros).unwrap());
        let mut left = slices;
        for watch in self.watches.all() {
            self.watches.move_on(&watch, false, || {
                left = left.saturating_sub(1);
                left == 0
            });
        }
    }

    /// Whether the clock moves users at the moment.
    fn is_passing(&self) -> bool {
        let all = self.watches.all();
        all.iter()
            .any(|watch| !watch.state().is_settled() || watch.state().mark().time != self.now())
    }

    fn watch(
        &self,
        names: Option<Vec<SegmentName>>,
        members: bool,
        cursor: Option<Cursor>,
    ) -> Watcher {
        let population = self.population();
        self.watches
            .watch(
                (&PopulationName::default(), &population),
                names,
                members,
                cursor,
            )
            .unwrap()
    }

    /// Who is in a segment; `None` if it can't be told.
    fn members(&self, segment: &SegmentName, as_of: Timestamp) -> Option<BTreeSet<UserId>> {
        let population = self.population();
        let expression = Expression::Segment(segment.clone());
        let bound = bind(&population, &expression, as_of).ok()?;
        let page = members(&population, &bound, None, usize::MAX, &Stop::never()).unwrap();
        Some(page.users.into_iter().collect())
    }

    fn segments(&self) -> Vec<SegmentName> {
        let catalog = self.population().catalog();
        let names = catalog.segments().map(|segment| segment.name().clone());
        names.collect()
    }
}

/// One who watches, with all that was told so far.
struct Replay {
    watcher: Watcher,
    names: Option<Vec<SegmentName>>,
    with_members: bool,
    /// `None` where it can't be told.
    members: BTreeMap<SegmentName, Option<BTreeSet<UserId>>>,
    /// Segments whose members were read while changes were still to come.
    loose: BTreeSet<SegmentName>,
    resyncs: usize,
    changes: usize,
}

impl Replay {
    fn begin(world: &World, names: Option<Vec<SegmentName>>, with_members: bool) -> Self {
        let mut replay = Self {
            watcher: world.watch(names.clone(), with_members, None),
            names,
            with_members,
            members: BTreeMap::new(),
            loose: BTreeSet::new(),
            resyncs: 0,
            changes: 0,
        };
        if !with_members {
            // The mark that members are read at or after.
            assert!(matches!(replay.watcher.read(), Next::Wait(Some(_))));
            for segment in replay.watched(world) {
                let members = world.members(&segment, world.now());
                replay.members.insert(segment, members);
            }
        }
        replay
    }

    fn watched(&self, world: &World) -> Vec<SegmentName> {
        let mut segments = world.segments();
        if let Some(names) = &self.names {
            segments.retain(|segment| names.contains(segment));
        }
        segments
    }

    /// Ends the stream and goes on with its cursor.
    fn resume(&mut self, world: &World) {
        let cursor = self.watcher.cursor();
        assert!(cursor.is_some());
        self.watcher = world.watch(self.names.clone(), self.with_members, cursor);
    }

    fn take(&mut self, world: &World, part: Part) {
        match part {
            Part::Changes(changes) => {
                for change in changes {
                    self.changes += 1;
                    let segment = (*change.segment).clone();
                    let is_loose = self.loose.contains(&segment);
                    let members = self
                        .members
                        .entry(segment)
                        .or_insert_with(|| Some(BTreeSet::new()));
                    let Some(members) = members else {
                        assert!(is_loose, "that can't be told: {change:?}");
                        continue;
                    };
                    let user = (*change.user).clone();
                    let is_news = if change.enters {
                        members.insert(user)
                    } else {
                        members.remove(&user)
                    };
                    assert!(is_news || is_loose, "told twice: {change:?}");
                }
            }
            Part::Members { segment, users, .. } => {
                let members = self.members.entry((*segment).clone());
                let members = members.or_insert_with(|| Some(BTreeSet::new()));
                for user in users {
                    let is_news = members.get_or_insert_default().insert(user.clone());
                    assert!(is_news, "{user} is told twice to be in {segment}");
                }
            }
            Part::Resync { segments, cause } => {
                self.resyncs += 1;
                for segment in segments {
                    self.members.remove(&*segment);
                    match cause {
                        ResyncCause::Deleted => {}
                        ResyncCause::Unknown => {
                            self.members.insert((*segment).clone(), None);
                        }
                        ResyncCause::CursorExpired
                        | ResyncCause::TooSlow
                        | ResyncCause::TooManyChanges
                        | ResyncCause::EventsDropped
                        | ResyncCause::ClockSetBack => {
                            if !self.with_members {
                                let members = world.members(&segment, world.now());
                                self.members.insert((*segment).clone(), members);
                                self.loose.insert((*segment).clone());
                            }
                        }
                    }
                }
            }
        }
    }

    /// Reads some of what there is.
    fn read_some(&mut self, world: &World, parts: usize) {
        for _ in 0..parts {
            match self.watcher.read() {
                Next::Part(part) => self.take(world, part),
                Next::LookUp => self.watcher.look_up(),
                Next::Wait(_) => return,
            }
        }
    }

    /// Reads all there is, and compares it with what queries say.
    fn catch_up(&mut self, world: &World) {
        let mark = loop {
            match self.watcher.read() {
                Next::Part(part) => self.take(world, part),
                Next::LookUp => self.watcher.look_up(),
                Next::Wait(mark) => break mark,
            }
        };
        self.loose.clear();
        let mark = mark.expect("all is told");
        assert_eq!(mark.revision, world.revision);
        assert_eq!(mark.time, world.now());
        for segment in self.watched(world) {
            let expected = world.members(&segment, mark.time);
            let told = self.members.get(&segment).cloned();
            let told = told.unwrap_or_else(|| Some(BTreeSet::new()));
            let definition = || {
                let catalog = world.population().catalog();
                catalog
                    .segment(&segment)
                    .map(|segment| segment.definition().filter().unwrap().to_string())
            };
            assert_eq!(
                told,
                expected,
                "{segment} is {:?} as of {}",
                definition(),
                mark.time
            );
        }
    }
}

fn segment(text: &str) -> SegmentName {
    SegmentName::new(text).unwrap()
}

fn create(name: &str, definition: Expression) -> Action {
    let declaration = SegmentDeclaration {
        name: segment(name),
        definition,
        description: Text::new("").unwrap(),
        labels: Labels::new(),
    };
    Action::CreateSegment(Box::new(declaration), Timestamp::MIN)
}

fn redefine(name: &str, definition: Expression) -> Action {
    let change = SegmentChange {
        name: segment(name),
        definition: Some(definition),
        description: None,
        labels: None,
        unchanged_since: None,
    };
    Action::UpdateSegment(Box::new(change), Timestamp::MIN)
}

const NAMES: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];

/// A definition that may be made of segments.
fn definition(choices: &mut Choices<'_>, now: Timestamp) -> Expression {
    let properties: Vec<(PropertyName, ValueType)> = generate::properties()
        .into_iter()
        .map(|property| (property.name, property.value_type))
        .collect();
    let events = generate_events::event_names();
    let vocabulary = Vocabulary::Known {
        properties: &properties,
        events: &events,
        around: &[now],
    };
    let own = match choices.below(4) {
        0 => Expression::Predicate(generate::predicate(choices, vocabulary)),
        1 | 2 => {
            let predicate = generate_events::event_predicate(choices, &events, &[now]);
            Expression::Event(Box::new(predicate))
        }
        _ => generate::expression(choices, vocabulary),
    };
    match choices.below(4) {
        3 => Expression::And(
            NonEmpty::new(vec![
                own,
                Expression::Segment(segment(choices.pick(&NAMES))),
            ])
            .unwrap(),
        ),
        _ => own,
    }
}

fn step(world: &mut World, choices: &mut Choices<'_>) {
    const WAITS: [i64; 9] = [
        1,
        1_000_000,
        HOUR,
        HOUR - 1,
        5 * HOUR,
        24 * HOUR,
        24 * HOUR + 1,
        71 * HOUR,
        20 * 24 * HOUR,
    ];
    let name = choices.pick(&NAMES);
    match choices.below(16) {
        0 | 1 => {
            let definition = definition(choices, world.now());
            world.carry_out(create(name, definition));
        }
        2 => {
            let definition = definition(choices, world.now());
            world.carry_out(redefine(name, definition));
        }
        3 if choices.yes() => {
            world.carry_out(Action::DeleteSegment(segment(name), None));
        }
        4..=7 => {
            let slices = choices.pick(&[usize::MAX, usize::MAX, 1, 2, 3]);
            world.wait_for(choices.pick(&WAITS), slices);
        }
        _ => {
            let mut action = generate::action(choices);
            // Mostly what users do.
            while !matches!(action, Action::Write(_) | Action::Erase(_)) && choices.below(8) > 0 {
                action = generate::action(choices);
            }
            if let Action::Write(updates) = &mut action {
                let names = generate_events::event_names();
                let now = world.now();
                let anew = updates.iter().cloned().map(|mut update| {
                    for event in &mut update.events {
                        *event = generate_events::event(choices, &names, now);
                    }
                    update
                });
                *updates = NonEmpty::new(anew.collect()).unwrap();
                // What is received is before all questions that come later.
                world.watches.received.note(now);
            }
            world.carry_out(action);
            // Questions as of now are asked once the clock has gone on.
            world.wait_for(1, 1);
        }
    }
}

fn run(seed: u64, steps: usize) -> (usize, usize) {
    let bytes = generate::bytes(seed, 64 << 10);
    let choices = &mut Choices::new(&bytes);
    let mut world = World::new("2026-01-10T09:00:00Z");
    if seed % 2 == 1 {
        // So that others have their turn while the clock moves users at one instant.
        world.watches.bounds.moved = 1;
    }
    for property in generate::properties() {
        world.carry_out(Action::CreateProperty(property));
    }
    for name in generate_events::event_names() {
        world.carry_out(Action::CreateEvent(crate::model::EventDeclaration {
            name,
            retention: Span::from_micros(100 * 24 * HOUR).unwrap(),
        }));
    }
    let mut replays = vec![Replay::begin(&world, None, false)];
    for number in 0..steps {
        step(&mut world, choices);
        match choices.below(24) {
            // Only then is it known what the members are.
            _ if world.is_passing() => {}
            0 => replays.push(Replay::begin(&world, None, true)),
            1 => {
                let names = world.segments().into_iter().filter(|_| choices.yes());
                let names = names.collect();
                let with_members = choices.yes();
                replays.push(Replay::begin(&world, Some(names), with_members));
            }
            2 if replays.len() > 3 => drop(replays.remove(1 + number % 2)),
            _ => {}
        }
        if choices.below(3) == 0 {
            // Those whom the clock moves are moved later, or before a command.
            continue;
        }
        world.wait(0);
        for replay in &mut replays {
            // Some read now and then only, or not all that there is.
            if replay.with_members && choices.below(3) == 0 {
                replay.read_some(&world, 1 + choices.below(4));
            } else if choices.below(4) > 0 {
                replay.catch_up(&world);
                if choices.below(8) == 0 {
                    replay.resume(&world);
                }
            }
        }
    }
    world.wait(0);
    for replay in &mut replays {
        replay.catch_up(&world);
    }
    let changes = replays.iter().map(|replay| replay.changes).sum();
    (changes, replays.iter().map(|replay| replay.resyncs).sum())
}

#[test]
fn what_is_told_adds_up_to_what_is_asked() {
    let (mut changes, mut resyncs) = (0, 0);
    for seed in 0..12 {
        let outcome = std::panic::catch_unwind(|| run(seed, 120));
        let (more, again) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        changes += more;
        resyncs += again;
    }
    assert!(changes > 1_000 && resyncs > 50, "{changes} {resyncs}");
}

fn write(
    user: &str,
    changes: &[(&str, i64)],
    events: &[(&str, &str)],
    received: Timestamp,
) -> Action {
    let changes = changes.iter().map(|(property, value)| Change {
        property: PropertyName::new(*property).unwrap(),
        operation: Operation::Set(Value::Int64(*value)),
    });
    let events = events.iter().map(|(name, time)| Event {
        name: EventName::new(*name).unwrap(),
        time: Some(time.parse().unwrap()),
        received,
        amount: None,
        id: None,
    });
    Action::Write(NonEmpty::one(UserUpdate {
        user: UserId::new(user).unwrap(),
        value_time: None,
        changes: changes.collect(),
        events: events.collect(),
    }))
}

fn parsed(filter: &str) -> Expression {
    filter::parse(filter).unwrap()
}

/// Who entered (+) and left (-) what, why and when.
fn told(watcher: &mut Watcher) -> Vec<String> {
    let mut told = Vec::new();
    // A stream can begin with a mark.
    let mut waits = 0;
    loop {
        match watcher.read() {
            Next::Part(Part::Changes(changes)) => told.extend(changes.iter().map(|change| {
                let sign = if change.enters { '+' } else { '-' };
                let (segment, user, cause) = (&change.segment, &change.user, change.cause);
                format!("{sign}{segment} {user} {cause:?} {}", change.mark.time)
            })),
            Next::Part(Part::Members { segment, users, .. }) => {
                told.extend(users.iter().map(|user| format!("{segment} has {user}")));
            }
            Next::Part(Part::Resync { segments, cause }) => {
                let segments: Vec<&str> = segments.iter().map(|name| name.as_str()).collect();
                told.push(format!("resync {} {cause:?}", segments.join(" ")));
            }
            Next::LookUp => watcher.look_up(),
            Next::Wait(_) => {
                waits += 1;
                if waits == 2 {
                    return told;
                }
            }
        }
    }
}

#[test]
fn each_change_is_told_with_its_cause_and_its_very_moment() {
    let mut world = World::new("2026-01-10T09:00:00Z");
    let now = world.now();
    world.carry_out(write("a", &[("age", 30)], &[("visit", "2026-01-09")], now));
    world.carry_out(create("adult", parsed("age >= 18")));
    world.carry_out(create("active", parsed("count(visit, 7d) >= 1")));
    world.carry_out(create(
        "both",
        parsed("segment('adult') AND segment('active')"),
    ));
    world.carry_out(create("others", parsed("NOT age >= 18")));
    let mut watcher = world.watch(None, true, None);
    assert_eq!(
        told(&mut watcher),
        ["active has a", "adult has a", "both has a"]
    );

    world.carry_out(write("b", &[("age", 17)], &[], now));
    world.carry_out(write("b", &[("age", 18)], &[], now));
    world.carry_out(write("b", &[("age", 19)], &[], now));
    world.carry_out(write(
        "b",
        &[("height", 19)],
        &[("visit", "2026-01-10T08:59:59Z")],
        now,
    ));
    assert_eq!(
        told(&mut watcher),
        [
            "+others b Update 2026-01-10T09:00:00Z",
            "+adult b Update 2026-01-10T09:00:00Z",
            "-others b Update 2026-01-10T09:00:00Z",
            "+active b Event 2026-01-10T09:00:00Z",
            "+both b Event 2026-01-10T09:00:00Z",
        ]
    );

    // An event belongs to a window of 7 days at its first instant, and not a microsecond later.
    world.wait(6 * 24 * HOUR - 9 * HOUR);
    assert_eq!(told(&mut watcher), Vec::<String>::new());
    world.wait(24 * HOUR);
    assert_eq!(
        told(&mut watcher),
        [
            "-active a Time 2026-01-16T00:00:00.000001Z",
            "-both a Time 2026-01-16T00:00:00.000001Z",
        ]
    );
    world.carry_out(redefine("adult", parsed("age >= 19")));
    world.carry_out(redefine("adult", parsed("age >= 20")));
    world.carry_out(Action::Erase(UserId::new("b").unwrap()));
    let time = world.now();
    assert_eq!(
        told(&mut watcher),
        [
            format!("-adult b Definition {time}"),
            format!("-both b Definition {time}"),
            format!("-active b Erasure {time}"),
        ]
    );
    // The other way round: what lies ahead happens by the clock.
    let ahead = "2026-01-17T12:00:00Z";
    world.carry_out(write("a", &[], &[("visit", ahead)], world.now()));
    assert_eq!(told(&mut watcher), Vec::<String>::new());
    world.wait(48 * HOUR);
    assert_eq!(
        told(&mut watcher),
        [
            "+active a Time 2026-01-17T12:00:00.000001Z",
            "+both a Time 2026-01-17T12:00:00.000001Z",
        ]
    );
    world.carry_out(Action::DeleteSegment(segment("others"), None));
    assert_eq!(told(&mut watcher), ["resync others Deleted"]);
}

#[test]
fn who_is_too_slow_or_comes_too_late_is_told_so() {
    let mut world = World::new("2026-01-10T09:00:00Z");
    world.watches.bounds = Bounds {
        kept: 8,
        redefined: 8,
        due: 8,
        ..Bounds::default()
    };
    let now = world.now();
    let grow = |world: &mut World, age: i64| {
        for user in 0..10 {
            world.carry_out(write(&format!("u{user}"), &[("age", age)], &[], now));
        }
    };
    grow(&mut world, 1);
    world.carry_out(create("grown", parsed("age >= 5")));
    let mut watcher = world.watch(None, false, None);
    let mut with_members = world.watch(Some(vec![segment("grown")]), true, None);
    assert!(told(&mut watcher).is_empty() && told(&mut with_members).is_empty());
    let cursor = watcher.cursor();

    grow(&mut world, 7);
    assert_eq!(told(&mut watcher), ["resync grown TooSlow"]);
    assert_eq!(told(&mut with_members).len(), 11);
    let mut late = world.watch(None, false, cursor);
    assert_eq!(told(&mut late), ["resync grown CursorExpired"]);
    let other_run = Some(Cursor { run: 2, next: 18 });
    let mut other = world.watch(None, false, other_run);
    assert_eq!(told(&mut other), ["resync grown CursorExpired"]);

    // More than can be told at once, by a new definition.
    world.carry_out(redefine("grown", parsed("age >= 8")));
    assert_eq!(told(&mut watcher), ["resync grown TooManyChanges"]);
    assert_eq!(told(&mut with_members), ["resync grown TooManyChanges"]);

    // Once nobody watches for long, cursors are good for nothing, and nothing is worked out.
    let cursor = late.cursor();
    drop((watcher, with_members, late, other));
    let mut again = world.watch(None, false, cursor);
    assert_eq!(told(&mut again), ["resync grown TooManyChanges"]);
    // All that was told by then: only that nobody watched meanwhile is against it.
    let cursor = again.cursor();
    drop(again);
    world.wait(HOUR);
    let watch = world.watches.of(&PopulationName::default()).unwrap();
    world.watches.move_on(&watch, true, || false);
    assert!(!watch.state().is_watching());
    let kept = watch.ring.read(watch.ring.end(), 1).unwrap();
    assert!(kept.entries.is_empty() && watch.ring.read(0, 1).is_none());
    let mut late = world.watch(None, false, cursor);
    assert_eq!(told(&mut late), ["resync grown CursorExpired"]);
}

#[test]
fn only_so_many_watch() {
    let world = World::new("2026-01-10T09:00:00Z");
    let most = usize::try_from(crate::model::limit::WATCHERS.default).unwrap();
    let mut watchers: Vec<Watcher> = (0..most).map(|_| world.watch(None, false, None)).collect();
    let name = PopulationName::default();
    let one_more = || {
        let population = world.population();
        world.watches.watch((&name, &population), None, false, None)
    };
    assert!(one_more().is_err());
    assert!(one_more().is_err());
    watchers.pop();
    assert!(one_more().is_ok());
}
