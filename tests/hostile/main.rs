//! Hostile clients against a service in a process of its own, each beside an honest client that is
//! answered all the while.
//!
//! How long calls of the honest client take is printed and not tested. To see it:
//! `HEADCOUNT_HOSTILE_SECONDS=10 cargo test --release --test hostile -- --test-threads 1 --nocapture`

mod bombs;
mod call;
mod elements;
mod floods;
mod foreign;
mod half_open;
mod lies;
mod many;
mod nesting;
mod process;
mod raw;
mod resets;
mod sizes;
mod slow;
mod unread;
