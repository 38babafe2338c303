//! The generated protocol: messages, clients and servers of `headcount.v1`, and the descriptors
//! that reflection serves. There is no logic here.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::disallowed_types,
    clippy::allow_attributes_without_reason,
    reason = "generated code; the documentation is in the .proto files"
)]

tonic::include_proto!("headcount.v1");

/// The encoded `FileDescriptorSet` of the protocol with all its imports and comments.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/headcount_descriptor.bin"));
