//! The service as its clients see it: a real client, a real server on a port of its own, a data
//! folder that goes when the test ends.

mod access;
mod analysis;
mod backup;
mod bad_input;
mod bounds;
mod callers;
mod catalog;
mod checks;
mod comparisons;
mod erasure;
mod events;
mod export;
mod harness;
mod ingest;
mod kept_events;
mod limits;
mod lists;
mod members;
mod observing;
mod overload;
mod preview;
mod questions;
mod read_only;
mod restart;
mod retries;
mod same_answers;
mod seed_example;
mod segments;
mod standard;
mod starting;
mod tls;
mod users;
mod watching;
