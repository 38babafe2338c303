//! Test equipment.
//!
//! Invariant: never part of the product. It is behind the feature `testing`, which only tests,
//! fuzzing and benchmarks turn on.

pub mod clock;
pub mod disk;
pub mod generate;
pub mod generate_events;
pub mod naive;
mod naive_calendar;
pub mod naive_events;
pub mod naive_once;
pub mod wire;
