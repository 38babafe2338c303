//! `stats`: numbers about the service.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, Table, counted, grouped};
use super::value;
use crate::proto::{GetStatsRequest, GetStatsResponse, PopulationStats, StoreState};

/// Properties that a table shows.
const SHOWN_PROPERTIES: usize = 20;

pub(super) async fn stats(client: Client, output: Output) -> Result<u8, CliError> {
    let answer = client.admin().get_stats(GetStatsRequest {}).await?;
    let stats = answer.into_inner();
    output.answer(|| table(&stats), || json(&stats))?;
    Ok(0)
}

fn state(stats: &GetStatsResponse) -> &'static str {
    match stats.state() {
        StoreState::Unspecified => "unknown",
        StoreState::Serving => "serving",
        StoreState::Full => "full",
        StoreState::ReadOnly => "read_only",
        StoreState::Stopping => "stopping",
    }
}

fn seconds(duration: &prost_types::Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people to look at")]
    let seconds = duration.seconds as f64;
    seconds + f64::from(duration.nanos) / 1e9
}

/// A duration for people: three digits or so.
fn lasting(duration: Option<&prost_types::Duration>) -> String {
    let Some(seconds) = duration.map(seconds) else {
        return "-".into();
    };
    match seconds {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

fn memory(population: &PopulationStats) -> u64 {
    population.memory.iter().map(|part| part.bytes).sum()
}

fn events(population: &PopulationStats) -> u64 {
    population.events.iter().map(|event| event.events).sum()
}

fn table(stats: &GetStatsResponse) -> String {
    let mut service = Table::new(&["service", ""]);
    let mut line = |name: &str, text: String| service.row([name.to_owned(), text]);
    line("version", stats.version.clone());
    line("state", state(stats).replace('_', "-"));
    line("up for", lasting(stats.uptime.as_ref()));
    let log = stats.log.unwrap_or_default();
    let outcomes = format!(
        "{} accepted, {} refused, {} sent before; {} waiting",
        grouped(log.accepted),
        grouped(log.refused),
        grouped(log.replayed),
        grouped(log.waiting)
    );
    line("writes", outcomes);
    let syncs = format!(
        "{}, half within {}, 99 % within {}",
        grouped(log.syncs),
        lasting(log.sync_p50.as_ref()),
        lasting(log.sync_p99.as_ref())
    );
    line("syncs", syncs);
    let unsaved = match &log.unsaved_for {
        None => "everything is in the snapshot".into(),
        Some(age) => format!(
            "{} bytes are in no snapshot, the oldest for {}",
            grouped(log.unsaved_bytes),
            lasting(Some(age))
        ),
    };
    line("log", unsaved);
    let snapshot = match &stats.snapshot {
        None => "none".into(),
        Some(snapshot) => format!(
            "{} users, {} bytes, at {}; {} written, {} failed",
            grouped(snapshot.users),
            grouped(snapshot.bytes),
            snapshot
                .create_time
                .as_ref()
                .map(value::timestamp_text)
                .unwrap_or_default(),
            grouped(snapshot.written),
            grouped(snapshot.failed)
        ),
    };
    line("snapshot", snapshot);
    let queries = stats.queries.unwrap_or_default();
    let queries = format!(
        "{} running on {}, {} waiting",
        grouped(queries.running),
        counted(queries.threads, "thread"),
        grouped(queries.waiting)
    );
    line("queries", queries);
    line("watchers", grouped(stats.watchers));
    let exports = format!(
        "{}, {} bytes",
        grouped(stats.exports),
        grouped(stats.export_bytes)
    );
    line("exports", exports);

    let mut populations = Table::new(&[
        "population",
        ">users",
        ">shards",
        ">properties",
        ">segments",
        ">events",
        ">memory bytes",
    ]);
    for population in &stats.populations {
        populations.row([
            population.name.clone(),
            grouped(population.users),
            grouped(population.shards),
            grouped(population.properties.len() as u64),
            grouped(population.segments),
            grouped(events(population)),
            grouped(memory(population)),
        ]);
    }
    let mut parts: BTreeMap<&str, u64> = BTreeMap::new();
    for part in stats.populations.iter().flat_map(|one| &one.memory) {
        *parts.entry(&part.part).or_default() += part.bytes;
    }
    let mut by_part = Table::new(&["memory", ">bytes"]);
    for (part, bytes) in parts {
        by_part.row([part.to_owned(), grouped(bytes)]);
    }
    let mut tables = vec![service.render(), populations.render(), by_part.render()];
    tables.extend(properties(stats));
    tables.join("\n\n")
}

/// The properties with the most values.
fn properties(stats: &GetStatsResponse) -> Option<String> {
    let all = stats.populations.iter().flat_map(|population| {
        let name = &population.name;
        population.properties.iter().map(move |one| (name, one))
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, property)| std::cmp::Reverse(property.distinct_values));
    let more = all.len().saturating_sub(SHOWN_PROPERTIES);
    let mut table = Table::new(&["population", "property", "type", ">users", ">values"]);
    for (population, property) in all.iter().take(SHOWN_PROPERTIES) {
        table.row([
            (*population).clone(),
            property.name.clone(),
            value::type_name(property.r#type()).to_owned(),
            grouped(property.users),
            grouped(property.distinct_values),
        ]);
    }
    let more = match more {
        0 => String::new(),
        more => format!("\nand {} more with fewer values", grouped(more as u64)),
    };
    (!all.is_empty()).then(|| table.render() + &more)
}

fn json(stats: &GetStatsResponse) -> Json {
    let log = stats.log.unwrap_or_default();
    let duration = |duration: &Option<prost_types::Duration>| duration.as_ref().map(seconds);
    let queries = stats.queries.unwrap_or_default();
    json!({
        "version": stats.version,
        "state": state(stats),
        "uptime_seconds": duration(&stats.uptime),
        "revision": stats.revision,
        "populations": stats.populations.iter().map(of_population).collect::<Vec<_>>(),
        "log": {
            "accepted": log.accepted,
            "refused": log.refused,
            "replayed": log.replayed,
            "waiting": log.waiting,
            "waiting_bytes": log.waiting_bytes,
            "syncs": log.syncs,
            "sync_p50_seconds": duration(&log.sync_p50),
            "sync_p99_seconds": duration(&log.sync_p99),
            "written_bytes": log.written_bytes,
            "unsaved_bytes": log.unsaved_bytes,
            "unsaved_seconds": duration(&log.unsaved_for),
        },
        "snapshot": stats.snapshot.as_ref().map(|snapshot| json!({
            "revision": snapshot.revision,
            "create_time": snapshot.create_time.as_ref().map(value::timestamp_text),
            "bytes": snapshot.bytes,
            "users": snapshot.users,
            "took_seconds": duration(&snapshot.took),
            "written": snapshot.written,
            "failed": snapshot.failed,
        })),
        "queries": {
            "threads": queries.threads,
            "waiting": queries.waiting,
            "running": queries.running,
        },
        "watchers": stats.watchers,
        "exports": stats.exports,
        "export_bytes": stats.export_bytes,
    })
}

fn of_population(population: &PopulationStats) -> Json {
    let properties = population.properties.iter().map(|property| {
        json!({
            "name": property.name,
            "type": value::type_name(property.r#type()),
            "users": property.users,
            "distinct_values": property.distinct_values,
        })
    });
    let events = population.events.iter().map(|event| {
        json!({
            "name": event.name,
            "events": event.events,
            "duplicates": event.duplicates,
            "too_old": event.too_old,
            "too_far_ahead": event.too_far_ahead,
        })
    });
    let memory = population.memory.iter();
    let memory: BTreeMap<_, _> = memory.map(|part| (&part.part, part.bytes)).collect();
    json!({
        "name": population.name,
        "users": population.users,
        "shards": population.shards,
        "segments": population.segments,
        "properties": properties.collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
        "memory_bytes": memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_for_people() {
        let text = |seconds, nanos| lasting(Some(&prost_types::Duration { seconds, nanos }));
        assert_eq!(text(0, 150_000), "150 us");
        assert_eq!(text(0, 1_500_000), "1.5 ms");
        assert_eq!(text(3, 0), "3.0 s");
        assert_eq!(text(600, 0), "10 min");
        assert_eq!(text(90_000, 0), "25.0 h");
        assert_eq!(text(864_000, 0), "10.0 d");
        assert_eq!(lasting(None), "-");
    }
}
