//! What a policy file says, once it is checked. A [`Policy`] knows the file that it is from, since a
//! snapshot names it by that file's hash.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::{Constraint, PolicyRef};
use obsqra_types::{Bps, Hash32, PolicyId, ProtocolId};

use crate::parse::{self, PolicyError};

/// A parsed and validated policy file. All presets are in one file, since what is adopted into the log
/// replaces the newest of its sort.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policies {
    pub(crate) version: String,
    pub(crate) hash: Hash32,
    pub(crate) policies: BTreeMap<PolicyId, Policy>,
}

impl Policies {
    /// Reads a policy file.
    ///
    /// # Errors
    /// When the bytes are not such a file, or a member is missing, malformed or contradicts another;
    /// the error names the member.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        parse::policies(bytes)
    }

    /// The name and version that the file gives itself, such as `obsqra/1`; it is adopted under these.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 of the file's bytes.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        self.hash
    }

    /// All policies, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values()
    }

    /// One policy.
    #[must_use]
    pub fn policy(&self, id: &PolicyId) -> Option<&Policy> {
        self.policies.get(id)
    }
}

/// The constraints of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The protocols that may take part; never empty.
    pub allow: BTreeSet<ProtocolId>,
    /// The greatest score that takes part, 5 to 95.
    pub max_score: u8,
    /// The greatest volatility that takes part, 0 to 10,000 bps.
    pub max_volatility: Bps,
    /// The least liquidity class that takes part, 0 to 3.
    pub min_liquidity_class: u8,
    /// The greatest share of any protocol, 1 to 10,000 bps.
    pub max_single: Bps,
    /// Greatest shares of single protocols, each below `max_single`.
    pub caps: BTreeMap<ProtocolId, Bps>,
    /// The least number of protocols with at least [`crate::COUNTED_SHARE`], 1 to 10.
    pub min_diversification: u8,
}

impl Limits {
    /// The greatest share of a protocol, as the constraint that sets it.
    #[must_use]
    pub fn cap(&self, protocol: &ProtocolId) -> Constraint {
        match self.caps.get(protocol) {
            Some(cap) => Constraint::ProtocolCap(*cap),
            None => Constraint::MaxSingle(self.max_single),
        }
    }

    /// The greatest share of a protocol.
    #[must_use]
    pub fn cap_bps(&self, protocol: &ProtocolId) -> Bps {
        self.caps.get(protocol).copied().unwrap_or(self.max_single)
    }
}

/// A policy and the file that it is from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    pub(crate) reference: PolicyRef,
    pub(crate) limits: Limits,
}

impl Policy {
    /// The policy's name.
    #[must_use]
    pub fn id(&self) -> &PolicyId {
        &self.reference.id
    }

    /// Name, file and rule, as snapshots state them.
    #[must_use]
    pub fn reference(&self) -> &PolicyRef {
        &self.reference
    }

    /// Its constraints.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
