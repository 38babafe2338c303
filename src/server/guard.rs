//! Who calls, and whether they may.

use tonic::body::Body;
use tonic::codegen::http::Request;

use crate::api::{Method, RpcStatus};

/// Knows who may call what.
pub(super) struct Guard;

impl Guard {
    /// Notes who calls, for the services; or refuses.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "everybody may"
    )]
    pub(super) fn check(
        &self,
        _method: Option<&'static Method>,
        request: Request<Body>,
    ) -> Result<Request<Body>, RpcStatus> {
        Ok(request)
    }
}
