//! Every expression prints as a text that parses to the same expression.

#![no_main]

use headcount::filter::parse;
use headcount::testing::generate::{Choices, Vocabulary, expression};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let expression = expression(&mut Choices::new(bytes), Vocabulary::Anything);
    let text = expression.to_string();
    assert_eq!(parse(&text), Ok(expression), "{text}");
});
