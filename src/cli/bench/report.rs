//! What a bench found, for people, for programs, and for tools that plot.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::arguments::BenchArgs;
use super::mix::{Mix, Operation};
use super::moves::Watched;
use super::schedule::{Kept, Plan};
use super::tally::{OfKind, Tally, Times};
use crate::cli::error::CliError;
use crate::cli::output::{Table, bar, counted, grouped, percent, printable};

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];
/// Lines for each halving of what is left, in a file of percentiles.
const TICKS: u32 = 5;
const BAR: usize = 30;

/// All that is reported.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) server: &'a str,
    pub(super) population: &'a str,
    pub(super) args: &'a BenchArgs,
    pub(super) mix: Mix,
    pub(super) plan: Plan,
    pub(super) senders: u64,
    pub(super) users: u64,
    /// How long answers were counted for rates.
    pub(super) counted: Duration,
    pub(super) is_interrupted: bool,
    pub(super) tally: Tally,
    pub(super) kept: Option<Kept>,
    pub(super) watched: Option<Watched>,
}

/// Where times are written to, by what they are of.
pub(super) type Files = Vec<(&'static str, PathBuf, File)>;

/// The files of a bench, made before the load so that it is not in vain.
#[expect(
    clippy::disallowed_methods,
    reason = "a file of the user's, not of the data folder"
)]
pub(super) fn files(file: Option<&Path>, mix: Mix) -> Result<Files, CliError> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let kinds = Operation::ALL.into_iter().filter(|kind| mix.has(*kind));
    let mut names: Vec<&'static str> = kinds.map(Operation::name).collect();
    if mix.has(Operation::Move) {
        names.push(TOLD);
    }
    let is_one = names.len() == 1;
    names
        .into_iter()
        .map(|name| {
            let mut path = file.as_os_str().to_owned();
            if !is_one {
                path.push(format!("-{name}"));
            }
            let path = PathBuf::from(path);
            match File::create(&path) {
                Ok(file) => Ok((name, path, file)),
                Err(error) => Err(CliError::Input(format!("{}: {error}", path.display()))),
            }
        })
        .collect()
}

/// What a change that was told to a watcher is called.
const TOLD: &str = "told";

