//! Until when an answer is of use: the time that the client gave, enforced here in waiting, in
//! evaluation and on streams. (The transport's own timer covers only the first headers of an
//! answer, and says CANCELLED.)

use std::time::{Duration, Instant};

use super::error::ApiError;

/// How much of the client's time is kept for the way back, so that our answer, which says what
/// happened, arrives before the client's own timer fires: a tenth, and no more than this.
const MOST_KEPT_BACK: Duration = Duration::from_millis(20);

/// Longer than any call: what a client that asks for years gets.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// When a call ends, if the client said so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// The deadline of a request that arrives now.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Self {
        let given = request.metadata().get("grpc-timeout");
        let given = given.and_then(|text| parse(text.to_str().ok()?));
        Self(given.and_then(|given| {
            let kept_back = (given / 10).min(MOST_KEPT_BACK);
            Instant::now().checked_add(given.min(LONGEST).saturating_sub(kept_back))
        }))
    }

    /// The moment, for evaluation.
    pub(super) fn instant(self) -> Option<Instant> {
        self.0
    }

    /// The deadline, or one so far from now if that is sooner.
    pub(super) fn within(self, span: Duration) -> Self {
        let latest = Instant::now().checked_add(span);
        Self(self.0.into_iter().chain(latest).min())
    }

    /// Waits for something no longer than the deadline allows.
    pub(super) async fn bound<T>(
        self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        match self.0 {
            None => work.await,
            Some(instant) => tokio::time::timeout_at(instant.into(), work)
                .await
                .unwrap_or_else(|_| Err(ApiError::deadline())),
        }
    }
}

/// Reads `1` to `8` digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let digits = &text[..unit_at];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number * 3_600),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    #[test]
    fn timeouts_are_read() {
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("99999999H"), Some(Duration::from_hours(99_999_999)));
        for bad in ["", "S", "5", "5s", "-5S", "123456789S", "5é", "é"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    fn deadline(text: &'static str) -> Deadline {
        let mut request = tonic::Request::new(());
        let value = tonic::metadata::MetadataValue::from_static(text);
        request.metadata_mut().insert("grpc-timeout", value);
        Deadline::of(&request)
    }

    #[test]
    fn years_are_no_overflow() {
        assert!(deadline("99999999H").instant().is_some());
        assert!(deadline("soon").instant().is_none());
    }

    #[tokio::test]
    async fn waiting_ends_at_the_deadline() {
        let forever = std::future::pending::<Result<(), ApiError>>();
        let error = deadline("5m").bound(forever).await.unwrap_err();
        assert_eq!(error.reason, Reason::DeadlineExceeded);
        let none = Deadline(None);
        assert!(none.bound(async { Ok(1) }).await.is_ok());
        let second = Duration::from_secs(1);
        assert!(none.within(second).instant().is_some());
        let years = deadline("99999999H").within(second).instant().unwrap();
        assert!(years <= Instant::now() + second, "no client waits longer");
        let soon = deadline("5m");
        assert_eq!(soon.within(second).instant(), soon.instant());
    }
}
