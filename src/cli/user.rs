//! `user get`, `user delete`.

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, printable};
use super::value;
use crate::proto::{DeleteUserRequest, GetUserRequest};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Show all properties of a user.
    Get {
        /// The user.
        user_id: String,
    },
    /// Erase a user with all properties.
    Delete {
        /// The user.
        user_id: String,
        /// Succeed also when there is no such user.
        #[arg(long)]
        allow_missing: bool,
    },
}

pub(super) async fn user(
    client: Client,
    command: UserCommand,
    output: Output,
) -> Result<u8, CliError> {
    match command {
        UserCommand::Get { user_id } => {
            let request = GetUserRequest {
                population: client.population.clone(),
                user_id,
                ..GetUserRequest::default()
            };
            let answer = client.users().get_user(request).await?.into_inner();
            let user = answer.user.unwrap_or_default();
            output.answer(
                || {
                    let mut table = Table::new(&["property", "value"]);
                    for (name, value) in &user.properties {
                        table.row([name.clone(), value::text(value)]);
                    }
                    format!("{}\n\n{}", printable(&user.user_id), table.render())
                },
                || {
                    let properties = user.properties.iter();
                    let properties: serde_json::Map<String, serde_json::Value> =
                        properties.map(|(name, value)| (name.clone(), value::json(value))).collect();
                    json!({ "user_id": user.user_id, "properties": properties, "revision": answer.revision })
                },
            )?;
        }
        UserCommand::Delete {
            user_id,
            allow_missing,
        } => {
            let request = DeleteUserRequest {
                population: client.population.clone(),
                user_id: user_id.clone(),
                allow_missing,
                ..DeleteUserRequest::default()
            };
            let answer = client.users().delete_user(request).await?.into_inner();
            let time = answer.erase_time.as_ref().map(value::timestamp_text);
            let gone_by = answer.erased_from_disk_by.as_ref();
            let gone_by = gone_by.map(value::timestamp_text);
            output.answer(
                || {
                    let user = printable(&user_id);
                    match &gone_by {
                        _ if !answer.existed => format!("there was no user {user}"),
                        Some(time) => format!("erased {user}, off the disk by {time}"),
                        None => format!("erased {user}"),
                    }
                },
                || {
                    json!({
                        "user_id": user_id,
                        "existed": answer.existed,
                        "erase_time": time,
                        "erased_from_disk_by": gone_by,
                        "revision": answer.revision,
                    })
                },
            )?;
        }
    }
    Ok(0)
}
