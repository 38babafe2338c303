//! Every method of the protocol: who may call it, and what a call costs.
//!
//! Invariant: there is a row for each method of the protocol files, and none besides.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

/// What a caller may do in a population.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Ask about users, segments and the schema.
    Read,
    /// Write users, events and segments.
    Write,
    /// Change the schema; look after the service.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// What calls wait for. Those of one kind never wait for room of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cost {
    /// Microseconds on the thread that serves the call.
    Check,
    /// Time on the query threads, by the size of the population.
    Query,
    /// A place in the queue of the commit thread.
    Write,
    /// Little and seldom: the catalog, and looking after the service.
    Other,
}

/// How many messages a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// One request and one answer.
    Unary,
    /// Many answers, or many of both: such a call may last for hours.
    Stream,
}

/// A method of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The service, with its package: `headcount.v1.QueryService`.
    pub service: &'static str,
    /// The method: `Count`.
    pub name: &'static str,
    /// What a caller needs.
    pub role: Role,
    /// What a call waits for.
    pub cost: Cost,
    /// How many messages a call has.
    pub messages: Messages,
}

impl Method {
    /// The path of its calls: `/headcount.v1.QueryService/Count`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.name)
    }
}

const fn unary(service: &'static str, name: &'static str, role: Role, cost: Cost) -> Method {
    Method {
        service,
        name,
        role,
        cost,
        messages: Messages::Unary,
    }
}

const fn stream(service: &'static str, name: &'static str, role: Role, cost: Cost) -> Method {
    Method {
        messages: Messages::Stream,
        ..unary(service, name, role, cost)
    }
}

const INGEST: &str = "headcount.v1.IngestService";
const QUERY: &str = "headcount.v1.QueryService";
const USER: &str = "headcount.v1.UserService";
const SEGMENT: &str = "headcount.v1.SegmentService";
const SCHEMA: &str = "headcount.v1.SchemaService";
const ADMIN: &str = "headcount.v1.AdminService";

/// All methods.
pub static METHODS: &[Method] = &[
    unary(INGEST, "Write", Role::Write, Cost::Write),
    stream(INGEST, "WriteStream", Role::Write, Cost::Write),
    unary(QUERY, "Count", Role::Read, Cost::Query),
    unary(QUERY, "BatchCount", Role::Read, Cost::Query),
    unary(QUERY, "Check", Role::Read, Cost::Check),
    unary(QUERY, "BatchCheck", Role::Read, Cost::Query),
    unary(QUERY, "ListMembers", Role::Read, Cost::Query),
    stream(QUERY, "StreamMembers", Role::Read, Cost::Query),
    unary(QUERY, "Breakdown", Role::Read, Cost::Query),
    unary(QUERY, "Summarize", Role::Read, Cost::Query),
    unary(QUERY, "Explain", Role::Read, Cost::Query),
    unary(QUERY, "Overlap", Role::Read, Cost::Query),
    unary(QUERY, "Compare", Role::Read, Cost::Query),
    stream(QUERY, "ExportMembers", Role::Read, Cost::Query),
    unary(USER, "GetUser", Role::Read, Cost::Check),
    unary(USER, "DeleteUser", Role::Write, Cost::Write),
    unary(SEGMENT, "CreateSegment", Role::Write, Cost::Write),
    unary(SEGMENT, "GetSegment", Role::Read, Cost::Other),
    unary(SEGMENT, "ListSegments", Role::Read, Cost::Other),
    unary(SEGMENT, "UpdateSegment", Role::Write, Cost::Write),
    unary(SEGMENT, "DeleteSegment", Role::Write, Cost::Write),
    unary(SEGMENT, "AddSegmentMembers", Role::Write, Cost::Write),
    unary(SEGMENT, "RemoveSegmentMembers", Role::Write, Cost::Write),
    unary(SEGMENT, "ListUserSegments", Role::Read, Cost::Check),
    stream(SEGMENT, "WatchSegments", Role::Read, Cost::Query),
    unary(SEGMENT, "PreviewSegment", Role::Read, Cost::Query),
    unary(SCHEMA, "CreateProperty", Role::Admin, Cost::Write),
    unary(SCHEMA, "GetProperty", Role::Read, Cost::Other),
    unary(SCHEMA, "ListProperties", Role::Read, Cost::Other),
    unary(SCHEMA, "DeleteProperty", Role::Admin, Cost::Write),
    unary(SCHEMA, "ListValues", Role::Read, Cost::Query),
    unary(SCHEMA, "CreateEvent", Role::Admin, Cost::Write),
    unary(SCHEMA, "GetEvent", Role::Read, Cost::Other),
    unary(SCHEMA, "UpdateEvent", Role::Admin, Cost::Write),
    unary(SCHEMA, "DeleteEvent", Role::Admin, Cost::Write),
    unary(SCHEMA, "ListEvents", Role::Read, Cost::Other),
    unary(ADMIN, "CreateSnapshot", Role::Admin, Cost::Other),
    stream(ADMIN, "Backup", Role::Admin, Cost::Other),
    unary(ADMIN, "Verify", Role::Admin, Cost::Other),
    unary(ADMIN, "GetStats", Role::Admin, Cost::Other),
    unary(ADMIN, "ListPopulations", Role::Read, Cost::Other),
];

/// The method that a path names.
#[must_use]
pub fn method(path: &str) -> Option<&'static Method> {
    static BY_PATH: LazyLock<HashMap<String, &'static Method, foldhash::fast::RandomState>> =
        LazyLock::new(|| {
            METHODS
                .iter()
                .map(|method| (method.path(), method))
                .collect()
        });
    BY_PATH.get(path).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn there_is_a_row_for_each_method_of_the_protocol() {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let mut expected = BTreeMap::new();
        for file in files.iter().filter(|f| f.package() == "headcount.v1") {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let streams = method.client_streaming() || method.server_streaming();
                    expected.insert(path, streams);
                }
            }
        }
        assert!(!expected.is_empty());
        let rows = METHODS.iter();
        let rows: BTreeMap<_, _> = rows
            .map(|method| (method.path(), method.messages == Messages::Stream))
            .collect();
        assert_eq!(rows, expected);
        assert_eq!(rows.len(), METHODS.len(), "a method has two rows");
    }

    #[test]
    fn methods_are_found_by_their_path() {
        let found = method("/headcount.v1.QueryService/Count").unwrap();
        assert_eq!((found.name, found.role), ("Count", Role::Read));
        assert!(method("/headcount.v1.QueryService/Nothing").is_none());
    }
}
