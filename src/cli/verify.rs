//! `verify`: is everything as it was written?

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::Global;
use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, counted, grouped};
use crate::engine::{self, Verification};
use crate::model::Revision;
use crate::proto::{PopulationVerification, VerifyRequest, VerifyResponse};
use crate::storage::{Disk, Holds, RealDisk, SurveyedFile};

/// Faults listed in a table, for each file.
const LISTED: usize = 20;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Check this data folder, which no service may use: every checksum, every record, and
    /// whether a start would succeed. Nothing in it is changed. Without it, the service compares
    /// its index with a scan of the users.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["only", "sample", "seed"])]
    data: Option<PathBuf>,
    /// Compare this population alone.
    #[arg(long, value_name = "POPULATION")]
    only: Option<String>,
    /// Compare so many shards of each population, of up to 65,536 users each, instead of all.
    #[arg(long, value_name = "SHARDS")]
    sample: Option<NonZeroU32>,
    /// Chooses the shards of a sample; chosen at random and printed if left out.
    #[arg(long, requires = "sample")]
    seed: Option<u64>,
}

pub(super) async fn verify(
    global: &Global,
    args: VerifyArgs,
    output: Output,
) -> Result<u8, CliError> {
    let Some(data) = &args.data else {
        return service(global, args, output).await;
    };
    let verification = folder(data).await?;
    print(data, &verification, output)?;
    Ok(u8::from(!verification.is_sound()))
}

/// Has the service compare its index with a scan.
async fn service(global: &Global, args: VerifyArgs, output: Output) -> Result<u8, CliError> {
    let random = || RandomState::new().hash_one(());
    let seed = args.sample.map(|_| args.seed.unwrap_or_else(random));
    let client = Client::connect(global).await?;
    let request = VerifyRequest {
        population: args.only.unwrap_or_default(),
        sample_shards: args.sample.map_or(0, NonZeroU32::get),
        seed: seed.unwrap_or_default(),
    };
    let answer = client.admin().verify(request).await?.into_inner();
    let is_sound = answer.populations.iter().all(|p| p.mismatch_count == 0);
    output.answer(
        || service_text(&answer, seed),
        || {
            let populations = answer.populations.iter().map(population_json);
            json!({
                "sound": is_sound,
                "populations": populations.collect::<Vec<_>>(),
                "seed": seed,
                "revision": answer.revision,
            })
        },
    )?;
    Ok(u8::from(!is_sound))
}

fn population_json(population: &PopulationVerification) -> Value {
    let mismatches = population.mismatches.iter().map(|mismatch| {
        json!({
            "property": mismatch.property,
            "event": mismatch.event,
            "shard": mismatch.shard,
            "count": mismatch.count,
            "description": mismatch.description,
        })
    });
    json!({
        "population": population.population,
        "shards": population.shards,
        "compared_shards": population.compared_shards,
        "compared_users": population.compared_users,
        "compared_values": population.compared_values,
        "compared_events": population.compared_events,
        "skipped_counts": population.skipped_counts,
        "mismatch_count": population.mismatch_count,
        "mismatches": mismatches.collect::<Vec<_>>(),
    })
}

fn service_text(answer: &VerifyResponse, seed: Option<u64>) -> String {
    let columns = [
        "population",
        ">shards",
        ">users",
        ">values",
        ">events",
        "state",
    ];
    let mut table = Table::new(&columns);
    let mut lines = Vec::new();
    for population in &answer.populations {
        let (compared, shards) = (population.compared_shards, population.shards);
        table.row([
            population.population.clone(),
            format!("{} of {}", grouped(compared.into()), grouped(shards.into())),
            grouped(population.compared_users),
            grouped(population.compared_values),
            grouped(population.compared_events),
            match population.mismatch_count {
                0 => "sound".into(),
                1 => "1 mismatch".into(),
                mismatches => format!("{} mismatches", grouped(mismatches)),
            },
        ]);
        let name = &population.population;
        for mismatch in &population.mismatches {
            let what = match (&*mismatch.property, &*mismatch.event) {
                ("", "") => "users".to_owned(),
                ("", event) => format!("event {event:?}"),
                (property, _) => format!("property {property:?}"),
            };
            let shard = mismatch
                .shard
                .map_or_else(String::new, |shard| format!(" in shard {shard}"));
            let (count, why) = (grouped(mismatch.count), &mismatch.description);
            lines.push(format!("{name}, {what}{shard}: {count} x {why}"));
        }
        if population.skipped_counts > 0 {
            let skipped = grouped(population.skipped_counts.into());
            let why = if compared < shards {
                "only a sample was compared"
            } else {
                "writes never stopped for long enough"
            };
            lines.push(format!(
                "{name}: {skipped} counts were not compared, since {why}"
            ));
        }
    }
    lines.extend(seed.map(|seed| format!("chosen by --seed {seed}")));
    let mut text = table.render();
    if !lines.is_empty() {
        text = format!("{text}\n\n{}", lines.join("\n"));
    }
    text
}