impl Report<'_> {
    /// Whether anything failed that was no refusal.
    pub(super) fn has_failures(&self) -> bool {
        let watched = self.watched.as_ref();
        self.tally.all().failures() > 0 || watched.is_some_and(|watched| !watched.is_whole())
    }

    fn kinds(&self) -> impl Iterator<Item = (Operation, &OfKind)> {
        let kinds = Operation::ALL.into_iter();
        let kinds = kinds.filter(|operation| self.mix.has(*operation));
        kinds.map(|operation| (operation, self.tally.of(operation)))
    }

    pub(super) fn text(&self) -> String {
        let mut text = self.heading();
        let _ = write!(text, "\n\n{}", self.table());
        for (operation, kind) in self.kinds() {
            for (error, failure) in &kind.failed {
                let _ = write!(
                    text,
                    "\n{} of {} failed: {error}",
                    grouped(failure.count),
                    operation.name()
                );
                if !failure.first.is_empty() {
                    let _ = write!(text, ": {}", printable(&failure.first));
                }
            }
        }
        self.notes(&mut text);
        for (operation, kind) in self.kinds() {
            spread(&mut text, operation.name(), &kind.times);
        }
        if let Some(watched) = &self.watched {
            spread(&mut text, TOLD, &watched.times);
        }
        text
    }

    fn heading(&self) -> String {
        let how = match self.plan.rate {
            None => format!("closed loop, {} in flight", counted(self.senders, "call")),
            Some(rate) => format!(
                "open loop, {rate} calls a second, {} outstanding at most, times from when each was due",
                grouped(self.senders)
            ),
        };
        let how_long = match self.plan.calls {
            Some(calls) => format!(
                "{} in {:.1} s",
                counted(calls, "call"),
                self.counted.as_secs_f64()
            ),
            None => format!(
                "{:.1} s after {:.1} s of warm-up",
                self.counted.as_secs_f64(),
                self.plan.warm_up.as_secs_f64()
            ),
        };
        let ended = if self.is_interrupted {
            " (interrupted)"
        } else {
            ""
        };
        format!(
            "{} of population {} at {}, seed {}\n{how}, {}\n{how_long}{ended}, {}",
            counted(self.users, "user"),
            self.population,
            self.server,
            self.args.seed,
            counted(self.args.connections() as u64, "connection"),
            self.mix,
        )
    }

    fn table(&self) -> String {
        let all = self.tally.all();
        let is_all_answered = all.answered_within == all.ended_within;
        let mut columns = vec!["call", ">calls", ">answered/s"];
        if !is_all_answered {
            columns.push(">asked/s");
        }
        columns.extend([
            ">refused", ">failed", ">least", ">mean", ">50 %", ">90 %", ">99 %", ">99.9 %", ">most",
        ]);
        let mut table = Table::new(&columns);
        let mut row = |name: &str, kind: &OfKind| {
            let mut cells = vec![
                name.to_owned(),
                grouped(kind.calls()),
                grouped(rate(kind.answered_within, self.counted)),
            ];
            if !is_all_answered {
                cells.push(grouped(rate(kind.ended_within, self.counted)));
            }
            cells.extend([grouped(kind.refused), grouped(kind.failures())]);
            cells.extend(times_row(&kind.times));
            table.row(cells);
        };
        for (operation, kind) in self.kinds() {
            row(operation.name(), kind);
        }
        if self.kinds().count() > 1 {
            row("all", &all);
        }
        if let Some(watched) = &self.watched {
            let told = watched.times.histogram().len();
            let mut cells = vec![TOLD.to_owned(), grouped(told)];
            // No rates, which are those of the moves; and nothing is refused.
            cells.resize(columns.len() - times_columns() - 1, String::new());
            cells.push(grouped(watched.lost));
            cells.extend(times_row(&watched.times));
            table.row(cells);
        }
        table.render()
    }

    /// What else there is to know.
    fn notes(&self, text: &mut String) {
        let writes = self.tally.of(Operation::Write).answered_within;
        if self.args.batch > 1 && writes > 0 {
            let users = writes * self.args.batch;
            let _ = write!(
                text,
                "\na write has {} users: {} a second",
                grouped(self.args.batch),
                grouped(rate(users, self.counted))
            );
        }
        let refused = self.tally.all();
        if refused.refused > 0 {
            let _ = write!(
                text,
                "\nrefusals (OVERLOADED) came within {} (99 %)",
                short(refused.refused_times.histogram().value_at_quantile(0.99))
            );
        }
        if let Some(kept) = self.kept {
            if kept.late > 0 {
                let _ = write!(
                    text,
                    "\n{} of {} calls were sent late, by up to {}: that is in their times",
                    grouped(kept.late),
                    grouped(kept.due),
                    short(u64::try_from(kept.latest.as_micros()).unwrap_or(u64::MAX))
                );
            }
            if kept.unsent > 0 {
                let why = if self.is_interrupted {
                    "were due and not sent yet when the bench was interrupted: they are not in the times above"
                } else {
                    "were not sent in time: the service, or this client, is slower than the rate, and the times above are those of the others"
                };
                let _ = write!(
                    text,
                    "\n{} of {} calls {why}",
                    grouped(kept.unsent),
                    grouped(kept.due)
                );
            }
        }
        if let Some(watched) = &self.watched {
            watch_notes(text, watched);
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut kinds = Map::new();
        for (operation, kind) in self.kinds() {
            kinds.insert(operation.name().into(), self.kind_json(kind));
        }
        let mut json = json!({
            "server": self.server,
            "population": self.population,
            "users": self.users,
            "seed": self.args.seed,
            "mix": self.mix.to_string(),
            "loop": if self.plan.rate.is_some() { "open" } else { "closed" },
            "rate": self.plan.rate,
            "in_flight": self.senders,
            "connections": self.args.connections(),
            "batch": self.args.batch,
            "warmup_seconds": self.plan.warm_up.as_secs_f64(),
            "seconds": self.counted.as_secs_f64(),
            "interrupted": self.is_interrupted,
            "operations": kinds,
            "all": self.kind_json(&self.tally.all()),
        });
        if let Some(kept) = self.kept {
            json["schedule"] = json!({
                "due": kept.due,
                "late": kept.late,
                "latest_us": u64::try_from(kept.latest.as_micros()).unwrap_or(u64::MAX),
                "unsent": kept.unsent,
            });
        }
        if let Some(watched) = &self.watched {
            json["watch"] = json!({
                "watchers": watched.watchers,
                "told": watched.times.histogram().len(),
                "told_before_acknowledged": watched.told_first,
                "lost": watched.lost,
                "out_of_turn": watched.out_of_turn,
                "resyncs": watched.resyncs,
                "broken": watched.broken,
                "latency_us": latency_json(&watched.times),
                "histogram": bins_json(&watched.times),
            });
        }
        json
    }

    fn kind_json(&self, kind: &OfKind) -> Value {
        let errors = kind.failed.iter();
        let errors: Map<_, _> = errors
            .map(|(error, failure)| (error.clone(), json!(failure.count)))
            .collect();
        json!({
            "calls": kind.calls(),
            "answered": kind.answered(),
            "refused": kind.refused,
            "failed": kind.failures(),
            "errors": errors,
            "answered_per_second": per_second(kind.answered_within, self.counted),
            "asked_per_second": per_second(kind.ended_within, self.counted),
            "latency_us": latency_json(&kind.times),
            "refused_latency_us": latency_json(&kind.refused_times),
            "histogram": bins_json(&kind.times),
        })
    }

    /// Writes the times to their files.
    pub(super) fn write(&self, files: &mut Files) -> Result<(), CliError> {
        for (name, path, file) in files {
            let kind = self
                .kinds()
                .find(|(operation, _)| operation.name() == *name);
            let times = match (kind, &self.watched) {
                (Some((_, kind)), _) => &kind.times,
                (None, Some(watched)) => &watched.times,
                (None, None) => continue,
            };
            let written = file.write_all(percentiles(times.histogram()).as_bytes());
            written.map_err(|error| CliError::Other(format!("{}: {error}", path.display())))?;
        }
        Ok(())
    }
}

