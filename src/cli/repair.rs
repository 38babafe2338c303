//! `repair`: what keeps a data folder from being opened is set aside.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::error::CliError;
use super::output::Output;
use super::verify::blocking;
use crate::engine::{self, Repair, RepairError, RepairStep};
use crate::storage::{Disk, RealDisk, Stretch};

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// The data folder, which no service may use.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Say what would be done and what would be lost, and change nothing.
    #[arg(long, conflicts_with = "apply", required_unless_present = "apply")]
    dry_run: bool,
    /// Do it. Nothing is deleted: what can't be used is moved into set-aside/.
    #[arg(long)]
    apply: bool,
    /// Do it also if acknowledged writes are lost, which a backup may still have.
    #[arg(long, requires = "apply")]
    accept_loss: bool,
}

impl From<RepairError> for CliError {
    fn from(error: RepairError) -> Self {
        match error {
            RepairError::Storage(error) => error.into(),
            RepairError::WouldLose(_) | RepairError::NewerVersion { .. } => {
                Self::Input(error.to_string())
            }
            RepairError::NoIdentity { .. }
            | RepairError::NothingToStartFrom { .. }
            | RepairError::NotEnough { .. } => Self::Damaged(error.to_string()),
        }
    }
}

pub(super) async fn repair(args: RepairArgs, output: Output) -> Result<u8, CliError> {
    let (data, apply, accepts_loss) = (args.data.clone(), args.apply, args.accept_loss);
    let repaired = blocking("repair", move || {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        if apply {
            engine::repair(&disk, &data, accepts_loss)
        } else {
            engine::plan_repair(&disk, &data)
        }
    });
    let repair = repaired.await??;
    output.answer(
        || text(&args, &repair),
        || {
            let steps = repair.steps.iter().map(|step| step_json(&args.data, step));
            json!({
                "folder": args.data.display().to_string(),
                "applied": args.apply,
                "steps": steps.collect::<Vec<_>>(),
                "lost": repair.loss.map(|loss| json!({
                    "from": loss.from.number(),
                    "to_at_least": loss.to.number(),
                })),
                "sound": repair.after.is_sound(),
            })
        },
    )?;
    Ok(u8::from(!repair.after.is_sound()))
}

/// A path from the data folder on.
fn inside(data: &Path, path: &Path) -> String {
    path.strip_prefix(data)
        .unwrap_or(path)
        .display()
        .to_string()
}

fn revisions(stretches: &[Stretch]) -> Option<(u64, u64)> {
    let (first, last) = (stretches.first()?, stretches.last()?);
    (first.first < last.next).then(|| (first.first.number(), last.next.number() - 1))
}

fn step_json(data: &Path, step: &RepairStep) -> Value {
    match step {
        RepairStep::SetAside { path, why } => {
            json!({ "set_aside": inside(data, path), "why": why })
        }
        RepairStep::Keep {
            path,
            stretches,
            why,
        } => json!({
            "keep_part_of": inside(data, path),
            "revisions": revisions(stretches).map(|(from, to)| json!({ "from": from, "to": to })),
            "why": why,
        }),
        RepairStep::WriteIdentity { store_id } => json!({ "identity": format!("{store_id:016x}") }),
        RepairStep::StartLog { first, .. } => json!({ "start_log_at": first.number() }),
    }
}

fn text(args: &RepairArgs, repair: &Repair) -> String {
    if repair.steps.is_empty() {
        return "sound: there is nothing to repair".into();
    }
    let mut lines = Vec::new();
    for step in &repair.steps {
        lines.push(match step {
            RepairStep::SetAside { path, why } => {
                format!("set aside {}: {why}", inside(&args.data, path))
            }
            RepairStep::Keep {
                path,
                stretches,
                why,
            } => {
                let path = inside(&args.data, path);
                let kept = revisions(stretches).map_or_else(
                    || "nothing".to_owned(),
                    |(from, to)| format!("the revisions {from} to {to}"),
                );
                format!("keep {kept} of {path}, and set the file aside: {why}")
            }
            RepairStep::WriteIdentity { store_id } => {
                format!("write the identity of store {store_id:016x}, which all other files name")
            }
            RepairStep::StartLog { first, .. } => {
                format!("begin a log at revision {}", first.number())
            }
        });
    }
    lines.push(match repair.loss {
        None => "no acknowledged write is lost".into(),
        Some(loss) => format!(
            "lost: the revisions {} to {} at least",
            loss.from.number(),
            loss.to.number()
        ),
    });
    lines.push(match (args.apply, repair.loss) {
        (true, _) => "done; what was set aside is in set-aside/".into(),
        (false, None) => "nothing was changed; --apply does it".into(),
        (false, Some(_)) => "nothing was changed; --apply --accept-loss does it".into(),
    });
    lines.join("\n")
}
