//! What a client says a call is part of: an id of the request, and a trace.
//!
//! Invariant: what is taken from a client is short and made of a few harmless characters.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the id of a request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header with the trace (W3C Trace Context).
const TRACE: HeaderName = HeaderName::from_static("traceparent");

/// The longest id of a request that is taken from a client.
const ID_BYTES: usize = 64;

/// What a client says a call is part of. Nothing is looked at before it is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct CallContext {
    request_id: Option<HeaderValue>,
    trace: Option<HeaderValue>,
}

impl CallContext {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            request_id: headers.get(REQUEST_ID).cloned(),
            trace: headers.get(TRACE).cloned(),
        }
    }

    /// The id of the request: the client's if it is well-formed, else a new one.
    pub(super) fn request_id(&mut self) -> HeaderValue {
        let given = self.request_id.take().filter(is_well_formed);
        let id = given.unwrap_or_else(new_id);
        self.request_id = Some(id.clone());
        id
    }

    /// The id of the trace, if the header is well-formed.
    pub(super) fn trace_id(&self) -> Option<&str> {
        Some(self.parent()?.trace)
    }

    /// The span of the client that the call is part of, if the header is well-formed.
    pub(super) fn parent(&self) -> Option<Parent<'_>> {
        let text = self.trace.as_ref()?.to_str().ok()?;
        let mut parts = text.split('-');
        let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
        let flags = parts.next()?;
        let is_hex = |part: &str, length| {
            let mut bytes = part.bytes();
            part.len() == length && bytes.all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_something = |part: &str| part.bytes().any(|byte| byte != b'0');
        let is_well_formed = is_hex(version, 2)
            && version != "ff"
            && is_hex(trace, 32)
            && is_hex(span, 16)
            && is_hex(flags, 2)
            && is_something(trace)
            && is_something(span)
            // Later versions may say more.
            && (version != "00" || parts.next().is_none());
        is_well_formed.then_some(Parent {
            trace,
            #[cfg(feature = "otlp")]
            span,
            #[cfg(feature = "otlp")]
            is_sampled: u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1),
        })
    }
}

/// The span of a client that a call is part of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parent<'a> {
    /// 32 hexadecimal digits.
    pub(super) trace: &'a str,
    /// 16 hexadecimal digits.
    #[cfg(feature = "otlp")]
    pub(super) span: &'a str,
    /// Whether the client keeps the trace.
    #[cfg(feature = "otlp")]
    pub(super) is_sampled: bool,
}

fn is_well_formed(id: &HeaderValue) -> bool {
    let is_harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let bytes = id.as_bytes();
    (1..=ID_BYTES).contains(&bytes.len()) && bytes.iter().all(is_harmless)
}

/// 16 hexadecimal digits that no other call has, as far as chance goes.
fn new_id() -> HeaderValue {
    static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = RANDOM.hash_one(NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&format!("{number:016x}")).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: HeaderName, value: &str) -> CallContext {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        CallContext::of(&headers)
    }

    #[test]
    fn an_id_is_the_clients_if_it_is_well_formed() {
        for id in ["a", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "job_7.step-2"] {
            assert_eq!(given(REQUEST_ID, id).request_id(), id);
        }
        let long = "x".repeat(ID_BYTES + 1);
        for id in ["", "a b", "ann@example.com", "a\u{e9}", "\"", &long] {
            let mut context = given(REQUEST_ID, id);
            let made = context.request_id();
            assert_eq!(made.len(), 16, "{id}");
            assert_eq!(made, context.request_id(), "it is made once");
        }
        let (mut a, mut b) = (CallContext::default(), CallContext::default());
        assert_ne!(a.request_id(), b.request_id());
    }

    #[test]
    fn a_trace_is_read_as_the_standard_says() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = "00f067aa0ba902b7";
        let good = [
            format!("00-{trace}-{span}-01"),
            format!("00-{trace}-{span}-00"),
            format!("cc-{trace}-{span}-01-more"),
        ];
        for text in good {
            assert_eq!(given(TRACE, &text).trace_id(), Some(trace), "{text}");
        }
        let bad = [
            String::new(),
            "00".into(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}x-{span}-01"),
            format!("00-{trace}-{span}-0g"),
        ];
        for text in bad {
            assert_eq!(given(TRACE, &text).trace_id(), None, "{text}");
        }
    }
}
