//! The service over gRPC: real clients over loopback TCP, the real server in the same process, and
//! beside it an empty call, or raw `fdatasync`, measured in turns in the same run.
//!
//! `cargo bench --bench service -- 1000000` for a million users; 100,000 if no number is given.
//! Words after the number choose the parts whose names have one of them: checks, questions,
//! events, updates, segments, pressure. Loading is always measured, and the answers always compared.
//! Clients and servers share the cores of the machine: what a client spends is in every number, of
//! the empty call as well.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a program that prints numbers about the transport"
)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod checks;
#[path = "../engine/definitions.rs"]
#[allow(dead_code, reason = "shared with the bench of the engine")]
mod definitions;
mod empty;
mod host;
#[path = "../engine/load.rs"]
#[allow(dead_code, reason = "shared with the bench of the engine")]
mod load;
mod measure;
mod pressure;
mod questions;
mod segments;
#[path = "../engine/world.rs"]
#[allow(dead_code, reason = "shared with the bench of the engine")]
mod world;
mod writes;

use host::Host;

fn main() {
    let users = std::env::args()
        .skip(1)
        .find_map(|argument| argument.replace('_', "").parse().ok())
        .unwrap_or(100_000_u64)
        .max(1_000);
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-') && argument.parse::<u64>().is_err())
        .collect();
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| part.contains(word));
    let host = Host::start();
    let clients = host::runtime("client");
    println!("{users} users, 13 properties, gRPC over loopback\n");
    clients.block_on(async {
        let rows = writes::load(&host, users).await;
        questions::same_answers(&host, users).await;
        if wanted("checks") {
            checks::measure(&host, users).await;
        }
        if wanted("questions") {
            questions::measure(&host, users).await;
        }
        if wanted("events") {
            writes::events(&host, users, rows).await;
        }
        if wanted("updates") {
            writes::updates(&host, users).await;
        }
        if wanted("segments") {
            segments::measure(&host, users).await;
        }
    });
    if wanted("pressure") {
        pressure::measure(&host, &clients, users);
    }
    drop(clients);
    host.end();
}
