//! Dense sets of users: the form that intermediate results take while a shard is evaluated.
//!
//! Invariant: nothing here knows what the bits stand for; all `unsafe` of the crate is in `kernels`.

mod block;
mod kernels;

pub use block::{Block, Ones, Operand, WORDS, Width, Words, and_all_count};
