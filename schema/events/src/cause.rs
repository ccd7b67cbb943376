//! What a derived fact was computed from.

use obsqra_types::{Hash32, Seq};

use crate::cbor::{Canonical, DecodeError, Reader, Writer};

/// The most references one fact carries.
pub const MAX_CAUSES: usize = 64;

/// A reference to entries of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// One entry.
    Entry(Seq),
    /// The entries of a range that a selector names.
    Window {
        /// First position of the range.
        from_seq: Seq,
        /// Last position of the range, inclusive.
        to_seq: Seq,
        /// Which entries of the range count: `event protocol=<id>` for a protocol's events in
        /// canonical blocks.
        selector: String,
        /// How many they are.
        count: u64,
        /// Their [`crate::SetDigest`].
        digest: Hash32,
    },
}

/// The references of one fact, at most [`MAX_CAUSES`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Causes(Vec<Cause>);

/// A fact names more references than it may.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0} causes where at most {MAX_CAUSES} are allowed")]
pub struct TooManyCauses(pub usize);

impl Causes {
    /// Checks and wraps references.
    ///
    /// # Errors
    /// When there are more than [`MAX_CAUSES`].
    pub fn new(causes: Vec<Cause>) -> Result<Self, TooManyCauses> {
        if causes.len() > MAX_CAUSES {
            return Err(TooManyCauses(causes.len()));
        }
        Ok(Self(causes))
    }

    /// The references.
    #[must_use]
    pub fn as_slice(&self) -> &[Cause] {
        &self.0
    }

    /// The newest position that any reference names.
    #[must_use]
    pub fn newest(&self) -> Option<Seq> {
        self.0
            .iter()
            .map(|cause| match cause {
                Cause::Entry(seq) => *seq,
                Cause::Window { to_seq, .. } => *to_seq,
            })
            .max()
    }
}

/// As many as a fact may carry, the first ones.
impl FromIterator<Cause> for Causes {
    fn from_iter<T: IntoIterator<Item = Cause>>(causes: T) -> Self {
        Self(causes.into_iter().take(MAX_CAUSES).collect())
    }
}

impl Canonical for Cause {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Entry(seq) => {
                out.array(1).uint(seq.0);
            }
            Self::Window { from_seq, to_seq, selector, count, digest } => {
                out.array(5).uint(from_seq.0).uint(to_seq.0).text(selector).uint(*count);
                out.bytes(digest.as_bytes());
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.any_array()? {
            1 => Ok(Self::Entry(Seq(input.uint()?))),
            5 => Ok(Self::Window {
                from_seq: Seq(input.uint()?),
                to_seq: Seq(input.uint()?),
                selector: input.text()?.to_owned(),
                count: input.uint()?,
                digest: input.hash()?,
            }),
            found => Err(DecodeError::Length { expected: 5, found }),
        }
    }
}

impl Canonical for Causes {
    fn write(&self, out: &mut Writer) {
        out.list(&self.0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(input.list()?).map_err(|_| DecodeError::Range("number of causes"))
    }
}
