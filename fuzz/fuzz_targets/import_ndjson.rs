//! Any bytes are rows of NDJSON or bad rows, each with its line, in the order of the file.

#![no_main]

use headcount::cli::probe::ImportFormat;
use headcount_fuzz::judge_rows;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for flags in [
        &[][..],
        &["--events"],
        &["--types", "age=int64,tags=string_set,note=ignore"],
    ] {
        judge_rows(bytes, ImportFormat::Ndjson, flags);
    }
});
