//! Who calls, and whether they may.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::codegen::http::{HeaderMap, Request, header};

use super::connection::Peer;
use super::tokens::{Shown, Tokens};
pub(super) use crate::api::over;
use crate::api::{self, Caller, Grants, Messages, Method, RpcStatus, unauthenticated};
use crate::engine::Engine;
use crate::model::Timestamp;

const MISSING: &str = "this needs a token: send it in the header authorization, as `Bearer TOKEN`; or show a client certificate that the service knows";
const MALFORMED: &str =
    "the header authorization is not one `Bearer TOKEN`, which is what is expected";
/// The same for a token that never was, one that is not in force any more, and one that is almost
/// right: nothing is to be learned from it.
const UNKNOWN: &str = "the token or certificate is none that may be used";

/// How often the caller of a stream is judged again.
const AGAIN: Duration = Duration::from_secs(5);

/// Knows who may call what.
pub(super) struct Guard {
    /// Nothing where nobody is asked who they are.
    tokens: Option<Arc<ArcSwap<Tokens>>>,
    again: Duration,
    engine: Engine,
}

/// For how long a caller may go on: ends when the caller may not any more.
pub(super) type Term = BoxFuture<(), Infallible>;

impl Guard {
    pub(super) fn new(
        tokens: Option<Arc<ArcSwap<Tokens>>>,
        again: Duration,
        engine: Engine,
    ) -> Self {
        Self {
            tokens,
            again: again.min(AGAIN),
            engine,
        }
    }

    /// Notes who calls, for the services; or refuses. A stream is given a term.
    pub(super) fn check(
        &self,
        method: Option<&'static Method>,
        mut request: Request<Body>,
    ) -> Result<(Request<Body>, Option<Term>), RpcStatus> {
        let Some(tokens) = &self.tokens else {
            return Ok((request, None));
        };
        let shown = shown(&request)?;
        let grants = tokens.load().grants(&shown, || self.engine.as_of());
        let grants = grants.ok_or_else(|| unauthenticated(UNKNOWN))?;
        // It has done its work; what is passed on can't be shown by mistake.
        request.headers_mut().remove(header::AUTHORIZATION);
        // What is no method of ours reads no population: there is only to be known who calls.
        let Some(method) = method else {
            return Ok((request, None));
        };
        let mut caller = Caller::new(Arc::clone(&grants), method.role);
        let mut term: Option<Term> = None;
        if method.messages == Messages::Stream {
            let lasts = self.term(Arc::clone(tokens), shown, grants);
            caller = caller.until(lasts.clone());
            term = Some(Box::pin(async move {
                lasts.over().await;
                Ok(())
            }));
        }
        request.extensions_mut().insert(caller);
        Ok((request, term))
    }

    /// A stream may go on while its caller may do what they could when it began: who may do less, or
    /// more, begins anew.
    fn term(&self, tokens: Arc<ArcSwap<Tokens>>, shown: Shown, grants: Arc<Grants>) -> api::Term {
        let engine = self.engine.clone();
        // What was judged last, so that as long as the file stays, only the time is looked at.
        let judged: ArcSwapOption<Judged> = ArcSwapOption::empty();
        api::Term::new(self.again, move || {
            let tokens = tokens.load();
            let now = || engine.as_of();
            if let Some(judged) = &*judged.load()
                && Arc::ptr_eq(&judged.tokens, &tokens)
            {
                return judged.expires.is_none_or(|end| end > now());
            }
            if tokens.grants(&shown, now).as_ref() != Some(&grants) {
                return false;
            }
            judged.store(Some(Arc::new(Judged {
                expires: tokens.expires(&shown),
                tokens: Arc::clone(&tokens),
            })));
            true
        })
    }
}

/// That a caller is in some tokens, until then.
struct Judged {
    tokens: Arc<Tokens>,
    expires: Option<Timestamp>,
}

/// What a caller shows. A token goes before a certificate: who shows both can be refused for the
/// token.
fn shown(request: &Request<Body>) -> Result<Shown, RpcStatus> {
    if let Some(token) = bearer(request.headers())? {
        return Ok(Shown::token(token));
    }
    let peer = request.extensions().get::<Peer>();
    peer.and_then(|peer| peer.certificate)
        .map(Shown::certificate)
        .ok_or_else(|| unauthenticated(MISSING))
}

/// The token in some headers.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, RpcStatus> {
    const SCHEME: &[u8] = b"bearer ";
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let split = value.as_bytes().split_at_checked(SCHEME.len());
    match (split, values.next()) {
        (Some((scheme, token)), None)
            if scheme.eq_ignore_ascii_case(SCHEME) && !token.trim_ascii().is_empty() =>
        {
            Ok(Some(token.trim_ascii()))
        }
        _ => Err(unauthenticated(MALFORMED)),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic::codegen::http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_token_is_read_as_the_standard_has_it() {
        for good in ["Bearer abc", "bearer abc", "BEARER   abc "] {
            assert_eq!(
                bearer(&headers(&[good])).unwrap(),
                Some(&b"abc"[..]),
                "{good}"
            );
        }
        assert_eq!(bearer(&headers(&[])).unwrap(), None);
    }

    #[test]
    fn what_is_no_token_is_refused_in_the_same_words() {
        for bad in [
            &["abc"][..],
            &["Basic abc"],
            &["Bearer"],
            &["Bearer "],
            &["Bearerabc"],
            &[""],
            &["Bearer abc", "Bearer abc"],
        ] {
            let status = bearer(&headers(bad)).unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{bad:?}");
            assert_eq!(status.message(), MALFORMED);
        }
    }
}