/// Checks a data folder, away from the threads that talk to the service.
pub(super) async fn folder(data: &Path) -> Result<Verification, CliError> {
    let data = data.to_path_buf();
    blocking("verify", move || {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        engine::verify(&disk, &data)
    })
    .await?
    .map_err(CliError::from)
}

/// Runs work that takes its time on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CliError> {
    let (sender, done) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // Whoever asked has gone only if the program ends.
            let _ = sender.send(work());
        })
        .map_err(|error| CliError::Other(format!("can't start a thread: {error}")))?;
    done.await
        .map_err(|_| CliError::Other(format!("{name} failed: a fault of the program")))
}

pub(super) fn print(
    data: &Path,
    verification: &Verification,
    output: Output,
) -> Result<(), CliError> {
    output.answer(
        || text(data, verification),
        || {
            let files = verification.files.iter().map(|file| file_json(data, file));
            json!({
                "folder": data.display().to_string(),
                "sound": verification.is_sound(),
                "store": verification.store_id.map(|id| format!("{id:016x}")),
                "files": files.collect::<Vec<_>>(),
                "start": match &verification.start {
                    Ok(started) => json!({
                        "revision": started.revision.number(),
                        "snapshot": started.snapshot.map(Revision::number),
                        "populations": started.populations,
                        "users": started.users,
                    }),
                    Err(error) => json!({ "error": error.to_string() }),
                },
            })
        },
    )
}

/// A file's path from the data folder on.
fn name<'a>(data: &Path, file: &'a SurveyedFile) -> std::borrow::Cow<'a, str> {
    file.path
        .strip_prefix(data)
        .unwrap_or(&file.path)
        .to_string_lossy()
}

fn file_json(data: &Path, file: &SurveyedFile) -> Value {
    let faults = file.faults.iter();
    let faults = faults.map(|fault| json!({ "offset": fault.offset, "fault": fault.what }));
    json!({
        "file": name(data, file),
        "bytes": file.bytes,
        "holds": holds(&file.holds),
        "faults": faults.collect::<Vec<_>>(),
        "torn": file.torn.map(|(offset, bytes)| json!({ "offset": offset, "bytes": bytes })),
    })
}

fn holds(holds: &Holds) -> String {
    match holds {
        Holds::Identity { store_id } => format!("the identity of store {store_id:016x}"),
        Holds::Log { first, next } if first == next => "no revision yet".into(),
        Holds::Log { first, next } => {
            format!("revisions {} to {}", first.number(), next.number() - 1)
        }
        Holds::Manifest { revision, sections } => {
            let sections = counted(*sections as u64, "section");
            format!("snapshot of revision {}, {sections}", revision.number())
        }
        Holds::Section { revision } => format!("section of snapshot {}", revision.number()),
        Holds::Nothing => "nothing that counts".into(),
        Holds::SetAside => "set aside, not checked".into(),
        Holds::Unknown => "unknown".into(),
    }
}

fn text(data: &Path, verification: &Verification) -> String {
    let mut table = Table::new(&["file", ">bytes", "holds", "state"]);
    let mut faults = 0;
    let mut lines = Vec::new();
    for file in &verification.files {
        let name = name(data, file);
        faults += file.faults.len();
        let state = match (&file.faults[..], file.torn) {
            ([], None) => "sound".to_owned(),
            ([], Some((offset, bytes))) => format!(
                "sound; a crash left {} of an unfinished write at byte {offset}",
                counted(bytes, "byte")
            ),
            (faults, _) => counted(faults.len() as u64, "fault"),
        };
        let (bytes, holds) = (grouped(file.bytes), holds(&file.holds));
        table.row([name.to_string(), bytes, holds, state]);
        for fault in file.faults.iter().take(LISTED) {
            lines.push(format!("{name} at byte {}: {}", fault.offset, fault.what));
        }
        if let more @ 1.. = file.faults.len().saturating_sub(LISTED) {
            let more = counted(more as u64, "fault");
            lines.push(format!("{name}: {more} more, all with --output json"));
        }
    }
    lines.push(match &verification.start {
        Ok(started) => {
            let users = counted(started.users, "user");
            let populations = counted(started.populations as u64, "population");
            format!(
                "a start finds revision {}: {users} in {populations}",
                started.revision.number()
            )
        }
        Err(error) => format!("a start fails: {error}"),
    });
    lines.push(if verification.is_sound() {
        "sound".into()
    } else if faults == 0 {
        "damaged".into()
    } else {
        format!("damaged: {}", counted(faults as u64, "fault"))
    });
    format!("{}\n\n{}", table.render(), lines.join("\n"))
}
