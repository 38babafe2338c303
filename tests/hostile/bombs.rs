//! What is small on the way and large when it is unpacked.

use prost::bytes::Bytes;
use tonic::Code;

use crate::call;
use crate::process::Server;
use crate::raw::CHECK;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_messages_are_not_unpacked() {
    let server = Server::start(&[]).await;
    let attack = async {
        // The header says compressed; what is compressed does not matter, since nobody looks.
        let mut bomb = vec![1, 0, 0, 0, 64];
        bomb.extend([0x1f; 64]);
        let bomb = Bytes::from(bomb);
        for encoding in ["gzip", "deflate", "zstd", "snappy", "x"] {
            for _ in 0..50 {
                let headers = [("grpc-encoding", encoding)];
                let status = call::with(server.address, CHECK, &headers, bomb.clone()).await;
                let status = status.unwrap();
                assert_eq!(status.code(), Code::Unimplemented, "{encoding}");
                assert!(status.message().contains(encoding), "{}", status.message());
            }
        }
        // What no encoding was named for has this status by the protocol of gRPC.
        let status = call::with(server.address, CHECK, &[], bomb).await.unwrap();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().contains("compressed-flag"));
    };
    server.withstands("compressed messages", 32, attack).await;
}
