//! Headcount answers which users are in which segment, and how many, now.
//!
//! The product is the binary: this library has no stable API.

pub mod api;
pub mod bits;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod engine;
pub mod filter;
pub mod index;
pub mod meter;
pub mod model;
pub mod population;
pub mod proto;
pub mod query;
pub mod server;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
