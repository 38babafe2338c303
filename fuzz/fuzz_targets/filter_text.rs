//! Any text has an answer, in bounded time and memory; one that is accepted prints as a text that
//! stands for the same, and one that is refused has a place within the text.

#![no_main]

use headcount::filter::{caret, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(expression) => {
            assert_eq!(expression.check_size(), Ok(()));
            let printed = expression.to_string();
            // Printing may make a text longer, with the words written out, so a limit on its
            // bytes is the only way in which it may fail.
            if printed.len() <= 65_536 {
                assert_eq!(parse(&printed), Ok(expression), "{printed}");
            }
        }
        Err(error) => {
            assert!(error.line() >= 1 && error.column() >= 1);
            assert!(error.to_string().len() < 2_000);
            let shown = caret(text, error.line(), error.column());
            assert!(shown.len() < 2_000 && shown.ends_with('^'));
        }
    }
});
