//! The engine beside the floor: plain CRoaring, one thread, the same data, the same questions, in
//! the same run. Prints the ratio for each question and asserts that both give the same answer.
//!
//! `cargo bench --bench engine -- 1000000` for a million users; 100,000 if no number is given.
//! Words after the number choose the questions whose names have one of them; `--seconds=5` asks
//! each for longer.
//! Not a Criterion bench: what counts is the ratio of two programs timed in turns, which Criterion
//! does not print.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::print_stderr,
    reason = "a program that prints numbers about plain CRoaring"
)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod definitions;
mod distinct;
mod floor;
mod load;
mod questions;
mod segments;
mod updates;
mod watch;
mod world;

use std::time::{Duration, Instant};

use headcount::model::{Revision, StoreLimits};
use headcount::population::Population;

use floor::Floor;
use load::Names;
use world::World;

/// Rows that are made, and written, at a time.
const BATCH: u64 = 65_536;
const WRITE: usize = 1_000;

fn main() {
    let users = std::env::args()
        .skip(1)
        .find_map(|argument| argument.replace('_', "").parse().ok())
        .unwrap_or(100_000_u64);
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-') && argument.parse::<u64>().is_err())
        .collect();
    let window = std::env::args()
        .find_map(|argument| argument.strip_prefix("--seconds=")?.parse().ok())
        .map_or(Duration::from_millis(300), Duration::from_secs_f64);
    let world = World::new();
    let names = Names::new();
    let mut floor = Floor::new();
    let population = Population::new(StoreLimits::default());
    let (mut floor_load, mut engine_load) = (Duration::ZERO, Duration::ZERO);
    let mut revision = Revision::ZERO;
    let mut first = 0;
    while first < users {
        let rows: Vec<_> = (first..users.min(first + BATCH))
            .map(|number| world.row(number))
            .collect();
        let start = Instant::now();
        floor.add(&rows);
        floor_load += start.elapsed();
        for (position, chunk) in rows.chunks(WRITE).enumerate() {
            let action = names.write(first + (position * WRITE) as u64, chunk);
            revision = revision.next();
            let start = Instant::now();
            population.apply(revision, &action).expect("a good write");
            engine_load += start.elapsed();
        }
        first += BATCH;
    }
    floor.optimize();

    println!("{users} users, 13 properties, one thread\n");
    println!(
        "{:<46} {:>11} {:>11} {:>7} {:>6}",
        "question", "floor", "engine", "ratio", "goal"
    );
    for question in questions::all(&floor, &population, &world) {
        if !words.is_empty()
            && !words
                .iter()
                .any(|word| question.name.contains(word.as_str()))
        {
            continue;
        }
        let (floor_time, engine_time) = in_turns(&question, window);
        let ratio = engine_time.as_secs_f64() / floor_time.as_secs_f64();
        let mark = if ratio <= question.goal {
            ""
        } else {
            "  missed"
        };
        println!(
            "{:<46} {:>11} {:>11} {ratio:>7.3} {:>6}{mark}",
            question.name,
            short(floor_time),
            short(engine_time),
            question.goal,
        );
    }
    let rate = |elapsed: Duration| users as f64 / elapsed.as_secs_f64() / 1e6;
    println!(
        "\nload: floor {:.2} M rows/s, engine {:.2} M rows/s",
        rate(floor_load),
        rate(engine_load)
    );
    updates::run(&world, users, &mut floor, &population, revision);
    if words.is_empty() || words.iter().any(|word| word == "segments") {
        segments::run(&population, users, Revision::new(1 << 40));
        watch::run(&population, users, Revision::new(1 << 41));
    }
    let per_user = |bytes: usize| bytes as f64 / users as f64;
    println!(
        "floor: {:.1} bytes a user without ids",
        per_user(floor.bytes())
    );
    let mut sum = 0;
    for (part, bytes) in population.memory() {
        println!("engine: {part:<10} {:>6.1} bytes a user", per_user(bytes));
        if part != "ids" {
            sum += bytes;
        }
    }
    println!("engine: {:.1} bytes a user without ids", per_user(sum));
    if words.is_empty() || words.iter().any(|word| word == "distinct") {
        distinct::print_lookups(&population, users);
        drop((floor, population));
        distinct::print_memory(1_000_000);
    }
}

/// The median times of floor and engine, timed in turns for a while.
fn in_turns(question: &questions::Question<'_>, window: Duration) -> (Duration, Duration) {
    let (expected, found) = ((question.floor)(), (question.engine)());
    assert_eq!(expected, found, "{}", question.name);
    // Short questions are asked many times between two looks at the clock.
    let start = Instant::now();
    std::hint::black_box((question.engine)());
    let floor_start = Instant::now();
    std::hint::black_box((question.floor)());
    let (engine_once, floor_once) = (floor_start - start, floor_start.elapsed());
    let repeats = |once: Duration| (20_000 / once.as_nanos().max(1)).max(1) as u32;
    let (engine_repeats, floor_repeats) = (repeats(engine_once), repeats(floor_once));
    let (mut floor_times, mut engine_times) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    while floor_times.len() < 15 || (begin.elapsed() < window && floor_times.len() < 100_000) {
        floor_times.push(time(floor_repeats, &*question.floor));
        engine_times.push(time(engine_repeats, &*question.engine));
    }
    (median(floor_times), median(engine_times))
}

fn time(repeats: u32, ask: &dyn Fn() -> questions::Answer) -> Duration {
    let start = Instant::now();
    for _ in 0..repeats {
        std::hint::black_box(ask());
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
