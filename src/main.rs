//! The program `headcount`: the service and its command line.

use std::process::ExitCode;

// Many small parts of the index come and go: measured against the system's in docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    headcount::cli::main()
}
