//! `segments`, `segments create`, `get`, `update`, `delete`, `add`, `remove`, `of`; `preview` stands in a file of its own.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::lists::{self, FirstMembers, Members};
use super::output::{self, Output, Table, counted, grouped, printable};
use super::query::instant;
use super::{preview, value};
use crate::proto::{
    BatchCountRequest, CreateSegmentRequest, DeleteSegmentRequest, GetSegmentRequest,
    ListSegmentsRequest, ListUserSegmentsRequest, Segment, SegmentError, Selection,
    UpdateSegmentRequest, segment, selection,
};

/// Segments that are counted by one request.
const COUNTED: usize = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum SegmentsCommand {
    /// List the segments by name: how many users, when changed, what for.
    List,
    /// Save a segment: who is in it is defined by a filter, or is a static list.
    Create {
        /// Its name.
        name: String,
        /// Who is in it, such as "plan = 'pro' AND age >= 40".
        filter: Option<String>,
        #[command(flatten)]
        first: FirstMembers,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        /// A text by key, such as team=growth. Can be given several times.
        #[arg(long = "label", value_name = "KEY=TEXT", value_parser = parse_label)]
        labels: Vec<(String, String)>,
    },
    /// Show a segment, and how it was defined before.
    Get {
        /// Its name.
        name: String,
    },
    /// Change a segment. What is not given stays as it is.
    Update {
        /// Its name.
        name: String,
        /// Who is in it from now on.
        #[arg(long)]
        filter: Option<String>,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        /// A text by key, such as team=growth, in the place of all labels that there are. Can be
        /// given several times.
        #[arg(long = "label", value_name = "KEY=TEXT", value_parser = parse_label)]
        labels: Vec<(String, String)>,
    },
    /// Show what a definition would change, and save nothing.
    ///
    /// Who would enter and leave, what each part of the definition leaves of the users, and which
    /// other segments would change with it.
    Preview(preview::PreviewArgs),
    /// Delete a segment by which no other one is defined.
    Delete {
        /// Its name.
        name: String,
    },
    /// Add users to a static list.
    Add(Members),
    /// Remove users from a static list.
    Remove(Members),
    /// Tell in which segments a user is.
    Of {
        /// The user.
        user_id: String,
        /// The instant that `now()` stands for; the present if left out.
        #[arg(long)]
        as_of: Option<String>,
    },
}

/// Reads a label.
fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, label)) if !key.is_empty() => Ok((key.into(), label.into())),
        Some(_) | None => Err("expected a key and a text, such as team=growth".into()),
    }
}

pub(super) async fn segments(
    client: Client,
    command: Option<SegmentsCommand>,
    output: Output,
) -> Result<u8, CliError> {
    match command {
        None | Some(SegmentsCommand::List) => list(&client, output).await?,
        Some(SegmentsCommand::Create {
            name,
            filter,
            first,
            description,
            labels,
        }) => {
            let segment = Segment {
                name,
                description,
                labels: labels.into_iter().collect(),
                ..Segment::default()
            };
            let Some(filter) = filter else {
                if !first.is_given() {
                    return Err(CliError::Input(
                        "who is in it is missing; give a filter, or --list or --freeze for a static list"
                            .into(),
                    ));
                }
                lists::create(&client, segment, first, output).await?;
                return Ok(0);
            };
            let request = CreateSegmentRequest {
                population: client.population.clone(),
                segment: Some(Segment {
                    definition: Some(segment::Definition::Filter(filter.clone())),
                    ..segment
                }),
                ..CreateSegmentRequest::default()
            };
            let answer = client.segments().create_segment(request).await;
            let answer = answer
                .map_err(|status| CliError::from(status).about_filter(&filter))?
                .into_inner();
            done("saved", answer.segment, &answer.revision, output)?;
        }
        Some(SegmentsCommand::Get { name }) => get(&client, name, output).await?,
        Some(SegmentsCommand::Update {
            name,
            filter,
            description,
            labels,
        }) => {
            let labels: BTreeMap<_, _> = labels.into_iter().collect();
            let paths = [
                (filter.is_some(), "filter"),
                (description.is_some(), "description"),
                (!labels.is_empty(), "labels"),
            ];
            let paths = paths.into_iter().filter(|(is_given, _)| *is_given);
            let paths: Vec<String> = paths.map(|(_, field)| field.into()).collect();
            if paths.is_empty() {
                return Err(CliError::Input(
                    "nothing is to be changed; give --filter, --description or --label".into(),
                ));
            }
            let text = filter.clone().unwrap_or_default();
            let request = UpdateSegmentRequest {
                population: client.population.clone(),
                segment: Some(Segment {
                    name,
                    definition: filter.map(segment::Definition::Filter),
                    description: description.unwrap_or_default(),
                    labels,
                    ..Segment::default()
                }),
                update_mask: Some(prost_types::FieldMask { paths }),
            };
            let answer = client.segments().update_segment(request).await;
            let answer = answer
                .map_err(|status| CliError::from(status).about_filter(&text))?
                .into_inner();
            done("updated", answer.segment, &answer.revision, output)?;
        }
        Some(SegmentsCommand::Preview(args)) => preview::preview(&client, args, output).await?,
        Some(SegmentsCommand::Delete { name }) => {
            let request = DeleteSegmentRequest {
                population: client.population.clone(),
                name: name.clone(),
                ..DeleteSegmentRequest::default()
            };
            let answer = client.segments().delete_segment(request).await?;
            let answer = answer.into_inner();
            output.answer(
                || format!("deleted {}", printable(&name)),
                || json!({ "name": name, "revision": answer.revision }),
            )?;
        }
        Some(SegmentsCommand::Add(members)) => lists::add(&client, members, output).await?,
        Some(SegmentsCommand::Remove(members)) => lists::remove(&client, members, output).await?,
        Some(SegmentsCommand::Of { user_id, as_of }) => {
            return of(&client, user_id, as_of.as_deref(), output).await;
        }
    }
    Ok(0)
}

