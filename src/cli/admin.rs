//! `snapshot`, `populations`, `health`.

use clap::Args;
use serde_json::json;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, grouped};
use super::value;
use crate::proto::{CreateSnapshotRequest, ListPopulationsRequest};

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// A service, such as headcount.v1.IngestService; all of them if left out.
    #[arg(default_value = "")]
    service: String,
}

pub(super) async fn snapshot(client: Client, output: Output) -> Result<u8, CliError> {
    let answer = client
        .admin()
        .create_snapshot(CreateSnapshotRequest {})
        .await?
        .into_inner();
    let time = answer
        .create_time
        .as_ref()
        .map(value::timestamp_text)
        .unwrap_or_default();
    output.answer(
        || {
            let (users, bytes) = (grouped(answer.users), grouped(answer.bytes));
            format!("wrote a snapshot of {users} users, {bytes} bytes, at {time}")
        },
        || {
            json!({
                "users": answer.users,
                "bytes": answer.bytes,
                "create_time": time,
                "revision": answer.revision,
            })
        },
    )?;
    Ok(0)
}

pub(super) async fn populations(client: Client, output: Output) -> Result<u8, CliError> {
    let (mut populations, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPopulationsRequest {
            page_size: 1_000,
            page_token,
        };
        let page = client.admin().list_populations(request).await?.into_inner();
        populations.extend(page.populations);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    output.answer(
        || {
            let mut table = Table::new(&["population", ">users", ">properties"]);
            for population in &populations {
                let properties = population.properties.to_string();
                table.row([
                    population.name.clone(),
                    grouped(population.users),
                    properties,
                ]);
            }
            table.render()
        },
        || {
            let populations = populations.iter().map(|population| {
                json!({
                    "name": population.name,
                    "users": population.users,
                    "properties": population.properties,
                })
            });
            json!({ "populations": populations.collect::<Vec<_>>() })
        },
    )?;
    Ok(0)
}

pub(super) async fn health(
    client: Client,
    args: HealthArgs,
    output: Output,
) -> Result<u8, CliError> {
    let request = HealthCheckRequest {
        service: args.service.clone(),
    };
    let answer = HealthClient::new(client.channel.clone())
        .check(request)
        .await?
        .into_inner();
    let serving = answer.status() == ServingStatus::Serving;
    output.answer(
        || if serving { "serving" } else { "not serving" }.into(),
        || json!({ "service": args.service, "serving": serving }),
    )?;
    Ok(u8::from(!serving))
}
