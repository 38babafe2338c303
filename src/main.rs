//! The program `headcount`: the service and its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    headcount::cli::main()
}