fn done(
    what: &str,
    segment: Option<Segment>,
    revision: &str,
    output: Output,
) -> Result<(), CliError> {
    let segment = segment.unwrap_or_default();
    output.answer(
        || {
            let name = printable(&segment.name);
            format!("{what} {name}: {}", printable(&defined(&segment)))
        },
        || json!({ "segment": segment_json(&segment), "revision": revision }),
    )
}

/// The definition, if it is no static list; the service answers with filter texts.
fn filter(segment: &Segment) -> Option<&str> {
    match &segment.definition {
        Some(segment::Definition::Filter(text)) => Some(text),
        Some(segment::Definition::Expression(_) | segment::Definition::StaticList(_)) | None => {
            None
        }
    }
}

/// Who is in it, in words for people.
fn defined(segment: &Segment) -> String {
    match &segment.definition {
        Some(segment::Definition::StaticList(list)) => {
            format!("a static list of {}", counted(list.member_count, "user"))
        }
        Some(segment::Definition::Filter(_) | segment::Definition::Expression(_)) | None => {
            filter(segment).unwrap_or_default().to_owned()
        }
    }
}

/// How it is said who is in it.
fn kind(segment: &Segment) -> &'static str {
    if filter(segment).is_some() {
        "filter"
    } else {
        "list"
    }
}

fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.map(value::timestamp_text).unwrap_or_default()
}

pub(super) fn segment_json(segment: &Segment) -> serde_json::Value {
    json!({
        "name": segment.name,
        "kind": kind(segment),
        "filter": filter(segment),
        "description": segment.description,
        "labels": segment.labels,
        "created": time(segment.create_time.as_ref()),
        "updated": time(segment.update_time.as_ref()),
        "revision": segment.revision,
        "etag": segment.etag,
    })
}

async fn all(client: &Client) -> Result<Vec<Segment>, CliError> {
    let (mut segments, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSegmentsRequest {
            population: client.population.clone(),
            page_size: 1_000,
            page_token,
        };
        let page = client.segments().list_segments(request).await?.into_inner();
        segments.extend(page.segments);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(segments);
        }
    }
}

/// How many users each segment has; `None` of one that can't be asked for now, such as one whose
/// window reaches back to what is not kept any more.
async fn counts(client: &Client, segments: &[Segment]) -> Result<Vec<Option<u64>>, CliError> {
    let count = async |segments: &[Segment]| {
        let named = segments.iter().map(|segment| Selection {
            selection: Some(selection::Selection::Segment(segment.name.clone())),
        });
        let request = BatchCountRequest {
            population: client.population.clone(),
            selections: named.collect(),
            ..BatchCountRequest::default()
        };
        client.query().batch_count(request).await
    };
    let mut counts = Vec::with_capacity(segments.len());
    for part in segments.chunks(COUNTED) {
        if let Ok(answer) = count(part).await {
            counts.extend(answer.into_inner().counts.into_iter().map(Some));
            continue;
        }
        // One by one, so that one that can't be asked for does not hide the others.
        for segment in part {
            let error = match count(std::slice::from_ref(segment)).await {
                Ok(answer) => {
                    counts.push(answer.into_inner().counts.first().copied());
                    continue;
                }
                Err(status) => CliError::from(status),
            };
            if error.exit_code() != 2 {
                return Err(error);
            }
            counts.push(None);
        }
    }
    Ok(counts)
}

