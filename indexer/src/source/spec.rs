//! Which edition of the JSON-RPC specification a node speaks, as it says itself.
//!
//! An edition is major and minor number; patch levels and release candidates of one are the same
//! shape. Any other edition is refused rather than guessed at: a shape that is nearly right loses
//! data silently.

use std::fmt;

/// An edition of the specification that is understood.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Spec {
    /// 0.8
    V0_8,
    /// 0.9
    V0_9,
    /// 0.10
    V0_10,
}

impl Spec {
    /// All editions that are understood, oldest first.
    pub const ALL: [Self; 3] = [Self::V0_8, Self::V0_9, Self::V0_10];

    /// Reads what `starknet_specVersion` answers, such as `0.10.0` or `0.9.0-rc.2`; `None` for another
    /// edition and for what is no version.
    #[must_use]
    pub fn parse(version: &str) -> Option<Self> {
        let mut parts = version.trim().trim_start_matches('v').splitn(3, '.');
        let (major, minor) = (parts.next()?, parts.next()?);
        Self::ALL.into_iter().find(|spec| spec.number() == (major, minor))
    }

    /// Whether a block can be asked for by the tag `l1_accepted`.
    #[must_use]
    pub fn has_l1_accepted_tag(self) -> bool {
        self >= Self::V0_9
    }

    fn number(self) -> (&'static str, &'static str) {
        match self {
            Self::V0_8 => ("0", "8"),
            Self::V0_9 => ("0", "9"),
            Self::V0_10 => ("0", "10"),
        }
    }

    /// The editions that are understood, for messages.
    pub(super) fn known() -> String {
        Self::ALL.map(|spec| spec.to_string()).join(", ")
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.number();
        write!(f, "{major}.{minor}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_is_major_and_minor_number() {
        for (version, expected) in [
            ("0.8.1", Some(Spec::V0_8)),
            ("v0.9.0-rc.2", Some(Spec::V0_9)),
            ("0.10.0", Some(Spec::V0_10)),
            ("0.10", Some(Spec::V0_10)),
            ("0.7.1", None),
            ("0.1.0", None),
            ("0.100.0", None),
            ("1.8.0", None),
            ("", None),
            ("ten", None),
        ] {
            assert_eq!(Spec::parse(version), expected, "{version:?}");
        }
    }
}
