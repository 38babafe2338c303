//! Reads a filter text: which expression does it stand for, or where exactly is it wrong?
//!
//! Invariant: pure and bounded. The same text always gives the same answer, any text at all gives
//! an answer, and neither recursion nor memory grows past the limits of [`crate::model::limit`].
//! Properties are not looked up and types are not judged here: that needs a population.
//!
//! The language is the WHERE clause of SQL. Keywords are written in any case; `--` starts a comment
//! that ends with the line. As in SQL, `NOT` binds tighter than `AND`, and `AND` tighter than `OR`.
//!
//! ```text
//! filter     = any_of
//! any_of     = all_of { OR all_of }
//! all_of     = not { AND not }
//! not        = NOT not | primary
//! segment    = SEGMENT "(" text ")"
//! primary    = "(" any_of ")" | TRUE | FALSE | at_least | segment | predicate | event | bucket
//! at_least   = AT LEAST whole OF "(" any_of { "," any_of } ")"
//! predicate  = any_name test
//! test       = ( "=" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ) operand
//!            | [ NOT ] IN "(" value { "," value } ")"
//!            | [ NOT ] BETWEEN operand AND operand
//!            | HAS ( ANY | ALL | NONE ) "(" text { "," text } ")"
//!            | IS [ NOT ] ( SET | NULL )
//! event      = function "(" any_name [ "," window ] [ IN text ] ")" event_test
//! function   = count | days | weeks | months | sum | avg | min | max | first | last
//! window     = span | THIS unit | LAST whole unit | instant "," instant
//! unit       = day | days | week | weeks | month | months
//! event_test = ( "=" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ) measure
//!            | [ NOT ] IN "(" measure { "," measure } ")"
//!            | [ NOT ] BETWEEN measure AND measure
//! bucket     = BUCKET "(" text "," whole ")" bucket_test
//! bucket_test = ( "=" | "!=" | "<>" | "<" | "<=" | ">" | ">=" ) whole
//!            | [ NOT ] IN "(" whole { "," whole } ")"
//!            | [ NOT ] BETWEEN whole AND whole
//! measure    = [ "-" ] number                                  but for first and last: instant
//! operand    = value | now_plus
//! instant    = TIMESTAMP text | DATE text | now_plus
//! now_plus   = now "(" ")" [ ( "+" | "-" ) span ]
//! value      = text | [ "-" ] number | TRUE | FALSE
//!            | TIMESTAMP text | DATE text | VERSION text
//! any_name   = name | '"' { any character, '"' doubled } '"'
//! name       = ( letter | "_" ) { letter | digit | "_" | "." }   but no reserved word
//! text       = "'" { any character, "'" doubled } "'"
//! number     = whole [ "." digits ] [ "e" [ "+" | "-" ] digits ]
//! span       = whole ( "us" | "ms" | "s" | "m" | "h" | "d" | "w" )
//! ```
//!
//! A number with a point or an exponent is a double, any other an int64. `FALSE` stands for
//! `NOT TRUE`, `a BETWEEN x AND y` for `(a >= x AND a <= y)`, and `a NOT BETWEEN x AND y` for its
//! complement; `f(..) IN (x, y)` is `(f(..) = x OR f(..) = y)`. A word that is a function is one
//! only before a parenthesis. Operands joined by one kind of word are one flat list; parentheses nest.

#![warn(clippy::unwrap_used, clippy::indexing_slicing)]

mod error;
mod help;
mod literal;
mod parse;
#[cfg(test)]
mod tests;
mod token;

pub use error::{FilterError, SyntaxError, caret};

use crate::model::{EventMeasure, Expression};

/// Reads a filter text.
///
/// # Errors
/// [`FilterError`] with the place and what was expected there, or the limit that was exceeded.
pub fn parse(text: &str) -> Result<Expression, FilterError> {
    parse::parse(text).map_err(|fault| fault.located(text))
}

/// Reads a function of events alone, without anything that it is compared with: `sum(purchase, 30d)`.
///
/// # Errors
/// As for [`parse()`].
pub fn parse_measure(text: &str) -> Result<EventMeasure, FilterError> {
    parse::parse_measure(text).map_err(|fault| fault.located(text))
}

/// Whether a text begins as a function of events does: with the name of one and a parenthesis.
#[must_use]
pub fn begins_measure(text: &str) -> bool {
    parse::begins_measure(text)
}
