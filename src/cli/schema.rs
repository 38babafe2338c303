//! `schema list`, `values`, `create`, `delete`.

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{self, Output, Table, bar, counted, grouped, percent};
use super::value;
use crate::proto::{
    CreatePropertyRequest, DeletePropertyRequest, ListPropertiesRequest, ListValuesRequest,
    Property, ValueType,
};

#[derive(Debug, Subcommand)]
pub(super) enum SchemaCommand {
    /// List the properties.
    List,
    /// List the values of a property with their numbers of users.
    Values {
        /// The property.
        property: String,
        /// Only values that begin with this.
        #[arg(long, default_value = "")]
        prefix: String,
        /// How many values to list at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Declare a property.
    Create {
        /// Its name.
        name: String,
        /// Its type: bool, string, `string_set`, int64, double, timestamp or version.
        #[arg(value_parser = parse_type)]
        value_type: ValueType,
        /// Match texts without regard to case.
        #[arg(long)]
        case_insensitive: bool,
    },
    /// Delete a property with all its values.
    Delete {
        /// Its name.
        name: String,
    },
}

fn parse_type(text: &str) -> Result<ValueType, String> {
    value::type_of_name(text).ok_or_else(|| {
        "expected bool, string, string_set, int64, double, timestamp or version".to_owned()
    })
}

pub(super) async fn schema(
    client: Client,
    command: SchemaCommand,
    output: Output,
) -> Result<u8, CliError> {
    match command {
        SchemaCommand::List => list(&client, output).await?,
        SchemaCommand::Values {
            property,
            prefix,
            limit,
        } => values(&client, &property, &prefix, limit, output).await?,
        SchemaCommand::Create {
            name,
            value_type,
            case_insensitive,
        } => {
            let request = CreatePropertyRequest {
                population: client.population.clone(),
                property: Some(Property {
                    name: name.clone(),
                    r#type: value_type.into(),
                    case_insensitive,
                    ..Property::default()
                }),
            };
            let answer = client.schema().create_property(request).await?.into_inner();
            output.answer(
                || format!("declared {name} as {}", value::type_name(value_type)),
                || json!({ "property": property_json(&answer.property.unwrap_or_default()), "revision": answer.revision }),
            )?;
        }
        SchemaCommand::Delete { name } => {
            let request = DeletePropertyRequest {
                population: client.population.clone(),
                name: name.clone(),
            };
            let answer = client.schema().delete_property(request).await?.into_inner();
            output.answer(
                || format!("deleted {name}"),
                || json!({ "name": name, "revision": answer.revision }),
            )?;
        }
    }
    Ok(0)
}

fn property_json(property: &Property) -> serde_json::Value {
    json!({
        "name": property.name,
        "type": value::type_name(property.r#type()),
        "case_insensitive": property.case_insensitive,
        "users": property.users,
        "distinct_values": property.distinct_values,
    })
}

/// All properties, and how many users there are.
pub(super) async fn all_properties(client: &Client) -> Result<(Vec<Property>, u64), CliError> {
    let (mut properties, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPropertiesRequest {
            population: client.population.clone(),
            page_size: 1_000,
            page_token,
        };
        let page = client.schema().list_properties(request).await?.into_inner();
        properties.extend(page.properties);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok((properties, page.users));
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let (properties, users) = all_properties(client).await?;
    output.answer(
        || {
            let mut table = Table::new(&["property", "type", ">users", ">values", "case"]);
            for property in &properties {
                let values = match property.distinct_values {
                    0 => String::new(),
                    values => grouped(values),
                };
                let case = if property.case_insensitive { "insensitive" } else { "" };
                let type_name = value::type_name(property.r#type());
                table.row([property.name.clone(), type_name.into(), grouped(property.users), values, case.into()]);
            }
            format!("{}\n\n{}", table.render(), counted(users, "user"))
        },
        || json!({ "users": users, "properties": properties.iter().map(property_json).collect::<Vec<_>>() }),
    )?;
    Ok(())
}

async fn values(
    client: &Client,
    property: &str,
    prefix: &str,
    limit: usize,
    output: Output,
) -> Result<(), CliError> {
    let (mut values, mut page_token) = (Vec::new(), String::new());
    let mut more = false;
    while values.len() < limit {
        let request = ListValuesRequest {
            population: client.population.clone(),
            property: property.into(),
            prefix: prefix.into(),
            page_size: i32::try_from((limit - values.len()).min(10_000)).unwrap_or(10_000),
            page_token,
        };
        let page = client.schema().list_values(request).await?.into_inner();
        values.extend(page.values);
        page_token = page.next_page_token;
        more = !page_token.is_empty();
        if !more {
            break;
        }
    }
    let most = values
        .iter()
        .map(|counted| counted.count)
        .max()
        .unwrap_or(0);
    let sum: u64 = values.iter().map(|counted| counted.count).sum();
    output.answer(
        || {
            let mut table = Table::new(&[property, ">users", ">share", ""]);
            for counted in &values {
                let value = counted.value.as_ref().map(value::text).unwrap_or_default();
                let share = percent(counted.count, sum);
                table.row([
                    value,
                    grouped(counted.count),
                    share,
                    bar(counted.count, most, 24),
                ]);
            }
            table.render()
        },
        || {
            let values = values.iter().map(|counted| {
                json!({ "value": counted.value.as_ref().map(value::json), "count": counted.count })
            });
            json!({ "property": property, "values": values.collect::<Vec<_>>(), "more": more })
        },
    )?;
    if more && !output.is_json() {
        output::note("there are more: --limit N lists them");
    }
    Ok(())
}
