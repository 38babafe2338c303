//! The metrics: what they are called, and what they say at the moment.
//!
//! Invariants: each is told of in `docs/metrics.md`; those with names of the schema as labels have a
//! bounded number of samples, the rest being added up under the empty name.

use std::time::Instant;

use super::process::Process;
use super::text::{Format, Kind, Metric, Writer, float};
use super::{Shared, Store};
use crate::engine::{Memory, PopulationStatistics, State, Statistics};
use crate::server::seats::SeatCount;

/// Populations that are told of by name, at most.
const POPULATIONS: usize = 100;
/// Properties that are told of by name, at most, over all populations.
const PROPERTIES: usize = 200;

const NANOSECONDS: f64 = 1e9;

const fn counter(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Counter;
    Metric { name, kind, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Gauge;
    Metric { name, kind, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Histogram;
    Metric { name, kind, help }
}

/// All metrics as they are now.
pub(super) fn metrics(
    shared: &Shared,
    is_ready: bool,
    store: Option<&Store>,
    format: Format,
) -> String {
    let began = Instant::now();
    let mut writer = Writer::new(format);
    calls(&mut writer, shared);
    rooms(&mut writer, store);
    connections(&mut writer, store);
    writer.by(
        &gauge(
            "headcount_build_info",
            "The version of the service; always 1",
        ),
        "version",
        [(env!("CARGO_PKG_VERSION"), 1.0)],
    );
    writer.single(
        &gauge(
            "headcount_ready",
            "Whether the service is ready, as /readyz says",
        ),
        Some(f64::from(u8::from(is_ready))),
    );
    let engine = store.map(|store| &store.engine);
    let statistics = engine.map(crate::engine::Engine::statistics);
    let statistics = statistics.as_ref();
    state(&mut writer, statistics);
    writes(&mut writer, statistics);
    snapshots(
        &mut writer,
        statistics,
        engine.map(crate::engine::Engine::now),
    );
    queries(&mut writer, statistics, store);
    let populations = engine.map(crate::engine::Engine::population_statistics);
    let populations = populations.unwrap_or_default();
    of_populations(&mut writer, &populations);
    of_properties(&mut writer, &populations);
    limits(&mut writer, store);
    let memory = engine.map(crate::engine::Engine::memory);
    of_memory(&mut writer, memory.as_deref().map_or(&[], Vec::as_slice));
    of_process(&mut writer, shared);
    writer.single(
        &gauge(
            "headcount_scrape_duration_seconds",
            "How long it took to gather these metrics",
        ),
        Some(began.elapsed().as_secs_f64()),
    );
    writer.finish()
}

fn calls(writer: &mut Writer, shared: &Shared) {
    let rows = shared.calls.rows();
    for (metric, are_streams) in [
        (
            histogram(
                "rpc_server_call_duration_seconds",
                "How long calls with one answer took, from their headers to their answer",
            ),
            false,
        ),
        (
            histogram(
                "headcount_stream_duration_seconds",
                "How long streams were open",
            ),
            true,
        ),
    ] {
        writer.metric(&metric);
        for row in rows.iter().filter(|row| row.is_stream == are_streams) {
            for (code, counted) in row.ended() {
                let labels = [
                    ("rpc_system_name", "grpc"),
                    ("rpc_method", row.label.as_str()),
                    ("rpc_response_status_code", code),
                ];
                writer.histogram(&labels, &counted, NANOSECONDS);
            }
        }
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are not so many calls at once"
    )]
    let in_flight = rows.iter().map(|row| (&row.label, row.in_flight() as f64));
    writer.by(
        &gauge("headcount_calls_in_flight", "Calls that are being served"),
        "rpc_method",
        in_flight,
    );
    writer.by(
        &counter(
            "headcount_errors_total",
            "Calls that were not answered, by the reason that clients are told",
        ),
        "reason",
        shared
            .calls
            .refusals()
            .map(|(reason, count)| (reason, float(count))),
    );
    writer.by(
        &counter(
            "headcount_slow_calls_total",
            "Calls with one answer that took longer than log.slow_call",
        ),
        "rpc_method",
        rows.iter()
            .filter(|row| !row.is_stream)
            .map(|row| (&row.label, float(row.slow()))),
    );
    let left_out = [&shared.slow_lines, &shared.failed_lines, &shared.call_lines];
    writer.single(
        &counter(
            "headcount_log_lines_left_out_total",
            "Lines about calls that were not written to the log because there were too many at once",
        ),
        Some(left_out.iter().map(|quota| float(quota.left_out())).sum()),
    );
}

fn rooms(writer: &mut Writer, store: Option<&Store>) {
    let rooms = || {
        store
            .into_iter()
            .flat_map(|store| store.admission.fullness())
    };
    writer.by(
        &gauge(
            "headcount_room_taken",
            "How much of a room is taken: calls, or for max_request_bytes bytes",
        ),
        "limit",
        rooms().map(|room| (room.limit, float(room.taken as u64))),
    );
    writer.by(
        &counter(
            "headcount_room_refusals_total",
            "Calls that found too little room, by the name of the limit that errors tell",
        ),
        "limit",
        rooms().map(|room| (room.limit, float(room.refused))),
    );
}

fn connections(writer: &mut Writer, store: Option<&Store>) {
    let seats = store.map(|store| &store.seats);
    for (name, help, value) in [
        (
            "headcount_connections",
            "Connections of clients that are open",
            seats.map(SeatCount::taken),
        ),
        (
            "headcount_connections_limit",
            "How many connections there may be: limits.connections, or fewer where the process may not open as many files",
            seats.map(SeatCount::limit),
        ),
    ] {
        writer.single(&gauge(name, help), value.map(float));
    }
    writer.single(
        &counter(
            "headcount_connections_refused_total",
            "Connections that were not let in: there were too many, or the system refused them",
        ),
        seats.map(SeatCount::refused).map(float),
    );
}

fn state(writer: &mut Writer, store: Option<&Statistics>) {
    let now = match store.map(|store| &store.state) {
        None => "",
        Some(State::Serving) => "serving",
        Some(State::Full { .. }) => "full",
        Some(State::ReadOnly { .. }) => "read_only",
        Some(State::Stopping) => "stopping",
    };
    writer.by(
        &gauge(
            "headcount_state",
            "1 for what the store can do at the moment: serving, full (the disk), read_only or stopping",
        ),
        "state",
        ["serving", "full", "read_only", "stopping"]
            .map(|state| (state, f64::from(u8::from(state == now)))),
    );
    writer.single(
        &gauge(
            "headcount_revision",
            "The revision up to which everything is in every answer",
        ),
        store.map(|store| float(store.revision.number())),
    );
}

fn writes(writer: &mut Writer, store: Option<&Statistics>) {
    let outcomes = store.map(|store| {
        [
            ("accepted", float(store.accepted)),
            ("refused", float(store.refused)),
            ("replayed", float(store.replayed)),
        ]
    });
    writer.by(
        &counter(
            "headcount_commands_total",
            "Writes that were carried out: accepted, refused, or replayed since they had been sent before",
        ),
        "outcome",
        outcomes.into_iter().flatten(),
    );
    let causes = store.map(|store| {
        [
            ("duplicate", float(store.duplicates)),
            ("too_old", float(store.too_old)),
            ("too_far_ahead", float(store.too_far_ahead)),
        ]
    });
    writer.by(
        &counter(
            "headcount_refused_events_total",
            "Events of accepted writes that did not count, by cause: duplicate, too_old, too_far_ahead",
        ),
        "cause",
        causes.into_iter().flatten(),
    );
    let number = |read: fn(&Statistics) -> u64| store.map(|store| float(read(store)));
    for (name, help, value) in [
        (
            "headcount_queue_commands",
            "Writes that wait for the commit thread",
            number(|store| store.waiting_commands),
        ),
        (
            "headcount_queue_commands_limit",
            "How many writes the queue of the commit thread takes",
            number(|store| store.waiting_commands_limit),
        ),
        (
            "headcount_queue_bytes",
            "Bytes of the writes that wait",
            number(|store| store.waiting_bytes),
        ),
    ] {
        writer.single(&gauge(name, help), value);
    }
    writer.metric(&histogram(
        "headcount_log_sync_duration_seconds",
        "How long each sync of the log took",
    ));
    if let Some(store) = store {
        writer.histogram(&[], &store.syncs, NANOSECONDS);
    }
    writer.metric(&histogram(
        "headcount_log_group_commands",
        "How many writes were made durable by each sync",
    ));
    if let Some(store) = store {
        writer.histogram(&[], &store.groups, 1.0);
    }
    writer.single(
        &counter(
            "headcount_log_written_bytes_total",
            "Bytes that were written to the log",
        ),
        number(|store| store.logged_bytes),
    );
    writer.single(
        &gauge(
            "headcount_log_unsaved_bytes",
            "Bytes of log that the newest snapshot does not hold: what the next start replays",
        ),
        number(|store| store.unsaved_bytes),
    );
    writer.single(
        &gauge(
            "headcount_log_unsaved_age_seconds",
            "For how long the oldest write has been durable that the newest snapshot does not hold, or the store open, if that is shorter; 0 if it holds all",
        ),
        store.map(|store| store.unsaved_for.unwrap_or_default().as_secs_f64()),
    );
}

fn snapshots(
    writer: &mut Writer,
    store: Option<&Statistics>,
    now: Option<crate::model::Timestamp>,
) {
    let newest = store.and_then(|store| store.snapshot);
    let age = newest.zip(now).map(|(newest, now)| {
        let micros = now.micros().saturating_sub(newest.info.created.micros());
        float(u64::try_from(micros).unwrap_or(0)) / 1e6
    });
    for (name, help, value) in [
        (
            "headcount_snapshot_age_seconds",
            "How long ago the newest snapshot was begun",
            age,
        ),
        (
            "headcount_snapshot_bytes",
            "Size of the newest snapshot on disk",
            newest.map(|newest| float(newest.info.bytes)),
        ),
        (
            "headcount_snapshot_users",
            "Users that the newest snapshot holds",
            newest.map(|newest| float(newest.info.users)),
        ),
        (
            "headcount_snapshot_revision",
            "The revision that the newest snapshot holds",
            newest.map(|newest| float(newest.info.revision.number())),
        ),
        (
            "headcount_snapshot_duration_seconds",
            "How long it took to write the newest snapshot",
            newest
                .and_then(|newest| newest.took)
                .map(|took| took.as_secs_f64()),
        ),
    ] {
        writer.single(&gauge(name, help), value);
    }
    let outcomes = store.map(|store| {
        [
            ("written", float(store.snapshots)),
            ("failed", float(store.failed_snapshots)),
        ]
    });
    writer.by(
        &counter(
            "headcount_snapshots_total",
            "Snapshots that were written, or failed",
        ),
        "outcome",
        outcomes.into_iter().flatten(),
    );
}

fn queries(writer: &mut Writer, store: Option<&Statistics>, served: Option<&Store>) {
    let load = served.map(|served| served.api.load());
    for (name, help, value) in [
        (
            "headcount_query_threads",
            "Threads that run queries",
            store.map(|store| store.query_threads),
        ),
        (
            "headcount_queries_waiting",
            "Queries that wait for a thread",
            store.map(|store| store.waiting_queries),
        ),
        (
            "headcount_queries_running",
            "Queries that run",
            store.map(|store| store.running_queries),
        ),
        (
            "headcount_watchers",
            "Streams that watch segments",
            store.map(|store| store.watchers),
        ),
        (
            "headcount_exports",
            "Exports that are kept",
            load.map(|load| load.exports),
        ),
        (
            "headcount_export_bytes",
            "Bytes of the exports that are kept",
            load.map(|load| load.export_bytes),
        ),
        (
            "headcount_remembered_filters",
            "Filter texts that need not be parsed again",
            load.map(|load| load.filters),
        ),
        (
            "headcount_remembered_segments",
            "Segments that need not be bound again",
            load.map(|load| load.segments),
        ),
    ] {
        writer.single(&gauge(name, help), value.map(float));
    }
}

/// Those that have most, by name, and the others as one, without a name.
fn most<T>(
    mut all: Vec<(&str, T)>,
    most: usize,
    size: impl Fn(&T) -> u64,
    add: impl Fn(T, T) -> T,
) -> Vec<(&str, T)> {
    if all.len() > most {
        all.sort_by_key(|(name, one)| (std::cmp::Reverse(size(one)), *name));
        let others = all.split_off(most);
        let others = others.into_iter().map(|(_, one)| one).reduce(add);
        all.extend(others.map(|others| ("", others)));
    }
    all
}

/// A metric of populations: its name, what it is, and where it is found.
type OfPopulation = (&'static str, &'static str, fn(&Sums) -> u64);

/// Numbers of a population that can be added up.
#[derive(Clone, Copy, Default)]
struct Sums {
    users: u64,
    shards: u64,
    segments: u64,
    properties: u64,
    event_names: u64,
    events: u64,
}

impl Sums {
    fn of(population: &PopulationStatistics) -> Self {
        let mut sums = Self {
            users: population.users,
            shards: population.shards,
            segments: population.segments,
            properties: population.properties.len() as u64,
            event_names: population.events.len() as u64,
            ..Self::default()
        };
        for event in &population.events {
            sums.events += event.events;
        }
        sums
    }

    fn and(self, other: Self) -> Self {
        Self {
            users: self.users + other.users,
            shards: self.shards + other.shards,
            segments: self.segments + other.segments,
            properties: self.properties + other.properties,
            event_names: self.event_names + other.event_names,
            events: self.events + other.events,
        }
    }
}

fn of_populations(writer: &mut Writer, populations: &[PopulationStatistics]) {
    writer.single(
        &gauge("headcount_populations", "Populations"),
        Some(float(populations.len() as u64)),
    );
    let sums = populations.iter();
    let sums = sums.map(|population| (population.name.as_str(), Sums::of(population)));
    let sums = most(sums.collect(), POPULATIONS, |sums| sums.users, Sums::and);
    let gauges: [OfPopulation; 6] = [
        ("headcount_users", "Users", |sums| sums.users),
        (
            "headcount_shards",
            "Shards, of up to 65,536 users each",
            |sums| sums.shards,
        ),
        ("headcount_segments", "Saved segments", |sums| sums.segments),
        ("headcount_properties", "Properties", |sums| sums.properties),
        ("headcount_event_names", "Names of events", |sums| {
            sums.event_names
        }),
        ("headcount_events", "Events that are kept", |sums| {
            sums.events
        }),
    ];
    for (name, help, read) in gauges {
        let samples = sums.iter().map(|(name, sums)| (name, float(read(sums))));
        writer.by(&gauge(name, help), "population", samples);
    }
}

fn of_properties(writer: &mut Writer, populations: &[PopulationStatistics]) {
    writer.metric(&gauge(
        "headcount_distinct_values",
        "Different values of a property that are in use, of those that are listed",
    ));
    let mut all: Vec<(&str, &str, u64)> = populations
        .iter()
        .flat_map(|population| {
            let name = population.name.as_str();
            population.properties.iter().map(move |property| {
                let property_name = property.declaration.name.as_str();
                (name, property_name, property.distinct_values)
            })
        })
        .filter(|(_, _, distinct)| *distinct > 0)
        .collect();
    if all.len() > PROPERTIES {
        all.sort_by_key(|(population, property, distinct)| {
            (std::cmp::Reverse(*distinct), *population, *property)
        });
        let others = all.split_off(PROPERTIES);
        let sum = others.iter().map(|(_, _, distinct)| distinct).sum();
        all.push(("", "", sum));
    }
    for (population, property, distinct) in all {
        let labels = [("population", population), ("property", property)];
        writer.sample(&labels, float(distinct));
    }
}

fn limits(writer: &mut Writer, store: Option<&Store>) {
    let limits = store.map(|store| store.engine.limits());
    let limits = limits.map(|limits| {
        [
            ("populations", limits.populations),
            ("users_per_population", limits.users),
            ("properties_per_population", limits.properties),
            ("distinct_values_per_property", limits.distinct_values),
            ("event_names_per_population", limits.event_names),
            ("events_per_population", limits.events),
            ("segments_per_population", limits.segments),
        ]
    });
    writer.by(
        &gauge(
            "headcount_limit",
            "How many there may be, by the name of the limit that errors tell",
        ),
        "limit",
        limits
            .into_iter()
            .flatten()
            .map(|(name, limit)| (name, float(limit))),
    );
}

fn of_memory(writer: &mut Writer, memory: &[Memory]) {
    writer.metric(&gauge(
        "headcount_memory_bytes",
        "What memory is used for, by part, without what the allocator adds; measured at times",
    ));
    let all = memory.iter();
    let all = all.map(|memory| (memory.population.as_str(), memory.parts.clone()));
    let size = |parts: &Vec<(_, u64)>| parts.iter().map(|(_, bytes)| bytes).sum();
    // The parts of all populations are the same ones.
    let add = |mut sum: Vec<(&'static str, u64)>, other: Vec<(&'static str, u64)>| {
        for ((_, sum), (_, other)) in sum.iter_mut().zip(other) {
            *sum += other;
        }
        sum
    };
    for (population, parts) in most(all.collect(), POPULATIONS, size, add) {
        for (part, bytes) in parts {
            let labels = [("population", population), ("part", part)];
            writer.sample(&labels, float(bytes));
        }
    }
}

fn of_process(writer: &mut Writer, shared: &Shared) {
    let process = Process::now();
    writer.single(
        &counter(
            "process_cpu_seconds_total",
            "Time of processors that the process took",
        ),
        process.cpu_seconds,
    );
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory that the process takes",
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Addresses that the process has",
            process.virtual_bytes,
        ),
        (
            "process_open_fds",
            "Files and sockets that are open",
            process.open_files,
        ),
        (
            "process_max_fds",
            "Files and sockets that may be open",
            process.open_files_limit,
        ),
        ("process_threads", "Threads", process.threads),
    ] {
        writer.single(&gauge(name, help), value.map(float));
    }
    let started = u64::try_from(shared.started.micros()).unwrap_or(0);
    writer.single(
        &gauge(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970",
        ),
        Some(float(started) / 1e6),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_most_have_names_and_the_others_are_one() {
        let all = vec![("a", 1), ("b", 5), ("c", 3), ("d", 2)];
        let few = most(all.clone(), 2, |n| *n, |a, b| a + b);
        assert_eq!(few, [("b", 5), ("c", 3), ("", 3)]);
        assert_eq!(most(all.clone(), 4, |n| *n, |a, b| a + b), all);
    }

    #[test]
    fn everything_is_told_before_there_is_a_store() {
        let observer = super::super::Observer::new(None);
        let text = observer.metrics(Format::Prometheus);
        assert!(text.contains("\nheadcount_ready 0\n"), "{text}");
        assert!(text.contains("# TYPE headcount_snapshot_age_seconds gauge\n"));
        assert!(!text.contains("\nheadcount_snapshot_age_seconds"));
        assert!(text.contains("\nheadcount_state{state=\"serving\"} 0\n"));
    }
}
