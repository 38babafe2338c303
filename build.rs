//! Compiles the protocol files without `protoc`, and keeps their descriptors, comments included,
//! for server reflection.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script has no disk to inject"
)]

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "headcount/v1/admin_service.proto",
        "headcount/v1/error_reason.proto",
        "headcount/v1/ingest_service.proto",
        "headcount/v1/query_service.proto",
        "headcount/v1/schema_service.proto",
        "headcount/v1/segment_service.proto",
        "headcount/v1/user_service.proto",
    ];
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?;

    // Reflection serves this file as it is: decoding and encoding it again would lose options.
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out_dir.join("headcount_descriptor.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    // Comments become Rust documentation, in which our JSON examples are not code to compile.
    tonic_prost_build::configure()
        .disable_comments(["."])
        // Maps in the order of their keys: one request always becomes one command.
        .btree_map(".")
        // Or each empty expression of two bytes would take as much memory as the largest.
        .boxed(".headcount.v1.Expression.kind.predicate")
        .boxed(".headcount.v1.Expression.kind.event")
        .boxed(".headcount.v1.Expression.kind.bucket")
        // Counts the elements of large messages before it makes them.
        .codec_path("crate::api::Codec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
