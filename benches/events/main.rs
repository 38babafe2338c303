//! What users did: the engine beside the floor, plain CRoaring with bitmaps by day, one thread, the
//! same purchases, the same questions, in the same run. Prints the ratio for each question and
//! asserts that both find the same users where now is a midnight; it is timed at an instant within a
//! day, for which the engine is exact and the floor takes whole days.
//!
//! `cargo bench --bench events -- 10000000` for ten million users; 100,000 if no number is given.
//! Words after the number choose the questions whose names have one of them; `--seconds=5` asks
//! each for longer.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_types,
    clippy::items_after_statements,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a program that prints numbers about plain CRoaring"
)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod floor;
mod load;
#[path = "../engine/world.rs"]
#[allow(dead_code, reason = "shared with the bench of the engine")]
mod people;
mod purchases;
mod questions;

use std::time::{Duration, Instant};

use floor::Floor;
use load::{Loaded, USUAL};
use purchases::{MIDNIGHT, NOW, Purchases};
use questions::Question;

fn main() {
    let arguments = || std::env::args().skip(1);
    let users = arguments()
        .find_map(|argument| argument.replace('_', "").parse().ok())
        .unwrap_or(100_000_u64)
        .max(1_000);
    let words: Vec<String> = arguments()
        .filter(|argument| !argument.starts_with('-') && argument.parse::<u64>().is_err())
        .collect();
    let window = arguments()
        .find_map(|argument| argument.strip_prefix("--seconds=")?.parse().ok())
        .map_or(Duration::from_millis(300), Duration::from_secs_f64);
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));

    let purchases = Purchases::new();
    let by_arrival = purchases.by_arrival(users);
    let mut all = Vec::new();
    (0..users).for_each(|user| purchases.of(user, |purchase| all.push(purchase)));
    let floor = Floor::new(users, all.into_iter());
    let loaded = Loaded::of_users(users);
    let (events, elapsed) = loaded.write(by_arrival, USUAL);
    assert_eq!(events, floor.events());
    let user_days = floor.user_days();

    println!("{users} users, {events} purchases, {user_days} user-days, one thread\n");
    println!(
        "{:<40} {:>11} {:>11} {:>7} {:>6} {:>11} {:>7} {:>6}",
        "question", "floor", "first asked", "ratio", "goal", "kept", "ratio", "goal"
    );
    let mut asked = questions::all(&floor, &loaded);
    asked.retain(|question| wanted(question.name));
    let mut of_users = questions::checks(&floor, &loaded);
    of_users.retain(|question| wanted(question.name));
    for question in asked
        .iter()
        .chain(&of_users)
        .filter(|question| question.same)
    {
        let (expected, found) = ((question.floor)(), (question.engine)(MIDNIGHT));
        assert_eq!(expected, found, "{}", question.name);
        questions::forget(&loaded);
    }
    // Checks do not ask for windows to be kept: they are timed before any is, and again at the end.
    let checked: Vec<_> = of_users
        .iter()
        .map(|question| in_turns(question, window, || {}))
        .collect();
    let first: Vec<_> = asked
        .iter()
        .map(|question| in_turns(question, window, || questions::forget(&loaded)))
        .collect();
    let late = loaded.write_late(users, 0);
    for _ in 0..3 {
        for question in &asked {
            (question.engine)(NOW);
        }
    }
    let timed = first.into_iter().chain(checked);
    for (question, first) in asked.iter().chain(&of_users).zip(timed) {
        print_row(question, first, in_turns(question, window, || {}));
    }
    drop((asked, of_users));

    // The floor could add bits as well: no faster, which is told so that nobody has to believe it.
    let ways = [Floor::at_least_3, Floor::at_least_3_by_bits];
    let [levels, bits] = ways.map(|way| {
        let find = || way(&floor, 60..90).cardinality();
        short(median((0..5).map(|_| time(1, find)).collect()))
    });
    println!("at least 3 in 30 days by the floor: {levels} by levels, {bits} by adding bits");

    let per = |bytes: usize, number: u64| bytes as f64 / number as f64;
    println!(
        "\nload by 1,000 events a command: {:.2} M events/s",
        events as f64 / elapsed.as_secs_f64() / 1e6
    );
    println!(
        "floor: {:.2} bytes an event for bitmaps, and 8 for amounts",
        per(floor.bitmap_bytes(), events)
    );
    let bytes = loaded.event_bytes();
    println!(
        "engine: {:.2} bytes an event, {:.2} a user-day; {:.2} a user for windows that are kept",
        per(bytes, events),
        per(bytes, user_days),
        per(loaded.window_bytes(), users)
    );
    println!(
        "a late event, one a command: {}, beside kept windows {}",
        short(late),
        short(loaded.write_late(users, 1))
    );
    drop((floor, loaded));
    if words.is_empty() {
        load::print_memory(&purchases);
    }
}

fn print_row(
    question: &Question<'_>,
    (floor, first): (Duration, Duration),
    (floor_again, kept): (Duration, Duration),
) {
    let ratio = |time: Duration, floor: Duration| time.as_secs_f64() / floor.as_secs_f64();
    let (of_first, of_kept) = (ratio(first, floor), ratio(kept, floor_again));
    let (goal, goal_kept) = question.goals;
    let mark = match (of_first <= goal, of_kept <= goal_kept) {
        (true, true) => "",
        (false, true) => "  first missed",
        (true, false) => "  kept missed",
        (false, false) => "  both missed",
    };
    println!(
        "{:<40} {:>11} {:>11} {of_first:>7.3} {goal:>6} {:>11} {of_kept:>7.3} {goal_kept:>6}{mark}",
        question.name,
        short(floor),
        short(first),
        short(kept),
    );
}

/// The median times of floor and engine, timed in turns for a while, `before` each question to the
/// engine.
fn in_turns(question: &Question<'_>, window: Duration, before: impl Fn()) -> (Duration, Duration) {
    let floor = || std::hint::black_box((question.floor)());
    let engine = || std::hint::black_box((question.engine)(NOW));
    let (mut floor_times, mut engine_times) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    // Short questions are asked many times between two looks at the clock.
    let repeats = |once: Duration| (20_000 / once.as_nanos().max(1)).max(1) as u32;
    let (floor_repeats, engine_repeats) = (repeats(time(1, floor)), repeats(time(1, engine)));
    before();
    while floor_times.len() < 9 || (begin.elapsed() < window && floor_times.len() < 10_000) {
        floor_times.push(time(floor_repeats, floor));
        before();
        engine_times.push(time(engine_repeats, engine));
    }
    (median(floor_times), median(engine_times))
}

fn time(repeats: u32, ask: impl Fn() -> u64) -> Duration {
    let start = Instant::now();
    for _ in 0..repeats {
        ask();
    }
    start.elapsed() / repeats
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1_000.0 {
        format!("{micros:.2} us")
    } else {
        format!("{:.2} ms", micros / 1e3)
    }
}
