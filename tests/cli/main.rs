//! The command line as people and scripts use it: the real program against the real service.

#![expect(
    clippy::disallowed_methods,
    reason = "files of a test, not of the data folder"
)]

mod access;
mod analysis;
mod backup;
mod bench;
mod cdnow;
mod comparisons;
mod config;
mod demo;
mod deploy;
mod endings;
mod events;
mod export;
mod hostile;
mod import;
mod kept_events;
mod lifecycle;
mod manager;
mod observing;
mod preview;
mod questions;
mod rfm;
mod segments;
mod service;
mod upgrading;
mod verify;
