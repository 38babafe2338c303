//! What a bench is told on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::mix::{Mix, Operation};
use super::schedule::Plan;
use crate::cli::error::CliError;
use crate::model::Span;

/// Calls in flight of a closed loop.
const IN_FLIGHT: u32 = 16;
/// Calls of an open loop that may be outstanding.
const OUTSTANDING: u32 = 1_000;
const DURATION: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// More calls than a week of them takes.
const MOST_CALLS: u64 = 1_000_000_000_000;
const HIGHEST_RATE: f64 = 1e6;
const LOWEST_RATE: f64 = 0.001;

/// What is done, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// One user against 1 to 10 filters and segments.
    Checks,
    /// Counts of filters, from cheap to dear.
    Counts,
    /// Updates of users, one in each call, or as many as --batch says.
    Writes,
    /// Users are moved into and out of a segment, and those who watch it are told.
    Watch,
    /// All of these: check=75,count=15,write=8,move=2.
    Mixed,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BenchArgs {
    /// What to do.
    #[arg(long, value_enum, default_value_t = Profile::Mixed, conflicts_with = "mix")]
    profile: Profile,
    /// What to do, as kinds of calls with their weights: check=80,count=15,write=5. A move is a write that makes a user
    /// enter or leave a segment that is watched.
    #[arg(long)]
    mix: Option<Mix>,
    /// Connections.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: u32,
    /// Calls in flight over all connections: 16 if left out. With --rate, how many may be outstanding: 1,000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: Option<u32>,
    /// Calls a second, due at fixed instants whatever became of those before (an open loop).
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// How long calls are counted: 10s if left out.
    #[arg(long, conflicts_with = "calls")]
    duration: Option<Span>,
    /// How long calls are sent before that, and not counted: 1s if left out.
    #[arg(long, conflicts_with = "calls")]
    warmup: Option<Span>,
    /// Send so many calls instead, and count all.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MOST_CALLS))]
    calls: Option<u64>,
    /// How long a call may take.
    #[arg(long, default_value = "10s")]
    timeout: Span,
    /// Users: how many --prepare makes, or of how many of those it made is asked.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) users: Option<u64>,
    /// What users, requests and their order are drawn by.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Make the users and segments first: 100,000 users, or as many as --users says.
    #[arg(long)]
    pub(super) prepare: bool,
    /// Write to a population that has other users, too. These themselves are never written to.
    #[arg(long)]
    pub(super) among_others: bool,
    /// A filter for checks and counts to ask, in place of those of the bench; can be there several times.
    #[arg(long)]
    pub(super) filter: Vec<String>,
    /// Users in a write.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    pub(super) batch: u64,
    /// Write over streams (`WriteStream`), one for each call in flight, rather than with a call for each write.
    #[arg(long)]
    pub(super) stream: bool,
    /// Streams that watch the segment that users are moved into and out of.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) watchers: u32,
    /// Write how the times are spread to a file, as text that tools for such histograms plot; a file for each kind of call
    /// if there are several: FILE-check and so on.
    #[arg(long, value_name = "FILE")]
    pub(super) histogram: Option<PathBuf>,
}

impl BenchArgs {
    pub(super) fn mix(&self) -> Mix {
        self.mix.unwrap_or_else(|| match self.profile {
            Profile::Checks => Mix::new(&[(Operation::Check, 1)]),
            Profile::Counts => Mix::new(&[(Operation::Count, 1)]),
            Profile::Writes => Mix::new(&[(Operation::Write, 1)]),
            Profile::Watch => Mix::new(&[(Operation::Move, 1)]),
            Profile::Mixed => Mix::new(&[
                (Operation::Check, 75),
                (Operation::Count, 15),
                (Operation::Write, 8),
                (Operation::Move, 2),
            ]),
        })
    }

    pub(super) fn connections(&self) -> usize {
        self.connections as usize
    }

    /// How many send, each one call at a time.
    pub(super) fn senders(&self) -> u64 {
        let default = if self.rate.is_some() {
            OUTSTANDING
        } else {
            IN_FLIGHT
        };
        u64::from(self.in_flight.unwrap_or(default))
    }

    pub(super) fn patience(&self) -> Result<Duration, CliError> {
        match time(self.timeout) {
            patience if patience.is_zero() => Err(CliError::Input(
                "--timeout 0s leaves no time to answer".into(),
            )),
            patience => Ok(patience),
        }
    }

    pub(super) fn plan(&self) -> Result<Plan, CliError> {
        let rates = LOWEST_RATE..=HIGHEST_RATE;
        if let Some(rate) = self.rate.filter(|rate| !rates.contains(rate)) {
            return Err(CliError::Input(format!(
                "--rate {rate} is out of range: from {LOWEST_RATE} to {HIGHEST_RATE} calls a second"
            )));
        }
        if let (Some(calls), Some(rate)) = (self.calls, self.rate)
            && Plan::due(rate, calls) > LONGEST
        {
            return Err(CliError::Input(format!(
                "--calls {calls} at --rate {rate} take more than 7d"
            )));
        }
        if self.calls.is_some() {
            return Ok(Plan {
                rate: self.rate,
                calls: self.calls,
                duration: Duration::ZERO,
                warm_up: Duration::ZERO,
            });
        }
        let counted = self.duration.map_or(DURATION, time);
        let warm_up = self.warmup.map_or(WARM_UP, time);
        if counted.is_zero() {
            return Err(CliError::Input("--duration 0s counts nothing".into()));
        }
        if counted.max(warm_up) > LONGEST {
            return Err(CliError::Input(
                "--duration and --warmup are at most 7d each".into(),
            ));
        }
        Ok(Plan {
            rate: self.rate,
            calls: None,
            duration: warm_up + counted,
            warm_up,
        })
    }
}

fn time(span: Span) -> Duration {
    Duration::from_micros(u64::try_from(span.micros()).unwrap_or(0))
}
