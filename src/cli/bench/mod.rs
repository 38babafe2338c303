//! `bench`: a running service under load, and how long its answers take.
//!
//! Invariants: what is sent is known before the load begins, from the arguments and the seed; each call
//! that counts is counted once, as answered, refused or failed.

mod arguments;
mod chance;
mod load;
mod mix;
mod moves;
mod people;
mod prepare;
mod report;
mod requests;
mod schedule;
mod tally;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::client::Client;
use super::error::CliError;
use super::output::{self, Output, grouped};
use super::{Global, serve};
pub(super) use arguments::BenchArgs;
use load::{Notes, Work};
use mix::Operation;
use moves::{MOVED, Watchers};
use prepare::Intent;
use report::Report;
use requests::{Source, Users};
use schedule::Schedule;

/// The population of a bench if none is named.
const POPULATION: &str = "bench";
const SECOND: Duration = Duration::from_secs(1);

/// Prepares the users if asked to, puts the service under load, and reports.
pub(super) async fn bench(
    global: &Global,
    args: BenchArgs,
    output: Output,
) -> Result<u8, CliError> {
    let (plan, patience, mix) = (args.plan()?, args.patience()?, args.mix());
    let global = Global {
        population: Some(
            global
                .population
                .clone()
                .unwrap_or_else(|| POPULATION.into()),
        ),
        ..global.clone()
    };
    let mut files = report::files(args.histogram.as_deref(), mix)?;
    let mut clients = Vec::new();
    for _ in 0..args.connections() {
        clients.push(Client::connect(&global).await?);
    }
    let Some(client) = clients.first() else {
        return Err(CliError::Input("--connections 0 reaches nothing".into()));
    };
    let intent = Intent {
        writes: mix.has(Operation::Write) || mix.has(Operation::Move),
        moves: mix.has(Operation::Move),
    };
    let interruption = serve::interruption()?;
    let mut interruption = std::pin::pin!(interruption);
    let interrupted = || CliError::Other("interrupted before the load began".into());
    let prepared = tokio::select! {
        prepared = prepare(client, &args, intent) => prepared?,
        () = &mut interruption => return Err(interrupted()),
    };
    let (users, moved) = prepared;

    let watchers = if intent.moves {
        args.watchers as usize
    } else {
        0
    };
    let watchers = Arc::new(Watchers::new(watchers, moved));
    let listening = moves::watch(&clients, &watchers).await?;
    let source = Source {
        population: &client.population,
        seed: args.seed,
        users: &users,
        filters: &args.filter,
        batch: args.batch,
    };
    let work = Arc::new(work(&source, &args, mix, patience, &watchers, moved));
    let notes: Notes = Arc::new(
        clients
            .iter()
            .map(|_| std::sync::Mutex::default())
            .collect(),
    );

    let schedule = Arc::new(Schedule::new(plan));
    let is_interrupted = load(&clients, &args, &work, &schedule, &notes, interruption).await?;
    let counted = schedule.counted();
    let watched = watchers.ended(moves::LAST).await;
    for listener in listening {
        listener.abort();
    }
    let report = Report {
        server: &global.server,
        population: &client.population,
        args: &args,
        mix,
        plan,
        senders: args.senders(),
        users: users.count(),
        counted,
        is_interrupted,
        tally: load::noted(&notes),
        kept: schedule.kept(),
        watched: intent.moves.then_some(watched),
    };
    report.write(&mut files)?;
    output.answer(|| report.text(), || report.json())?;
    Ok(u8::from(report.has_failures()))
}

/// Sends all there is to send, and tells whether it was interrupted.
async fn load(
    clients: &[Client],
    args: &BenchArgs,
    work: &Arc<Work>,
    schedule: &Arc<Schedule>,
    notes: &Notes,
    mut interruption: Pin<&mut impl Future<Output = ()>>,
) -> Result<bool, CliError> {
    let senders = args.senders();
    let waiting = usize::try_from(senders).unwrap_or(usize::MAX);
    let releasing = Arc::clone(schedule);
    let releasing = std::thread::Builder::new()
        .name("release".into())
        .spawn(move || releasing.release(waiting))
        .map_err(|error| CliError::Other(format!("can't start a thread: {error}")))?;
    let mut sending = load::start(clients, senders, work, schedule, notes);
    let mut seconds = interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    seconds.tick().await;
    let mut is_interrupted = false;
    loop {
        tokio::select! {
            ended = sending.join_next() => match ended {
                Some(ended) => ended.map_err(|error| CliError::Other(error.to_string()))?,
                None => break,
            },
            () = &mut interruption, if !is_interrupted => {
                is_interrupted = true;
                schedule.stop();
            }
            _ = seconds.tick() => progress(schedule, notes),
        }
    }
    if releasing.join().is_err() {
        let fault = "the schedule failed: a fault of the program";
        return Err(CliError::Other(fault.into()));
    }
    Ok(is_interrupted)
}

/// Who is asked of, and how many of them are moved.
async fn prepare(
    client: &Client,
    args: &BenchArgs,
    intent: Intent,
) -> Result<(Users, u64), CliError> {
    let users = prepare::users(client, args, intent).await?;
    if !intent.moves {
        return Ok((users, 0));
    }
    let senders = args.senders();
    let moved = users.count().min(MOVED.max(senders));
    if moved < senders {
        return Err(CliError::Input(format!(
            "{} can't be moved by {} calls in flight, each of which moves its own: make more with --prepare, or say fewer with --in-flight",
            output::counted(moved, "user"),
            grouped(senders),
        )));
    }
    prepare::move_out(client, moved).await?;
    Ok((users, moved))
}

fn work(
    source: &Source<'_>,
    args: &BenchArgs,
    mix: mix::Mix,
    patience: Duration,
    watchers: &Arc<Watchers>,
    moved: u64,
) -> Work {
    let is_streamed = args.stream && mix.has(Operation::Write);
    let if_sent = |operation, make: &dyn Fn() -> Vec<_>| {
        if mix.has(operation) {
            make()
        } else {
            Vec::new()
        }
    };
    Work {
        population: source.population.to_owned(),
        seed: args.seed,
        mix,
        patience,
        checks: if_sent(Operation::Check, &|| source.checks()),
        counts: if_sent(Operation::Count, &|| source.counts()),
        writes: if is_streamed {
            Vec::new()
        } else {
            if_sent(Operation::Write, &|| source.writes())
        },
        streamed: is_streamed.then(|| source.updates()),
        watchers: Arc::clone(watchers),
        moved,
    }
}

/// A line a second, for people who wait.
fn progress(schedule: &Schedule, notes: &Notes) {
    if !output::is_watched() {
        return;
    }
    let all = load::noted(notes).all();
    let counted = schedule.counted();
    if counted.is_zero() {
        output::note("warming up");
        return;
    }
    let rate = report::rate(all.answered_within, counted);
    output::note(&format!(
        "{:>5} s  {:>10} calls  {:>9} answered a second  99 % within {}  {} refused, {} failed",
        counted.as_secs(),
        grouped(all.calls()),
        grouped(rate),
        report::short(all.times.histogram().value_at_quantile(0.99)),
        grouped(all.refused),
        grouped(all.failures()),
    ));
}
