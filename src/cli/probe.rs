//! Doors of this room for fuzzing: what files say is asked without a service. Only there with the
//! feature `testing`.

pub use super::config::read_settings;
pub use super::import::probe::{ImportFormat, ImportRow, import_rows};