async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let segments = all(client).await?;
    let counts = counts(client, &segments).await?;
    output.answer(
        || {
            let mut table = Table::new(&["segment", ">users", "kind", "updated", "description"]);
            for (segment, count) in segments.iter().zip(&counts) {
                table.row([
                    segment.name.clone(),
                    count.map_or_else(|| "?".into(), grouped),
                    kind(segment).into(),
                    time(segment.update_time.as_ref()),
                    segment.description.clone(),
                ]);
            }
            table.render()
        },
        || {
            let segments = segments.iter().zip(&counts).map(|(segment, count)| {
                let mut segment = segment_json(segment);
                segment["users"] = json!(count);
                segment
            });
            json!({ "segments": segments.collect::<Vec<_>>() })
        },
    )
}

async fn get(client: &Client, name: String, output: Output) -> Result<(), CliError> {
    let request = GetSegmentRequest {
        population: client.population.clone(),
        name,
    };
    let answer = client.segments().get_segment(request).await?.into_inner();
    let segment = answer.segment.unwrap_or_default();
    output.answer(
        || {
            let mut lines = Table::new(&["segment", &printable(&segment.name)]);
            lines.row([kind(&segment).into(), defined(&segment)]);
            if !segment.description.is_empty() {
                lines.row(["description".into(), segment.description.clone()]);
            }
            for (key, label) in &segment.labels {
                lines.row([format!("label {key}"), label.clone()]);
            }
            lines.row(["created".into(), time(segment.create_time.as_ref())]);
            lines.row(["updated".into(), time(segment.update_time.as_ref())]);
            if segment.history.is_empty() {
                return lines.render();
            }
            let mut before = Table::new(&["saved", "filter before"]);
            for past in segment.history.iter().rev() {
                before.row([time(past.save_time.as_ref()), past.filter.clone()]);
            }
            format!("{}\n\n{}", lines.render(), before.render())
        },
        || {
            let history = segment.history.iter().map(|past| {
                json!({
                    "filter": past.filter,
                    "revision": past.revision,
                    "saved": time(past.save_time.as_ref()),
                })
            });
            let mut shown = segment_json(&segment);
            shown["history"] = history.collect();
            json!({ "segment": shown, "revision": answer.revision })
        },
    )
}

async fn of(
    client: &Client,
    user_id: String,
    as_of: Option<&str>,
    output: Output,
) -> Result<u8, CliError> {
    let request = ListUserSegmentsRequest {
        population: client.population.clone(),
        user_id: user_id.clone(),
        as_of: instant(as_of)?,
        min_revision: String::new(),
        want_valid_until: false,
    };
    let answer = client.segments().list_user_segments(request).await?;
    let answer = answer.into_inner();
    output.answer(
        || {
            if !answer.user_exists {
                format!("none: there is no user {}", printable(&user_id))
            } else if answer.segments.is_empty() {
                "none".into()
            } else {
                let names: Vec<String> = answer.segments.iter().map(|n| printable(n)).collect();
                names.join("\n")
            }
        },
        || {
            json!({
                "user_id": user_id,
                "user_exists": answer.user_exists,
                "segments": answer.segments,
                "errors": answer.errors.iter().map(|error| json!({
                    "segment": error.segment,
                    "message": message(error),
                })).collect::<Vec<_>>(),
                "revision": answer.revision,
            })
        },
    )?;
    for error in &answer.errors {
        let text = format!(
            "segment {:?} can't be told: {}",
            error.segment,
            message(error)
        );
        output::note(&printable(&text));
    }
    if answer.errors.is_empty() {
        Ok(u8::from(answer.segments.is_empty()))
    } else {
        Ok(CANT_BE_TOLD)
    }
}

/// The exit code where it can't be told of some segments whether a user is in them, as for a
/// question that is refused.
const CANT_BE_TOLD: u8 = 2;

fn message(error: &SegmentError) -> &str {
    error.error.as_ref().map_or("", |error| &error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_key_and_a_text() {
        let label = |key: &str, text: &str| Ok((key.to_owned(), text.to_owned()));
        assert_eq!(parse_label("team=growth"), label("team", "growth"));
        assert_eq!(parse_label("a=b=c"), label("a", "b=c"));
        assert_eq!(parse_label("a="), label("a", ""));
        assert!(parse_label("team").is_err() && parse_label("=x").is_err());
    }
}
