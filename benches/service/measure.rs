//! Medians, percentiles, and how they are printed.

use std::time::Duration;

pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn extend(&mut self, times: Self) {
        self.0.extend(times.0);
    }

    /// The time within which this part of all is done.
    pub fn within(&self, part: f64) -> Duration {
        let mut times = self.0.clone();
        times.sort_unstable();
        let place = (times.len() as f64 * part) as usize;
        times[place.min(times.len() - 1)]
    }

    pub fn median(&self) -> Duration {
        self.within(0.5)
    }
}

pub fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1_000.0 {
        format!("{micros:.1} us")
    } else {
        format!("{:.2} ms", micros / 1e3)
    }
}

pub fn ratio(time: Duration, to: Duration) -> f64 {
    time.as_secs_f64() / to.as_secs_f64()
}

/// What is said of a goal that a number must reach.
pub fn mark(number: f64, goal: f64) -> &'static str {
    if number >= goal { "" } else { "  missed" }
}
