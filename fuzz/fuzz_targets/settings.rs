//! Any text is a file of settings or refused, with a line of the text for each mistake.

#![no_main]

use headcount::cli::probe::read_settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Err(error) = read_settings(text) else {
        return;
    };
    let lines = text.split('\n').count();
    assert!(error.len() < 16_384, "{} bytes", error.len());
    let mut named = 0;
    for mistake in error.lines() {
        let Some(place) = mistake.trim_start().strip_prefix("file:") else {
            continue;
        };
        let line: usize = place.split(':').next().unwrap().parse().unwrap();
        assert!((1..=lines).contains(&line), "{mistake} of {text:?}");
        named += 1;
    }
    assert!(named > 0, "{error}");
});
