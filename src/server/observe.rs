//! What is noted about calls.

use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::Request;

use crate::api::Method;

/// Counts and times calls.
pub(super) struct Meters;

/// A call under way.
pub(super) struct Observed;

impl Meters {
    /// Notes that a call begins.
    #[expect(clippy::unused_self, reason = "nothing is noted")]
    pub(super) fn begin(
        &self,
        _method: Option<&'static Method>,
        _request: &Request<Body>,
    ) -> Observed {
        Observed
    }
}

impl Observed {
    /// Notes that the call has ended.
    #[expect(clippy::unused_self, reason = "nothing is noted")]
    pub(super) fn end(self, _code: Code) {}
}
