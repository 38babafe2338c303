//! Where in a request a field is: printed only when something is wrong with it, so that a request
//! that is right pays nothing.

use std::fmt;

/// How many bytes of a key are shown: keys come from the caller and can be long.
const SHOWN_KEY_BYTES: usize = 128;

/// A path from the root of a request to a field, such as `updates[3].set["age"]`.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum Path<'a> {
    /// The request.
    Root,
    /// A field of a message.
    Field(&'a Path<'a>, &'static str),
    /// An item of a list.
    Index(&'a Path<'a>, usize),
    /// A value of a map.
    Key(&'a Path<'a>, &'a str),
}

impl Path<'_> {
    pub(super) fn field<'a>(&'a self, name: &'static str) -> Path<'a> {
        Path::Field(self, name)
    }

    pub(in crate::api) fn index(&self, position: usize) -> Path<'_> {
        Path::Index(self, position)
    }

    pub(super) fn key<'a>(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Path::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, position) => write!(f, "{parent}[{position}]"),
            Self::Key(parent, key) if key.len() <= SHOWN_KEY_BYTES => {
                write!(f, "{parent}[{key:?}]")
            }
            Self::Key(parent, key) => {
                let shown = &key[..key.floor_char_boundary(SHOWN_KEY_BYTES)];
                write!(f, "{parent}[{shown:?}...]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_people_write_it() {
        let update = Path::Root.field("updates");
        let update = update.index(3);
        let set = update.field("set");
        assert_eq!(set.key("age").to_string(), r#"updates[3].set["age"]"#);
        assert_eq!(set.key("it\"s").to_string(), r#"updates[3].set["it\"s"]"#);
    }

    #[test]
    fn long_keys_are_cut_between_characters() {
        let long = "é".repeat(100_000);
        let shown = Path::Root.field("set").key(&long).to_string();
        assert!(shown.len() < 150 && shown.ends_with("\"...]"), "{shown}");
    }
}
