//! How long a request may take: as long as its caller says, and never longer than the server allows.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use super::ServiceError;

/// Taken off the caller's time, so that the answer "too late" still arrives in time.
const MARGIN: Duration = Duration::from_millis(10);

/// A moment after which nobody waits for the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// Reads the caller's `grpc-timeout`; none, or one that cannot be read, means the server's longest.
    pub(super) fn new(metadata: &MetadataMap, longest: Duration) -> Self {
        let given =
            metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(given);
        let allowed = given.map_or(longest, |given| given.min(longest));
        Self { at: Instant::now() + allowed, allowed }
    }

    /// Waits for the work until the deadline, and drops it then.
    pub(super) async fn run<T>(
        self,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        // Work that never waits would not notice that its time is over.
        self.check()?;
        match tokio::time::timeout_at(self.at, work).await {
            Ok(done) => done,
            Err(_) => Err(self.exceeded()),
        }
    }

    /// Refuses what comes too late to be of use; not for work that has changed something.
    pub(super) fn check(&self) -> Result<(), ServiceError> {
        if Instant::now() < self.at { Ok(()) } else { Err(self.exceeded()) }
    }

    /// Time that is left.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// The error of a request that is out of time.
    pub(super) fn exceeded(&self) -> ServiceError {
        ServiceError::DeadlineExceeded { seconds: self.allowed.as_secs_f64() }
    }
}

/// The time that a caller allows with a `grpc-timeout`, less what the answer needs for its way.
pub(super) fn given(text: &str) -> Option<Duration> {
    parse_timeout(text).map(|given| given.saturating_sub(MARGIN.min(given / 10)))
}

/// Reads a `grpc-timeout`: at most eight digits and a unit.
///
/// # Reference
/// gRPC over HTTP2, "Requests".
fn parse_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last().filter(char::is_ascii)?;
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|each| each.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3_600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_every_unit_are_read_and_others_are_not() {
        assert_eq!(parse_timeout("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parse_timeout("3M"), Some(Duration::from_mins(3)));
        assert_eq!(parse_timeout("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(parse_timeout("5m"), Some(Duration::from_millis(5)));
        assert_eq!(parse_timeout("5u"), Some(Duration::from_micros(5)));
        assert_eq!(parse_timeout("5n"), Some(Duration::from_nanos(5)));
        for bad in ["", "S", "123456789S", "-1S", "1 S", "1s", "1é", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_shorter_of_both_counts() {
        let longest = Duration::from_mins(1);
        let mut metadata = MetadataMap::new();
        assert_eq!(Deadline::new(&metadata, longest).allowed, longest);
        metadata.insert("grpc-timeout", "2H".parse().expect("ascii"));
        assert_eq!(Deadline::new(&metadata, longest).allowed, longest);
        metadata.insert("grpc-timeout", "1S".parse().expect("ascii"));
        assert_eq!(Deadline::new(&metadata, longest).allowed, Duration::from_millis(990));
        assert!(Deadline::new(&metadata, longest).left() <= Duration::from_millis(990));
    }

    #[tokio::test]
    async fn work_that_takes_too_long_is_given_up() {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", "20m".parse().expect("ascii"));
        let deadline = Deadline::new(&metadata, Duration::from_mins(1));
        let outcome = deadline.run(std::future::pending::<Result<(), ServiceError>>()).await;
        assert!(matches!(outcome, Err(ServiceError::DeadlineExceeded { .. })));
        assert!(Instant::now() >= deadline.at);
    }
}
