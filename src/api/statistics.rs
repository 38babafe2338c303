//! `GetStats`: numbers about the service.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deadline::Deadline;
use super::error::ApiError;
use super::{Api, convert};
use crate::engine::{self, PopulationStatistics, State};
use crate::proto::{
    EventStats, GetStatsResponse, LogStats, MemoryStats, PopulationStats, PropertyStats,
    QueryStats, SnapshotStats, StoreState,
};

/// How much the services hold themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Exports that are kept, those being evaluated included.
    pub exports: u64,
    /// The bytes that they take.
    pub export_bytes: u64,
    /// Filter texts that are remembered.
    pub filters: u64,
    /// Segments that are remembered.
    pub segments: u64,
}

impl Api {
    /// How much the services hold themselves.
    #[must_use]
    pub fn load(&self) -> Load {
        let (exports, export_bytes) = self.exports.load();
        let (filters, segments) = self.filters.load();
        Load {
            exports,
            export_bytes,
            filters,
            segments,
        }
    }
}

pub(super) async fn statistics(
    api: &Api,
    deadline: Deadline,
) -> Result<GetStatsResponse, ApiError> {
    // First, so that this call is none of the queries.
    let store = api.engine.statistics();
    let load = api.load();
    let own = api.clone();
    // What memory is used for may take long to find out.
    let gathered = api.small_step(deadline, move |_| {
        let memory = own.engine.memory();
        Ok((own.engine.population_statistics(), memory))
    });
    let (populations, memory) = gathered.await?;
    let mut parts: BTreeMap<_, _> = memory
        .iter()
        .map(|memory| (&memory.population, &memory.parts))
        .collect();
    let populations = populations.into_iter().map(|population| {
        let parts = parts.remove(&population.name).into_iter().flatten();
        let memory = parts.map(|(part, bytes)| MemoryStats {
            part: (*part).to_owned(),
            bytes: *bytes,
        });
        PopulationStats {
            memory: memory.collect(),
            ..of_population(population)
        }
    });
    Ok(GetStatsResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime: Some(convert::duration_message(store.uptime)),
        state: state(&store.state).into(),
        revision: api.revision(store.revision),
        populations: populations.collect(),
        log: Some(of_log(&store)),
        snapshot: store.snapshot.map(|snapshot| SnapshotStats {
            revision: api.revision(snapshot.info.revision),
            create_time: Some(convert::timestamp_message(snapshot.info.created)),
            bytes: snapshot.info.bytes,
            users: snapshot.info.users,
            took: snapshot.took.map(convert::duration_message),
            written: store.snapshots,
            failed: store.failed_snapshots,
        }),
        queries: Some(QueryStats {
            threads: store.query_threads,
            waiting: store.waiting_queries,
            running: store.running_queries,
        }),
        watchers: store.watchers,
        exports: load.exports,
        export_bytes: load.export_bytes,
    })
}

fn state(state: &State) -> StoreState {
    match state {
        State::Serving => StoreState::Serving,
        State::Full { .. } => StoreState::Full,
        State::ReadOnly { .. } => StoreState::ReadOnly,
        State::Stopping => StoreState::Stopping,
    }
}

fn of_log(store: &engine::Statistics) -> LogStats {
    let at_most = |thousandths| {
        let nanoseconds = store.syncs.at_most(thousandths);
        Some(convert::duration_message(Duration::from_nanos(nanoseconds)))
    };
    LogStats {
        accepted: store.accepted,
        refused: store.refused,
        replayed: store.replayed,
        waiting: store.waiting_commands,
        waiting_bytes: store.waiting_bytes,
        syncs: store.syncs.count(),
        sync_p50: at_most(500),
        sync_p99: at_most(990),
        written_bytes: store.logged_bytes,
        unsaved_bytes: store.unsaved_bytes,
        unsaved_for: store.unsaved_for.map(convert::duration_message),
    }
}

fn of_population(population: PopulationStatistics) -> PopulationStats {
    let properties = population.properties.into_iter();
    let properties = properties.map(|property| PropertyStats {
        name: property.declaration.name.as_str().to_owned(),
        r#type: convert::value_type_message(property.declaration.value_type).into(),
        users: property.users,
        distinct_values: property.distinct_values,
    });
    let events = population.events.into_iter().map(|event| EventStats {
        name: event.declaration.name.as_str().to_owned(),
        events: event.events,
        duplicates: event.duplicates,
        too_old: event.too_old,
        too_far_ahead: event.too_far_ahead,
    });
    PopulationStats {
        name: population.name.as_str().to_owned(),
        users: population.users,
        shards: population.shards,
        segments: population.segments,
        properties: properties.collect(),
        events: events.collect(),
        memory: Vec::new(),
    }
}
