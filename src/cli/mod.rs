//! The command line: a client of the service like any other, save `serve` and `demo`, which start
//! one.
//!
//! Invariants: everything is printed through `output`; a command that fails prints one plain
//! error with a way out, and ends with a documented exit code.

mod admin;
mod analysis;
mod backup;
mod bench;
mod client;
mod compare;
mod config;
mod demo;
mod error;
mod events;
mod export;
mod import;
mod lists;
mod measure;
mod output;
mod overlap;
mod preview;
#[cfg(feature = "testing")]
pub mod probe;
mod query;
mod repair;
mod rfm;
mod schema;
mod segments;
mod serve;
mod stats;
mod token;
mod user;
mod value;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use client::{Access, Client};
use error::CliError;
use output::{Format, Output};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the answer is no: the user is in none of the segments, the service is not healthy,
     what is checked is damaged; calls of a bench failed
  2  bad input: the command line, a filter, a file, a value; a token or certificate that is
     missing, unknown, or may not do that
  3  the service can't be reached, or refuses for now
  4  anything else: a fault, an error of the disk
  5  an import left out bad rows, as it was told to, or events were refused as too old or too
     far ahead";

/// Which users are in which segment, and how many are they, now?
#[derive(Debug, Parser)]
#[command(name = "headcount", version, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Args)]
struct Global {
    /// The service to talk to.
    #[arg(
        long,
        global = true,
        env = "HEADCOUNT_SERVER",
        default_value = "http://127.0.0.1:7171"
    )]
    server: String,
    /// The population: a universe of users of its own; `default` if left out, and for `bench` a
    /// population `bench`.
    #[arg(long, global = true, env = "HEADCOUNT_POPULATION")]
    population: Option<String>,
    #[command(flatten)]
    access: Access,
    /// What to print: a table for people or JSON for programs.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    Serve(config::ServeArgs),
    /// Show the settings of `serve` that are in force, and where each comes from.
    ///
    /// Takes what `serve` takes, and starts nothing.
    Config(config::ConfigArgs),
    /// Make a token, and the entry for the file of tokens that lets its bearer in.
    ///
    /// The token is shown this once and kept nowhere: the file holds only its hash.
    Token(token::TokenArgs),
    /// Run the service over sample customers, show some answers, and go on serving.
    Demo(demo::DemoArgs),
    /// Read users, or what they did, from a CSV or NDJSON file.
    Import(import::ImportArgs),
    /// Count the users of a segment.
    Count(query::CountArgs),
    /// Tell whether a user is in some segments.
    Check(query::CheckArgs),
    /// List the users of a segment.
    Members(query::MembersArgs),
    /// Write the users of a segment to a file, or those of several as bitmaps to a folder.
    ///
    /// All of it is as of one moment. Where the connection breaks, it goes on where it was.
    Export(export::ExportArgs),
    /// Count the users of a segment by the values of properties.
    Breakdown(analysis::BreakdownArgs),
    /// Show what a number, a timestamp, or what they did is like among the users of a segment.
    Summarize(analysis::SummarizeArgs),
    /// Show how several segments overlap, and which of them reach the most users.
    Overlap(overlap::OverlapArgs),
    /// Find what sets the users of a segment apart from everyone else, or from another segment's.
    Compare(compare::CompareArgs),
    /// Score users by how recently, how often and for how much they did something, and group them.
    Rfm(rfm::RfmArgs),
    /// Show how a segment is evaluated.
    Explain(query::ExplainArgs),
    /// Show or erase one user.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Show or change the properties.
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Show or change the events.
    Events {
        #[command(subcommand)]
        command: Option<events::EventsCommand>,
    },
    /// Show or change the saved segments.
    Segments {
        #[command(subcommand)]
        command: Option<segments::SegmentsCommand>,
    },
    /// Show who enters and leaves segments, as it happens.
    ///
    /// A line has the time, + for one who enters, - for one who leaves and = for one who was in the
    /// segment already, the segment, the user, and why.
    Watch(watch::WatchArgs),
    /// Write a snapshot to disk.
    Snapshot,
    /// Put a running service under load, and show how long its answers take.
    ///
    /// Asks of the users of a population of its own, which --prepare makes, or with --filter of those
    /// who are there. Without --rate the loop is closed: so many calls are in flight, each followed by the next
    /// one. With --rate it is open: calls are due at fixed instants, and each time is counted from that instant
    /// on, however late the call could be sent. Ends with 1 if calls failed; refusals are no failures.
    Bench(bench::BenchArgs),
    /// Make a folder of everything as it is now, from which a store can be restored.
    ///
    /// The folder is a data folder of its own, checked whole. It also holds the users who are
    /// erased later: restoring it brings them back, so that they have to be erased again.
    Backup(backup::BackupArgs),
    /// Make a data folder of a backup.
    ///
    /// Users who were erased after the backup was made are there again and have to be erased
    /// again. Nothing is restored over a folder that holds anything.
    Restore(backup::RestoreArgs),
    /// Set aside what keeps a data folder from being opened.
    ///
    /// A snapshot that is damaged, a file that is none of Headcount's, what of the log can't be used:
    /// all is moved into set-aside/, nothing is deleted. Look with --dry-run first.
    Repair(repair::RepairArgs),
    /// Check the index of the service, or a data folder.
    Verify(verify::VerifyArgs),
    /// List the populations.
    Populations,
    /// Show numbers about the service: users, memory, the log, what waits.
    Stats,
    /// Tell whether the service is healthy.
    Health(admin::HealthArgs),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.global.output);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli, output)),
        Err(error) => Err(CliError::Other(format!("can't start: {error}"))),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(CliError::Unread) => ExitCode::from(CliError::Unread.exit_code()),
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(cli: Cli, output: Output) -> Result<u8, CliError> {
    let global = cli.global;
    // A command that talks to the service is given a connection.
    match cli.command {
        Command::Serve(args) => serve::serve(args, output).await,
        Command::Config(args) => config::config(&args, output),
        Command::Token(args) => token::token(&args, output),
        Command::Demo(args) => demo::demo(args, output).await,
        Command::Import(args) => import::import(&global, args, output).await,
        Command::Count(args) => query::count(Client::connect(&global).await?, args, output).await,
        Command::Check(args) => query::check(Client::connect(&global).await?, args, output).await,
        Command::Members(args) => {
            query::members(Client::connect(&global).await?, args, output).await
        }
        Command::Export(args) => {
            export::export(Client::connect(&global).await?, args, output).await
        }
        Command::Breakdown(args) => {
            analysis::breakdown(Client::connect(&global).await?, args, output).await
        }
        Command::Summarize(args) => {
            analysis::summarize(Client::connect(&global).await?, args, output).await
        }
        Command::Overlap(args) => {
            overlap::overlap(Client::connect(&global).await?, args, output).await
        }
        Command::Compare(args) => {
            compare::compare(Client::connect(&global).await?, args, output).await
        }
        Command::Rfm(args) => rfm::rfm(Client::connect(&global).await?, args, output).await,
        Command::Explain(args) => {
            query::explain(Client::connect(&global).await?, args, output).await
        }
        Command::User(command) => {
            user::user(Client::connect(&global).await?, command, output).await
        }
        Command::Schema(command) => {
            schema::schema(Client::connect(&global).await?, command, output).await
        }
        Command::Events { command } => {
            events::events(Client::connect(&global).await?, command, output).await
        }
        Command::Segments { command } => {
            segments::segments(Client::connect(&global).await?, command, output).await
        }
        Command::Watch(args) => watch::watch(Client::connect(&global).await?, args, output).await,
        Command::Bench(args) => bench::bench(&global, args, output).await,
        Command::Snapshot => admin::snapshot(Client::connect(&global).await?, output).await,
        Command::Backup(args) => backup::backup(&global, args, output).await,
        Command::Restore(args) => backup::restore(args, output).await,
        Command::Repair(args) => repair::repair(args, output).await,
        Command::Verify(args) => verify::verify(&global, args, output).await,
        Command::Populations => admin::populations(Client::connect(&global).await?, output).await,
        Command::Stats => stats::stats(Client::connect(&global).await?, output).await,
        Command::Health(args) => admin::health(Client::connect(&global).await?, args, output).await,
    }
}
