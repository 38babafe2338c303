//! Metrics as text: the format of Prometheus, and `OpenMetrics`.
//!
//! Invariant: what is written is well-formed whatever the labels hold; the samples of a metric stand
//! together, below what says what it is.

use std::fmt::Write as _;

use crate::meter::Counted;

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Format {
    /// Version 0.0.4 of the format of Prometheus.
    Prometheus,
    /// Version 1.0.0 of `OpenMetrics`.
    OpenMetrics,
}

impl Format {
    /// What a client that accepts this is sent.
    pub(in crate::server) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// What it is called in HTTP.
    pub(in crate::server) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What only grows. The name ends in `_total`.
    Counter,
    /// What grows and shrinks.
    Gauge,
    /// How often something was how large.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it is, in a sentence without a full stop.
    pub(super) help: &'static str,
}

/// A label with its value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// Metrics that are being written.
pub(super) struct Writer {
    text: String,
    format: Format,
    /// The name of the samples that may follow.
    name: &'static str,
}

impl Writer {
    pub(super) fn new(format: Format) -> Self {
        Self {
            text: String::with_capacity(1 << 15),
            format,
            name: "",
        }
    }

    /// Says what the samples are that follow.
    pub(super) fn metric(&mut self, metric: &Metric) {
        self.name = metric.name;
        let (family, kind) = match metric.kind {
            Kind::Counter if self.format == Format::OpenMetrics => {
                let family = metric.name.strip_suffix("_total");
                (family.unwrap_or(metric.name), "counter")
            }
            Kind::Counter => (metric.name, "counter"),
            Kind::Gauge => (metric.name, "gauge"),
            Kind::Histogram => (metric.name, "histogram"),
        };
        self.write(format_args!("# HELP {family} {}\n", metric.help));
        self.write(format_args!("# TYPE {family} {kind}\n"));
    }

    /// Writes a metric that has one sample, without labels; only what it is, if there is none.
    pub(super) fn single(&mut self, metric: &Metric, value: Option<f64>) {
        self.metric(metric);
        if let Some(value) = value {
            self.sample(&[], value);
        }
    }

    /// Writes a metric of which each sample has one label.
    pub(super) fn by<L: AsRef<str>>(
        &mut self,
        metric: &Metric,
        label: &'static str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) {
        self.metric(metric);
        for (value, sample) in samples {
            self.sample(&[(label, value.as_ref())], sample);
        }
    }

    /// Writes a sample of the last metric.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], value: f64) {
        self.text.push_str(self.name);
        self.labels(labels, None);
        self.write(format_args!(" {value}\n"));
    }

    /// Writes a histogram of the last metric; `unit` is by how many times what was counted is smaller
    /// than the unit of the metric.
    pub(super) fn histogram(&mut self, labels: &[Label<'_>], counted: &Counted, unit: f64) {
        let name = self.name;
        let mut below = 0;
        let bounds = counted
            .bounds
            .iter()
            .map(|bound| Some(float(*bound) / unit));
        for (bound, count) in bounds.chain([None]).zip(&counted.counts) {
            below += count;
            self.write(format_args!("{name}_bucket"));
            let bound = match bound {
                // OpenMetrics wants them to have a point.
                Some(bound) if bound.fract() == 0.0 => format!("{bound}.0"),
                Some(bound) => bound.to_string(),
                None => "+Inf".into(),
            };
            self.labels(labels, Some(("le", &bound)));
            self.write(format_args!(" {below}\n"));
        }
        self.write(format_args!("{name}_sum"));
        self.labels(labels, None);
        self.write(format_args!(" {}\n", float(counted.sum) / unit));
        self.write(format_args!("{name}_count"));
        self.labels(labels, None);
        self.write(format_args!(" {below}\n"));
    }

    /// All that was written.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn labels(&mut self, labels: &[Label<'_>], last: Option<Label<'_>>) {
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            self.text.push(separator);
            separator = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if separator == ',' {
            self.text.push('}');
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A text takes everything.
        let _ = self.text.write_fmt(text);
    }
}

/// A number as metrics have it.
pub(super) fn float(number: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "metrics are doubles: 53 bits of a number are enough to look at"
    )]
    let float = number as f64;
    float
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{DURATIONS, Histogram, SIZES};

    const COUNTER: Metric = Metric {
        name: "a_total",
        kind: Kind::Counter,
        help: "What",
    };
    const HISTOGRAM: Metric = Metric {
        name: "b",
        kind: Kind::Histogram,
        help: "How large",
    };

    #[test]
    fn labels_are_escaped() {
        let mut writer = Writer::new(Format::Prometheus);
        writer.by(&COUNTER, "x", [("a\"b\\c\nd", 1.0)]);
        assert_eq!(
            writer.finish(),
            "# HELP a_total What\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\c\\nd\"} 1\n"
        );
    }

    #[test]
    fn both_formats_are_written() {
        let mut writer = Writer::new(Format::OpenMetrics);
        writer.single(&COUNTER, Some(0.5));
        assert_eq!(
            writer.finish(),
            "# HELP a What\n# TYPE a counter\na_total 0.5\n# EOF\n"
        );
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
        let both = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        assert_eq!(Format::accepted(both), Format::OpenMetrics);
    }

    #[test]
    fn buckets_add_up() {
        let histogram = Histogram::new(&SIZES);
        for size in [1, 3, 3, 5_000] {
            histogram.count(size);
        }
        let mut writer = Writer::new(Format::Prometheus);
        writer.metric(&HISTOGRAM);
        writer.histogram(&[("x", "y")], &histogram.counted(), 1.0);
        let text = writer.finish();
        for line in [
            "b_bucket{x=\"y\",le=\"1.0\"} 1\n",
            "b_bucket{x=\"y\",le=\"4.0\"} 3\n",
            "b_bucket{x=\"y\",le=\"4096.0\"} 3\n",
            "b_bucket{x=\"y\",le=\"+Inf\"} 4\n",
            "b_sum{x=\"y\"} 5007\n",
            "b_count{x=\"y\"} 4\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn bounds_are_written_as_they_are_said() {
        let mut writer = Writer::new(Format::Prometheus);
        writer.metric(&HISTOGRAM);
        writer.histogram(&[], &Histogram::new(&DURATIONS).counted(), 1e9);
        let text = writer.finish();
        for bound in [
            "0.00005", "0.000075", "0.0001", "0.00075", "0.001", "0.0075", "10.0",
        ] {
            assert!(text.contains(&format!("le=\"{bound}\"")), "{bound}: {text}");
        }
    }
}
