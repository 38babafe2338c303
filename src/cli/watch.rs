//! `watch`: who enters and leaves segments, as it happens.

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::error::CliError;
use super::output::{self, Output, printable};
use super::value;
use crate::proto::{
    MembershipChange, ResyncCause, WatchSegmentsRequest, WatchSegmentsResponse,
    watch_segments_response::Part,
};

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// The segments; all that there are and come if left out.
    segments: Vec<String>,
    /// List those who are in them first.
    #[arg(long)]
    members: bool,
    /// Go on after the message that had this cursor, as --output json shows them.
    #[arg(long, default_value = "")]
    cursor: String,
    /// End once everything up to now has been told, and print the cursor to go on with.
    #[arg(long)]
    once: bool,
}

/// Prints a line for each change until the service or the reader ends it.
pub(super) async fn watch(client: Client, args: WatchArgs, output: Output) -> Result<u8, CliError> {
    let request = WatchSegmentsRequest {
        population: client.population.clone(),
        segments: args.segments,
        include_members: args.members,
        cursor: args.cursor,
    };
    let answer = client.segments().watch_segments(request).await?;
    let mut messages = answer.into_inner();
    while let Some(message) = messages.message().await? {
        if output.is_json() {
            output::line(&message_json(&message).to_string())?;
        } else {
            for line in lines(&message) {
                output::line(&line)?;
            }
        }
        if args.once && matches!(message.part, Some(Part::Watermark(_))) {
            if !output.is_json() {
                output::note(&format!("go on with --cursor {}", message.cursor));
            }
            break;
        }
    }
    Ok(0)
}

fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.map(value::timestamp_text).unwrap_or_default()
}

/// The word for a cause, as in the protocol.
fn word(name: &str, prefix: &str) -> String {
    let word = name.strip_prefix(prefix).unwrap_or(name);
    word.to_lowercase().replace('_', " ")
}

fn cause(change: &MembershipChange) -> String {
    word(change.cause().as_str_name(), "MEMBERSHIP_CAUSE_")
}

fn resync_cause(cause: ResyncCause) -> String {
    word(cause.as_str_name(), "RESYNC_CAUSE_")
}

/// A message for people; watermarks say nothing to them.
fn lines(message: &WatchSegmentsResponse) -> Vec<String> {
    match &message.part {
        Some(Part::Changes(changes)) => changes
            .changes
            .iter()
            .map(|change| {
                let sign = if change.entered { '+' } else { '-' };
                let (segment, user) = (printable(&change.segment), printable(&change.user_id));
                let (time, cause) = (time(change.time.as_ref()), cause(change));
                format!("{time}  {sign} {segment}  {user}  ({cause})")
            })
            .collect(),
        Some(Part::Members(members)) => {
            let segment = printable(&members.segment);
            let time = time(members.time.as_ref());
            let users = members.user_ids.iter();
            users
                .map(|user| format!("{time}  = {segment}  {}", printable(user)))
                .collect()
        }
        Some(Part::Resync(resync)) => {
            let segments = resync.segments.iter();
            let cause = resync_cause(resync.cause());
            segments
                .map(|segment| match resync.cause() {
                    ResyncCause::Deleted => format!("{} was deleted", printable(segment)),
                    ResyncCause::Unknown => {
                        format!("it can't be told who is in {}", printable(segment))
                    }
                    ResyncCause::Unspecified
                    | ResyncCause::CursorExpired
                    | ResyncCause::TooSlow
                    | ResyncCause::TooManyChanges
                    | ResyncCause::EventsDropped
                    | ResyncCause::ClockSetBack => {
                        format!("read {} anew ({cause})", printable(segment))
                    }
                })
                .collect()
        }
        Some(Part::Watermark(_)) | None => Vec::new(),
    }
}

fn message_json(message: &WatchSegmentsResponse) -> Value {
    let mut shown = match &message.part {
        Some(Part::Changes(changes)) => {
            let changes = changes.changes.iter().map(|change| {
                json!({
                    "segment": change.segment,
                    "user_id": change.user_id,
                    "entered": change.entered,
                    "cause": change.cause().as_str_name(),
                    "revision": change.revision,
                    "time": time(change.time.as_ref()),
                })
            });
            json!({ "changes": changes.collect::<Vec<_>>() })
        }
        Some(Part::Members(members)) => json!({ "members": {
            "segment": members.segment,
            "user_ids": members.user_ids,
            "revision": members.revision,
            "time": time(members.time.as_ref()),
        } }),
        Some(Part::Resync(resync)) => json!({ "resync": {
            "segments": resync.segments,
            "cause": resync.cause().as_str_name(),
        } }),
        Some(Part::Watermark(watermark)) => json!({ "watermark": {
            "revision": watermark.revision,
            "time": time(watermark.time.as_ref()),
        } }),
        None => json!({}),
    };
    shown["cursor"] = json!(message.cursor);
    shown
}