fn watch_notes(text: &mut String, watched: &Watched) {
    let watchers = counted(watched.watchers as u64, "watcher");
    let _ = write!(
        text,
        "\ntold: from the acknowledged move until each of {watchers} was told, {} of {} before the acknowledgement came",
        grouped(watched.told_first),
        grouped(watched.times.histogram().len()),
    );
    if watched.is_whole() {
        text.push_str("; none was lost");
        return;
    }
    for (count, what) in [
        (watched.lost, "moves were not told"),
        (
            watched.out_of_turn,
            "changes were told that were not those of the next move",
        ),
        (
            watched.resyncs,
            "times a watcher was told to read the segment anew",
        ),
    ] {
        if count > 0 {
            let _ = write!(text, "\n{} {what}", grouped(count));
        }
    }
    for cause in &watched.broken {
        let _ = write!(text, "\na stream that watches ended: {cause}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
fn per_second(calls: u64, time: Duration) -> f64 {
    calls as f64 / time.as_secs_f64().max(1e-6)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate to look at"
)]
pub(super) fn rate(calls: u64, time: Duration) -> u64 {
    per_second(calls, time).round() as u64
}

/// A time in microseconds, as people read it.
pub(super) fn short(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let time = micros as f64;
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..10_000 => format!("{:.2} ms", time / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", time / 1e3),
        _ => format!("{:.2} s", time / 1e6),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a mean of microseconds"
)]
fn mean(histogram: &Histogram<u64>) -> u64 {
    histogram.mean().round() as u64
}

/// Columns that the times of a row take.
fn times_columns() -> usize {
    QUANTILES.len() + 3
}

fn times_row(times: &Times) -> Vec<String> {
    let histogram = times.histogram();
    if histogram.is_empty() {
        return vec!["-".into(); times_columns()];
    }
    let mut cells = vec![short(histogram.min()), short(mean(histogram))];
    for (_, quantile) in QUANTILES {
        cells.push(short(histogram.value_at_quantile(quantile)));
    }
    cells.push(short(histogram.max()));
    cells
}

fn latency_json(times: &Times) -> Value {
    let histogram = times.histogram();
    if histogram.is_empty() {
        return Value::Null;
    }
    let mut json = json!({ "min": histogram.min(), "mean": histogram.mean() });
    for (name, quantile) in QUANTILES {
        json[name] = json!(histogram.value_at_quantile(quantile));
    }
    json["max"] = json!(histogram.max());
    json
}

/// How many times there are from one round number to below the next: 1, 2, 5, 10 and so on. From 50 ms on such
/// numbers lie inside cells of the histogram; all of a cell counts as its highest time, as in the percentiles.
fn bins(histogram: &Histogram<u64>) -> Vec<(u64, u64, u64)> {
    let mut bins = Vec::new();
    let (mut from, mut to, mut count) = (0_u64, 1_u64, 0_u64);
    let (mut decade, mut step) = (1_u64, 0_usize);
    for cell in histogram.iter_recorded() {
        while cell.value_iterated_to() >= to {
            if count > 0 || !bins.is_empty() {
                bins.push((from, to, count));
            }
            step = (step + 1) % 3;
            if step == 0 {
                decade = decade.saturating_mul(10);
            }
            (from, to, count) = (to, [1, 2, 5][step] * decade, 0);
        }
        count += cell.count_at_value();
    }
    if count > 0 {
        bins.push((from, to, count));
    }
    bins
}

fn bins_json(times: &Times) -> Value {
    let bins = bins(times.histogram());
    let bins = bins.into_iter();
    bins.map(|(from, to, count)| json!({ "from_us": from, "to_us": to, "count": count }))
        .collect()
}

/// A histogram for people.
fn spread(text: &mut String, name: &str, times: &Times) {
    let bins = bins(times.histogram());
    let all = times.histogram().len();
    let most = bins.iter().map(|(_, _, count)| *count).max().unwrap_or(0);
    if bins.is_empty() {
        return;
    }
    let mut table = Table::new(&[name, ">below", ">calls", ">share", ""]);
    for (from, to, count) in bins {
        table.row([
            format!("from {}", edge(from)),
            edge(to),
            grouped(count),
            percent(count, all),
            bar(count, most, BAR),
        ]);
    }
    let _ = write!(text, "\n\n{}", table.render());
}

/// A round time.
fn edge(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// The text that tools for HDR histograms read, in milliseconds.
fn percentiles(histogram: &Histogram<u64>) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three decimals are shown")]
    let millis = |micros: u64| micros as f64 / 1e3;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    for step in histogram.iter_quantiles(TICKS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (
            millis(step.value_iterated_to()),
            step.quantile_iterated_to(),
        );
        if quantile < 1.0 {
            let left = 1.0 / (1.0 - quantile);
            let _ = writeln!(text, "{value:12.3} {quantile:2.12} {total:10} {left:14.2}");
        } else {
            let _ = writeln!(text, "{value:12.3} {quantile:2.12} {total:10}");
        }
    }
    let _ = write!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        histogram.mean() / 1e3,
        histogram.stdev() / 1e3,
        millis(histogram.max()),
        histogram.len(),
        histogram.buckets(),
        2_048,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(micros: &[u64]) -> Times {
        let mut times = Times::default();
        for time in micros {
            times.record(Duration::from_micros(*time));
        }
        times
    }

    #[test]
    fn times_are_shown_with_three_digits() {
        for (micros, shown) in [
            (0, "0 us"),
            (999, "999 us"),
            (1_000, "1.00 ms"),
            (12_345, "12.3 ms"),
            (1_234_567, "1.23 s"),
        ] {
            assert_eq!(short(micros), shown);
        }
        assert_eq!(times_row(&Times::default()), ["-"; 7]);
        let row = times_row(&times(&[100, 200, 300]));
        assert_eq!(row[..3], ["100 us", "200 us", "200 us"]);
        assert_eq!(row[6], "300 us");
    }

    #[test]
    fn every_time_is_in_one_bin() {
        let recorded = times(&[0, 1, 19, 20, 49, 50, 99, 100, 4_000, 1_500_000]);
        let bins = bins(recorded.histogram());
        assert_eq!(bins[..2], [(0, 1, 1), (1, 2, 1)]);
        assert!(bins.contains(&(20, 50, 2)) && bins.contains(&(50, 100, 2)));
        assert!(bins.contains(&(2_000, 5_000, 1)) && bins.contains(&(200, 500, 0)));
        assert_eq!(bins.last(), Some(&(1_000_000, 2_000_000, 1)));
        assert_eq!(bins.iter().map(|(_, _, count)| count).sum::<u64>(), 10);
        assert!(super::bins(Times::default().histogram()).is_empty());
        assert_eq!(
            (edge(20), edge(5_000), edge(2_000_000)),
            ("20 us".into(), "5 ms".into(), "2 s".into())
        );
    }

    /// Round times from 50 ms on lie inside cells.
    #[test]
    fn a_time_beside_a_round_one_is_in_one_bin() {
        let mut all = Vec::new();
        for decade in [10_000, 100_000, 1_000_000, 10_000_000] {
            for round in [1, 2, 5].map(|step| step * decade) {
                for time in [round - 1, round, round + 1] {
                    let bins = bins(times(&[time]).histogram());
                    assert_eq!(bins.len(), 1, "{time}: {bins:?}");
                    let (from, to, count) = bins[0];
                    assert_eq!(count, 1, "{time}");
                    assert!(time < to, "{time}: {bins:?}");
                    // What is just below can be in the same cell, and is then taken for the round one.
                    assert!(time >= from || (time, from) == (round - 1, round), "{time}");
                    all.push(time);
                }
            }
        }
        let bins = bins(times(&all).histogram());
        let in_bins: u64 = bins.iter().map(|(_, _, count)| count).sum();
        assert_eq!(in_bins, all.len() as u64);
        assert!(bins.is_sorted_by(|one, next| one.1 == next.0));
        let fifty = super::bins(times(&[49_983, 50_000, 50_001, 50_016]).histogram());
        assert_eq!(fifty, [(20_000, 50_000, 1), (50_000, 100_000, 3)]);
    }

    #[test]
    fn percentiles_are_written_as_other_tools_read_them() {
        let micros: Vec<u64> = (1..=1_000).collect();
        let text = percentiles(times(&micros).histogram());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("Value") && lines[0].contains("1/(1-Percentile)"));
        let rows: Vec<Vec<f64>> = lines[2..lines.len() - 3]
            .iter()
            .map(|line| {
                line.split_whitespace()
                    .map(|cell| cell.parse().unwrap())
                    .collect()
            })
            .collect();
        assert_eq!(rows.last().unwrap()[..3], [1.0, 1.0, 1_000.0]);
        let half = rows.iter().find(|row| row[1] >= 0.5).unwrap();
        assert!(
            (half[0] - 0.5).abs() < 0.001 && (half[3] - 2.0).abs() < 0.01,
            "{half:?}"
        );
        assert!(rows.is_sorted_by(|one, other| one[0] <= other[0] && one[2] <= other[2]));
        assert!(
            lines[lines.len() - 2].contains("Total count    =         1000"),
            "{text}"
        );
    }
}
