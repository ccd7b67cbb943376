//! Which contracts are watched, what protocols they belong to, and what is known of those from
//! outside the chain: tokens, deployment, audits.
//!
//! A [`Registry`] is made from the bytes of a registry file alone and holds their digest, since those
//! bytes are adopted into the log and shape every number after them. What a file leaves out is
//! unknown, never assumed.

mod date;
mod listed;
mod mainnet;
mod parse;
mod role;

use std::collections::BTreeMap;

use obsqra_types::{ChainId, ContractAddress, Hash32, ProtocolId, UnixSeconds};

pub use date::CalendarDate;
pub use listed::ListedPool;
pub(crate) use listed::PoolNames;
pub use mainnet::mainnet_registry;
pub use parse::RegistryError;
pub use role::Role;

use crate::Decoder;

/// A parsed and validated registry file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registry {
    name: String,
    version: u64,
    hash: Hash32,
    chain_ids: Vec<ChainId>,
    quote: Token,
    tokens: BTreeMap<ContractAddress, Token>,
    protocols: BTreeMap<ProtocolId, ProtocolEntry>,
    contracts: BTreeMap<ContractAddress, WatchedContract>,
}

/// A token whose decimals are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Contract.
    pub address: ContractAddress,
    /// Symbol; two tokens may share one.
    pub symbol: String,
    /// Decimal places of a whole token, at most 36.
    pub decimals: u8,
}

/// What kind of protocol it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProtocolKind {
    /// Reserves that are lent out.
    Lending,
    /// Pools that swap.
    Amm,
    /// Tokens, followed for their transfers.
    Token,
    /// Pools that hide who deposited what.
    Privacy,
    /// Contracts that decide or record allocations.
    Governance,
}

impl ProtocolKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Lending, Self::Amm, Self::Token, Self::Privacy, Self::Governance];

    /// The name that registry files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lending => "lending",
            Self::Amm => "amm",
            Self::Token => "token",
            Self::Privacy => "privacy",
            Self::Governance => "governance",
        }
    }

    /// Whether such a protocol makes markets. One that makes none has no inputs of a risk score, and so
    /// never a score.
    #[must_use]
    pub fn has_markets(self) -> bool {
        match self {
            Self::Lending | Self::Amm => true,
            Self::Token | Self::Privacy | Self::Governance => false,
        }
    }
}

/// The two tokens of a pool, as the pool orders them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TokenPair {
    /// First token.
    pub token0: ContractAddress,
    /// Second token.
    pub token1: ContractAddress,
}

/// A contract whose events are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchedContract {
    /// Address.
    pub address: ContractAddress,
    /// The protocol it belongs to.
    pub protocol: ProtocolId,
    /// The decoder of that protocol.
    pub decoder: Decoder,
    /// Its role there.
    pub role: Role,
    /// For a contract that is one pool of two tokens, and for no other: its tokens.
    pub pair: Option<TokenPair>,
    /// For a token over an asset, such as a share or a debt: the asset, where it is known. The debt token
    /// and the tokens of supply of one lending reserve have the same.
    pub asset: Option<ContractAddress>,
}

/// A protocol and what is known of it from outside the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProtocolEntry {
    /// Key.
    pub id: ProtocolId,
    /// Name for people.
    pub name: String,
    /// What kind of protocol it is.
    pub kind: ProtocolKind,
    /// Decoder of its events.
    pub decoder: Decoder,
    /// When it went live, where a source says so.
    pub deployed_at: Option<Deployment>,
    /// What is known of its audits.
    pub audits: AuditState,
    /// Of contracts that hold many pools: the pools that count, and who says so of each.
    pub markets: BTreeMap<ListedPool, String>,
    /// Where layouts and addresses come from.
    pub sources: Vec<String>,
}

/// When a protocol went live, and who says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deployment {
    /// The instant.
    pub timestamp: UnixSeconds,
    /// Source.
    pub source: String,
}

/// What is known of a protocol's audits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuditState {
    /// Published reports; at least one.
    Reports(Vec<AuditReport>),
    /// A source of that date says that there is none.
    Unaudited {
        /// Date of the source.
        date: CalendarDate,
        /// Source.
        source: String,
    },
    /// Nothing that could be scored.
    Unknown {
        /// What was looked for.
        detail: String,
    },
}

/// A published audit report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditReport {
    /// Who wrote it.
    pub firm: String,
    /// What it covers.
    pub title: String,
    /// Its date, where one is known.
    pub date: Option<CalendarDate>,
    /// Where it is listed or published.
    pub source: String,
}

impl Registry {
    /// Reads a registry file.
    ///
    /// # Errors
    /// When the bytes are not such a file, or a member is missing, malformed or contradicts another;
    /// the error names the member.
    pub fn parse(bytes: &[u8]) -> Result<Self, RegistryError> {
        parse::registry(bytes)
    }

    /// The name it gives itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version it gives itself.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of the file's bytes.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        self.hash
    }

    /// The chains it describes.
    #[must_use]
    pub fn chain_ids(&self) -> &[ChainId] {
        &self.chain_ids
    }

    /// The token that prices are counted in; it has 6 decimals.
    #[must_use]
    pub fn quote_token(&self) -> &Token {
        &self.quote
    }

    /// A listed token.
    #[must_use]
    pub fn token(&self, address: &ContractAddress) -> Option<&Token> {
        self.tokens.get(address)
    }

    /// All protocols, by id.
    pub fn protocols(&self) -> impl Iterator<Item = &ProtocolEntry> {
        self.protocols.values()
    }

    /// One protocol.
    #[must_use]
    pub fn protocol(&self, id: &ProtocolId) -> Option<&ProtocolEntry> {
        self.protocols.get(id)
    }

    /// A watched contract.
    #[must_use]
    pub fn contract(&self, address: &ContractAddress) -> Option<&WatchedContract> {
        self.contracts.get(address)
    }

    /// The contracts that announce others of their protocol, by address.
    pub fn factories(&self) -> impl Iterator<Item = &WatchedContract> {
        self.contracts.values().filter(|contract| contract.decoder.is_factory(contract.role))
    }

    /// All watched contracts, by address.
    pub fn watched(&self) -> impl Iterator<Item = ContractAddress> {
        self.contracts.keys().copied()
    }

    /// A token's symbol, or its address where it is not listed.
    #[must_use]
    pub fn symbol_or_address(&self, token: &ContractAddress) -> String {
        self.token(token).map_or_else(|| token.to_string(), |token| token.symbol.clone())
    }
}
