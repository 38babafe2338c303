//! How long single writes and checks wait at the most, with and without a snapshot being written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headcount::engine::Engine;
use headcount::filter;
use headcount::model::{PopulationName, UserId};
use headcount::query::{Prepared, check};
use tokio::runtime::Runtime;

use crate::measure::{Times, ratio, short};
use crate::one_value;
use crate::world::user_id;

const FILTER: &str = "plan = 'pro' AND age >= 25 AND NOT os = 'ios'";
/// Between two checks: a thread that never sleeps would measure the scheduler of two cores.
const BETWEEN: Duration = Duration::from_micros(200);

struct Waited {
    writes: Times,
    checks: Times,
}

/// Writes and checks one after another for as long as `work` takes.
fn during(engine: &Engine, runtime: &Runtime, users: u64, work: impl FnOnce()) -> Waited {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut times = Times::default();
            let mut number = 0_u64;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                let user = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % users;
                let command = one_value(user, (number % 80) as i64);
                let start = Instant::now();
                runtime.block_on(engine.commit(command)).expect("a write");
                times.push(start.elapsed());
            }
            times
        });
        let checker = scope.spawn(|| {
            let name = PopulationName::default();
            let population = engine.population(&name).expect("users");
            let prepared = Prepared::new(filter::parse(FILTER).expect("a filter"));
            let mut times = Times::default();
            let mut number = 0_u64;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                let user = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % users;
                let user = UserId::new(user_id(user)).expect("a short id");
                let start = Instant::now();
                let bound = prepared.bound(&population, engine.now()).expect("a filter");
                check(&population, &user, &[bound]).expect("a user");
                times.push(start.elapsed());
                std::thread::sleep(BETWEEN);
            }
            times
        });
        work();
        done.store(true, Ordering::Relaxed);
        Waited {
            writes: writer.join().expect("writes"),
            checks: checker.join().expect("checks"),
        }
    })
}

/// Prints the pauses without a snapshot, with one of everything that the writes touched meanwhile,
/// and their ratios.
pub fn measure(engine: &Engine, runtime: &Runtime, users: u64) {
    println!("pauses");
    for round in 1..=3 {
        let mut took = Duration::ZERO;
        let with = during(engine, runtime, users, || {
            let start = Instant::now();
            while took < Duration::from_secs(2) {
                runtime.block_on(engine.snapshot()).expect("a snapshot");
                took = start.elapsed();
            }
        });
        let without = during(engine, runtime, users, || std::thread::sleep(took));
        for (what, with, without) in [
            ("write", &with.writes, &without.writes),
            ("check", &with.checks, &without.checks),
        ] {
            let [longest, most, usual] = [1.0, 0.999, 0.5].map(|part| {
                let (with, without) = (with.within(part), without.within(part));
                let times = ratio(with, without);
                format!("{} / {} ({times:.1}x)", short(with), short(without))
            });
            println!(
                "  round {round}, {what}, during {:.1} s of snapshots / without: longest {longest}, p99.9 {most}, median {usual}",
                took.as_secs_f64()
            );
        }
    }
}
