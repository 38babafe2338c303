//! Whether there is room for a call.

use tonic::body::Body;
use tonic::codegen::http::Request;

use crate::api::{Method, RpcStatus};

/// Knows how much is under way.
pub(super) struct Admission;

/// The room that a call takes until it ends.
pub(super) struct Place;

impl Admission {
    /// Takes room for a call, or refuses.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "there is room"
    )]
    pub(super) fn enter(
        &self,
        _method: Option<&'static Method>,
        request: Request<Body>,
    ) -> Result<(Request<Body>, Place), RpcStatus> {
        Ok((request, Place))
    }
}
