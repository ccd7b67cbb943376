//! Names of jobs: work that any process may do, in any order.
//!
//! A kind and a key say what is to be done, once for good; the id says which row holds it; the token says which
//! of its holders speaks. Only the token of the newest lease counts.

use std::fmt;

/// Longest name of a kind, in bytes.
const MAX_KIND_BYTES: usize = 64;
/// Bytes of a W3C `traceparent` of version 00.
const TRACE_PARENT_BYTES: usize = 55;

/// A job's row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the leases that a job has had; a holder that states another than the newest is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct JobToken(pub i64);

impl JobToken {
    /// Before the first lease.
    pub const NEVER_LEASED: Self = Self(0);

    /// The token of the next lease.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for JobToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What sort of work a job is: lower-case letters, digits and underscores.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct JobKind(String);

/// Text that is no kind of job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidJobKind(String);

impl fmt::Display for InvalidJobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no kind of job: expected up to {MAX_KIND_BYTES} lower-case letters, digits and underscores",
            self.0
        )
    }
}

impl std::error::Error for InvalidJobKind {}

impl JobKind {
    /// Reads a kind.
    ///
    /// # Errors
    /// When the text is empty, too long, or holds another character.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidJobKind> {
        let text = text.into();
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if text.is_empty() || text.len() > MAX_KIND_BYTES || !text.bytes().all(known) {
            return Err(InvalidJobKind(text));
        }
        Ok(Self(text))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a job comes from, as W3C Trace Context writes it: `00-<trace>-<span>-<flags>` in lower-case hex.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceParent(String);

impl TraceParent {
    /// Reads a header of version 00; `None` for anything else, the all-zero ids included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex =
            |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
        if text.len() != TRACE_PARENT_BYTES {
            return None;
        }
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags] = parts.as_slice() else {
            return None;
        };
        let sized = trace.len() == 32 && span.len() == 16 && flags.len() == 2;
        let good = sized && [trace, span, flags].into_iter().all(|part| hex(part));
        (*version == "00" && good && !is_zero(trace) && !is_zero(span))
            .then(|| Self(text.to_owned()))
    }

    /// The header's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_a_plain_name() {
        for good in ["report", "deliver_webhook_2", &"a".repeat(64)] {
            assert!(JobKind::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Report", "a b", "a-b", "é", &"a".repeat(65)] {
            assert!(JobKind::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trace_parent_is_what_the_specification_says() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(good).map(|parent| parent.0).as_deref(), Some(good));
        for bad in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }
}
