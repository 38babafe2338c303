//! The users that a bench asks of and writes to: who they are, and how they get there.
//!
//! Invariant: users that no bench made are not written to; a population that has such users gets others only
//! where that is allowed by name.

#![expect(
    clippy::disallowed_types,
    reason = "a client is answered with statuses"
)]

use std::collections::VecDeque;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::arguments::BenchArgs;
use super::people::{self, EVENTS, MARK, SEGMENTS};
use super::requests::{Users, turned};
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::output::{self, counted, grouped};
use crate::clock::{Clock, SystemClock};
use crate::proto::{
    CountRequest, CreateEventRequest, CreatePropertyRequest, CreateSegmentRequest,
    EventDeclaration, ListMembersRequest, Property, Segment, UserUpdate, ValueType,
    WriteStreamRequest, count_request, list_members_request, segment,
};

/// Users who are made if it is not said how many.
const DEFAULT: u64 = 100_000;
const BATCH: u64 = 500;
/// Batches that wait for their acknowledgement.
const IN_FLIGHT: usize = 16;
/// Users of a population that no bench made, of whom is asked.
const ASKED: usize = 100_000;
const PAGE: i32 = 10_000;

/// Who is in a population.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Census {
    /// Those a bench made.
    own: u64,
    all: u64,
}

/// What a bench is about to do to a population.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intent {
    pub(super) writes: bool,
    pub(super) moves: bool,
}

/// Makes the users if that is asked for, and tells who there is.
pub(super) async fn users(
    client: &Client,
    args: &BenchArgs,
    intent: Intent,
) -> Result<Users, CliError> {
    let population = &client.population;
    let census = census(client).await?;
    let others = census.all - census.own;
    if others > 0 && (args.prepare || intent.writes) && !args.among_others {
        let others = counted(others, "user");
        return Err(CliError::Input(format!(
            "population {population:?} has {others} whom no bench made: name another one with --population, or allow writing beside them with --among-others"
        )));
    }
    let own = if args.prepare {
        let count = args.users.unwrap_or(DEFAULT);
        // First, so that who may not do it finds out before the rest is done.
        declare(client).await?;
        make(client, args.seed, count).await?;
        save_segments(client).await?;
        census.own.max(count)
    } else {
        census.own
    };
    let needs_own = intent.writes || args.filter.is_empty();
    if own == 0 {
        if census.all == 0 || needs_own {
            return Err(CliError::Input(format!(
                "population {population:?} has no users of a bench: make some with --prepare{}",
                if census.all > 0 && !intent.writes {
                    ", or say what to ask of those who are there with --filter"
                } else {
                    ""
                }
            )));
        }
        return Ok(Users::There(list(client).await?));
    }
    match args.users {
        Some(users) if users > own => Err(CliError::Input(format!(
            "population {population:?} has {} of a bench, less than --users {users}: make more with --prepare",
            counted(own, "user"),
        ))),
        Some(users) => Ok(Users::Made(users)),
        None => Ok(Users::Made(own)),
    }
}

async fn census(client: &Client) -> Result<Census, CliError> {
    let all = count(client, "TRUE").await?;
    let own = if all > 0 {
        count(client, &format!("{MARK} IS SET")).await?
    } else {
        0
    };
    // In this order, so that who comes meanwhile is no user of a bench.
    let all = count(client, "TRUE").await?.max(own);
    Ok(Census { own, all })
}

/// How many users a filter has; none if there is no such population or property yet.
async fn count(client: &Client, filter: &str) -> Result<u64, CliError> {
    let request = CountRequest {
        population: client.population.clone(),
        selection: Some(count_request::Selection::Filter(filter.to_owned())),
        ..CountRequest::default()
    };
    match client.query().count(request).await {
        Ok(answer) => Ok(answer.into_inner().count),
        Err(status) if reason(&status) == "POPULATION_NOT_FOUND" => Ok(0),
        Err(status) if reason(&status) == "UNKNOWN_PROPERTY" => Ok(0),
        Err(status) => Err(status.into()),
    }
}

async fn list(client: &Client) -> Result<Vec<String>, CliError> {
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListMembersRequest {
            population: client.population.clone(),
            selection: Some(list_members_request::Selection::Filter("TRUE".into())),
            page_size: PAGE,
            page_token,
            ..ListMembersRequest::default()
        };
        let page = client.query().list_members(request).await?.into_inner();
        ids.extend(page.user_ids);
        page_token = page.next_page_token;
        if page_token.is_empty() || ids.len() >= ASKED {
            ids.truncate(ASKED);
            return Ok(ids);
        }
    }
}

