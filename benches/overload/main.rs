//! What becomes of a service that is asked for five times what it can do: a server in a process of
//! its own, and open-loop clients in this one, who ask by the clock whether they were answered or not.
//!
//! `cargo bench --bench overload -- 1000000` for a million users; 100,000 if no number is given. A
//! second number is how many seconds each load is measured, 2 if none is given. Fails if an answer is
//! wrong, if a write is lost or half done, if an error is none that overload may have, or if the server
//! takes more than 512 MiB; never because something took long. Where there are two processors or more,
//! the server has half of them for itself.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a program that prints numbers about overload"
)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod child;
#[path = "../engine/load.rs"]
#[allow(dead_code, reason = "shared with the bench of the engine")]
mod load;
#[path = "../service/measure.rs"]
#[allow(dead_code, reason = "shared with the bench of the service")]
mod measure;
mod open_loop;
mod work;
#[path = "../engine/world.rs"]
#[allow(dead_code, reason = "shared with the bench of the engine")]
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use child::{Cores, Server};
use measure::{Times, ratio, short};
use open_loop::{Counted, at_rate, capacity};
use work::{Kind, Work};

/// What the server may take.
const MEMORY: u64 = 512 << 20;
/// No client asks more often: beyond that it measures itself. The load that is printed is what was
/// asked for all the same.
const MOST_A_SECOND: f64 = 200_000.0;
/// Checks a second beside other loads.
const FEW_CHECKS: f64 = 200.0;

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The 99th of a hundred, or nothing.
fn p99(times: &Times) -> String {
    if times.len() == 0 {
        "-".into()
    } else {
        short(times.within(0.99))
    }
}

fn to(times: &Times, idle: &Times) -> String {
    if times.len() == 0 || idle.len() == 0 {
        "-".into()
    } else {
        format!("{:.2}", ratio(times.within(0.99), idle.within(0.99)))
    }
}

/// Loads the service with one kind of work at half, once and five times what it can do.
async fn overload(server: &Server, work: &Arc<Work>, kind: Kind, span: Duration, wrong: &mut u64) {
    let most = capacity(work, kind, span / 2, wrong).await;
    println!("{}: {most:.0} a second in a closed loop", kind.name());
    println!(
        "{:>6} {:>9} {:>9} {:>9} {:>8} {:>14} {:>8} {:>14} {:>8} {:>12} {:>9}",
        "load",
        "asked/s",
        "unsent/s",
        "done/s",
        "to peak",
        "p99 answered",
        "to 0.5x",
        "p99 from plan",
        "to 0.5x",
        "p99 refused",
        "memory"
    );
    let mut idle: Option<Counted> = None;
    let mut peak = most;
    for times in [0.5, 1.0, 5.0] {
        let rate = (most * times).clamp(1.0, MOST_A_SECOND);
        let counted = at_rate(work, kind, rate, span).await;
        *wrong += counted.wrong;
        let a_second = |calls: f64| calls / span.as_secs_f64();
        let done = a_second(counted.sent.len() as f64);
        let unsent = a_second(counted.unsent as f64);
        let asked = a_second(counted.planned_calls as f64) - unsent;
        if times <= 1.0 {
            peak = peak.max(done);
        }
        let first = idle.as_ref().unwrap_or(&counted);
        println!(
            "{:>5.2}x {:>9.0} {:>9.0} {:>9.0} {:>8.2} {:>14} {:>8} {:>14} {:>8} {:>12} {:>9}",
            asked / most,
            asked,
            unsent,
            done,
            done / peak,
            p99(&counted.sent),
            to(&counted.sent, &first.sent),
            p99(&counted.planned),
            to(&counted.planned, &first.planned),
            p99(&counted.refused),
            mebibytes(server.memory().now),
        );
        if idle.is_none() {
            idle = Some(counted);
        }
    }
    println!();
}

/// Checks while nothing else runs, and beside five times as many heavy queries or writes as can be.
async fn mixed(server: &Server, work: &Arc<Work>, kind: Kind, span: Duration, wrong: &mut u64) {
    let most = capacity(work, kind, span / 2, wrong).await;
    let alone = at_rate(work, Kind::Check, FEW_CHECKS, span).await;
    let rate = (most * 5.0).min(MOST_A_SECOND);
    let (beside, heavy) = tokio::join!(
        at_rate(work, Kind::Check, FEW_CHECKS, span),
        at_rate(work, kind, rate, span)
    );
    *wrong += alone.wrong + beside.wrong + heavy.wrong;
    println!(
        "{FEW_CHECKS} checks a second: p99 {} alone, {} beside {:.1}x {} ({} of it); refused {}; memory {}\n",
        p99(&alone.sent),
        p99(&beside.sent),
        (heavy.planned_calls - heavy.unsent) as f64 / span.as_secs_f64() / most,
        kind.name(),
        to(&beside.sent, &alone.sent),
        beside.refused.len(),
        mebibytes(server.memory().now),
    );
}

fn main() -> ExitCode {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.replace('_', "").parse::<u64>().ok());
    let users = numbers.next().unwrap_or(100_000).clamp(1_000, 100_000_000);
    let span = Duration::from_secs(numbers.next().unwrap_or(2).clamp(1, 600));
    let cores = Cores::halve();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("client")
        .enable_all()
        .build()
        .expect("threads");
    runtime.block_on(async {
        let server = Server::start(MEMORY, cores.as_ref());
        println!("{users} users, 13 properties; {}", server.limited());
        match cores.as_ref().map(Cores::counts) {
            Some((server, client)) => println!("processors: {server} for the server, {client} for clients"),
            None => println!("the server and its clients share the processors"),
        }
        let work = Arc::new(Work::load(&server, users).await);
        println!("loaded: memory {}\n", mebibytes(server.memory().now));
        let mut wrong = 0;
        for kind in [Kind::Breakdown, Kind::Write, Kind::Check] {
            overload(&server, &work, kind, span, &mut wrong).await;
        }
        for kind in [Kind::Breakdown, Kind::Write] {
            mixed(&server, &work, kind, span, &mut wrong).await;
        }
        let lost = work.lost().await;
        let memory = server.memory();
        println!(
            "wrong answers: {wrong}; writes lost or done though refused: {lost}; most memory: {} of {}",
            mebibytes(memory.most),
            mebibytes(MEMORY)
        );
        println!(
            "p99 answered is from when a call was sent; p99 from plan from when it was to be sent, so \
             that it has in it what the client itself was late. Calls come at random moments. The first \
             second of each load is not counted, nor what is answered after its last one. The load is \
             what was sent; what the client could not send in time is unsent."
        );
        if wrong == 0 && lost == 0 && memory.most <= MEMORY {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    })
}
