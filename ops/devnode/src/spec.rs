//! Which JSON-RPC specification a node answers by, and how it spells what the specification leaves open.
//!
//! Headers of 0.10 carry counts and commitments, older ones do not; the tags `l1_accepted` and
//! `pre_confirmed` came with 0.9, before that there was `pending`. Leading zeros of a felt and the absent
//! token of a last page are open: nodes in the field do both. A style never changes what a block holds.

use serde::Deserialize;

/// A version of the Starknet JSON-RPC specification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Spec {
    /// 0.8: the tag `pending`, no `l1_accepted`, no counts and commitments.
    #[serde(rename = "0.8")]
    V0_8,
    /// 0.9: the tags `pre_confirmed` and `l1_accepted`, no counts and commitments.
    #[serde(rename = "0.9")]
    V0_9,
    /// 0.10: counts and commitments in the header, places of events in `starknet_getEvents`.
    #[default]
    #[serde(rename = "0.10")]
    V0_10,
}

/// A text that names no specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no specification served here: give 0.8, 0.9 or 0.10")]
pub struct UnknownSpec(String);

impl Spec {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::V0_8, Self::V0_9, Self::V0_10];

    /// What `starknet_specVersion` answers.
    pub fn version(self) -> &'static str {
        match self {
            Self::V0_8 => "0.8.1",
            Self::V0_9 => "0.9.0",
            Self::V0_10 => "0.10.0",
        }
    }
}

impl std::str::FromStr for Spec {
    type Err = UnknownSpec;

    fn from_str(text: &str) -> Result<Self, UnknownSpec> {
        match text {
            "0.8" => Ok(Self::V0_8),
            "0.9" => Ok(Self::V0_9),
            "0.10" => Ok(Self::V0_10),
            other => Err(UnknownSpec(other.to_owned())),
        }
    }
}

/// How a node writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) spec: Spec,
    pub(crate) felts: FeltSpelling,
    pub(crate) last_page: LastPage,
}

/// How a felt is spelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FeltSpelling {
    /// No leading zeros.
    #[default]
    Short,
    /// 64 digits.
    Padded,
}

/// What a last page says about the page after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LastPage {
    /// Nothing.
    #[default]
    NoToken,
    /// `"continuation_token": null`.
    NullToken,
}

/// Whether a header has the counts and commitments of 0.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commitments {
    Included,
    LeftOut,
}

/// The part of a style that a block's bytes depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyStyle {
    pub(crate) commitments: Commitments,
    pub(crate) felts: FeltSpelling,
}

impl BodyStyle {
    /// How many there are: so many bodies of a block may be kept.
    pub(crate) const COUNT: usize = 4;

    /// Its place among them.
    pub(crate) fn index(self) -> usize {
        usize::from(self.commitments == Commitments::Included) * 2
            + usize::from(self.felts == FeltSpelling::Padded)
    }
}

impl Style {
    /// How this style writes blocks.
    pub(crate) fn body(self) -> BodyStyle {
        let commitments = match self.spec {
            Spec::V0_8 | Spec::V0_9 => Commitments::LeftOut,
            Spec::V0_10 => Commitments::Included,
        };
        BodyStyle { commitments, felts: self.felts }
    }
}
