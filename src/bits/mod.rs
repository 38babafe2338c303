//! Dense sets of users: the form that intermediate results take while a shard is evaluated.
//!
//! Invariant: nothing here knows what the bits stand for.

mod block;

pub use block::{Block, Ones, WORDS};