async fn make(client: &Client, seed: u64, users: u64) -> Result<(), CliError> {
    let now = SystemClock.now().micros() / 1_000_000;
    let today = now - now.rem_euclid(86_400);
    let progress = ProgressBar::new(users);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}") {
        progress.set_style(style);
    }
    if !output::is_watched() {
        progress.set_draw_target(ProgressDrawTarget::hidden());
    }
    let batches = (0..users.div_ceil(BATCH)).map(|batch| {
        let first = batch * BATCH;
        let last = users.min(first + BATCH);
        let batch = (first..last).map(|number| people::user(seed, number, today));
        batch.collect::<Vec<_>>()
    });
    let written = write(client, batches, |users| {
        progress.set_position(users);
        progress.set_message(format!("{} users", grouped(users)));
    });
    let written = written.await;
    progress.finish_and_clear();
    written
}

/// Writes batches over a stream; the first that is refused is an error.
async fn write(
    client: &Client,
    batches: impl Iterator<Item = Vec<UserUpdate>>,
    tell: impl Fn(u64),
) -> Result<(), CliError> {
    let (requests, receiver) = mpsc::channel(IN_FLIGHT);
    let mut ingest = client.ingest();
    let answers = ingest.write_stream(ReceiverStream::new(receiver)).await?;
    let mut answers = answers.into_inner();
    let mut waiting = VecDeque::new();
    let mut written = 0;
    let mut batches = (1..).zip(batches);
    loop {
        while waiting.len() < IN_FLIGHT {
            let Some((sequence, updates)) = batches.next() else {
                break;
            };
            waiting.push_back(updates.len() as u64);
            let request = WriteStreamRequest {
                sequence,
                population: client.population.clone(),
                updates,
                ..WriteStreamRequest::default()
            };
            // If it can't be sent, the answers say why.
            let _ = requests.send(request).await;
        }
        let Some(users) = waiting.pop_front() else {
            return Ok(());
        };
        let answer = answers.message().await?.ok_or_else(|| CliError::Broken {
            cause: "it ended the stream of writes".into(),
        })?;
        if let Some(error) = answer.error {
            return Err(refusal(error.code, &error.message));
        }
        written += users;
        tell(written);
    }
}

/// What was written was refused on the stream; whether it can be tried again is in the code.
fn refusal(code: i32, message: &str) -> CliError {
    let message = format!("the users of the bench were refused: {message}");
    CliError::from(Status::new(code.into(), message))
}

/// Declares what filters ask of and few users might not have.
async fn declare(client: &Client) -> Result<(), CliError> {
    for (name, value_type) in [
        ("age", ValueType::Int64),
        ("tags", ValueType::StringSet),
        (people::WRITES, ValueType::Int64),
    ] {
        let request = CreatePropertyRequest {
            population: client.population.clone(),
            property: Some(Property {
                name: name.into(),
                r#type: value_type.into(),
                ..Property::default()
            }),
        };
        is_there(client.schema().create_property(request).await)?;
    }
    for name in EVENTS {
        let request = CreateEventRequest {
            population: client.population.clone(),
            event: Some(EventDeclaration {
                name: name.into(),
                ..EventDeclaration::default()
            }),
        };
        is_there(client.schema().create_event(request).await)?;
    }
    Ok(())
}

/// What was there before is as good.
fn is_there<T>(created: Result<T, Status>) -> Result<(), CliError> {
    match created {
        Err(status) if status.code() != Code::AlreadyExists => Err(status.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn save_segments(client: &Client) -> Result<(), CliError> {
    for (name, filter) in SEGMENTS {
        let request = CreateSegmentRequest {
            population: client.population.clone(),
            segment: Some(Segment {
                name: name.into(),
                definition: Some(segment::Definition::Filter(filter.into())),
                ..Segment::default()
            }),
            ..CreateSegmentRequest::default()
        };
        is_there(client.segments().create_segment(request).await)?;
    }
    Ok(())
}

/// Moves the first users out of the segment that is watched, wherever an earlier bench left them.
pub(super) async fn move_out(client: &Client, users: u64) -> Result<(), CliError> {
    let batches = (0..users.div_ceil(BATCH)).map(|batch| {
        let first = batch * BATCH;
        let last = users.min(first + BATCH);
        (first..last).map(|user| turned(user, false)).collect()
    });
    write(client, batches, |_| ()).await
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_on_the_stream_ends_as_one_of_a_call_does() {
        for (code, exit_code) in [
            (Code::InvalidArgument, 2),
            (Code::PermissionDenied, 2),
            (Code::Unavailable, 3),
            (Code::ResourceExhausted, 3),
        ] {
            let error = refusal(code.into(), "said");
            assert_eq!(error.exit_code(), exit_code, "{code:?}");
            let shown = error.to_string();
            assert_eq!(shown, "the users of the bench were refused: said");
        }
    }
}
