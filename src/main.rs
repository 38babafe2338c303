//! The program `headcount`.

fn main() {}
