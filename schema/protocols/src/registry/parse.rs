//! From a registry file's bytes to a [`Registry`]: shape by serde, meaning checked here.
//!
//! Every refusal names the member, so that whoever edits a file finds the line.

use std::collections::BTreeMap;

use obsqra_types::{ChainId, ContractAddress, Hash32, ProtocolId, UnixSeconds, parse_felt};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    AuditReport, AuditState, CalendarDate, Deployment, ListedPool, ProtocolEntry, ProtocolKind,
    Registry, Token, TokenPair, WatchedContract,
};
use crate::Decoder;

/// Prices and values have fixed scales, which take a quote token of this many decimals.
const QUOTE_DECIMALS: u8 = 6;
/// Keeps every product of an amount and a price inside the fold's widest integer.
const MAX_DECIMALS: u8 = 36;

/// A file is no registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Not JSON, or a member is missing, unknown or of another type.
    #[error("registry: {0}")]
    Shape(#[source] serde_json::Error),
    /// A member's value is not allowed.
    #[error("registry: {member}: {problem}")]
    Member {
        /// The member, such as `protocols[0].contracts[3].token0`.
        member: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegistry {
    registry: String,
    version: u64,
    chain_ids: Vec<String>,
    quote_token: String,
    tokens: Vec<RawToken>,
    protocols: Vec<RawProtocol>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    address: String,
    symbol: String,
    decimals: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProtocol {
    id: String,
    name: String,
    kind: String,
    decoder: String,
    contracts: Vec<RawContract>,
    markets: Option<Vec<RawMarket>>,
    deployed_at: Option<RawDeployment>,
    audits: RawAudits,
    sources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContract {
    address: String,
    role: String,
    token0: Option<String>,
    token1: Option<String>,
    asset: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMarket {
    id: String,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDeployment {
    timestamp: u64,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "state", rename_all = "snake_case")]
enum RawAudits {
    Reports { reports: Vec<RawReport> },
    Unaudited { date: String, source: String },
    Unknown { detail: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReport {
    firm: String,
    title: String,
    date: Option<String>,
    source: String,
}

type Checked<T> = Result<T, RegistryError>;

fn refuse<T>(member: impl Into<String>, problem: impl Into<String>) -> Checked<T> {
    Err(RegistryError::Member { member: member.into(), problem: problem.into() })
}

pub(super) fn registry(bytes: &[u8]) -> Checked<Registry> {
    let raw: RawRegistry = serde_json::from_slice(bytes).map_err(RegistryError::Shape)?;
    let name = text("registry", raw.registry)?;
    let tokens = tokens(raw.tokens)?;
    let quote_address = address("quote_token", &raw.quote_token)?;
    let quote = match tokens.get(&quote_address) {
        None => return refuse("quote_token", "is not among the tokens"),
        Some(token) if token.decimals != QUOTE_DECIMALS => {
            return refuse("quote_token", format!("has not {QUOTE_DECIMALS} decimals"));
        }
        Some(token) => token.clone(),
    };
    let mut registry = Registry {
        name,
        version: raw.version,
        hash: Hash32(Sha256::digest(bytes).into()),
        chain_ids: chain_ids(&raw.chain_ids)?,
        quote,
        tokens,
        protocols: BTreeMap::new(),
        contracts: BTreeMap::new(),
    };
    for (index, raw) in raw.protocols.into_iter().enumerate() {
        add_protocol(&mut registry, &format!("protocols[{index}]"), raw)?;
    }
    Ok(registry)
}

fn text(member: &str, value: String) -> Checked<String> {
    if value.trim().is_empty() { refuse(member, "is empty") } else { Ok(value) }
}

fn address(member: &str, value: &str) -> Checked<ContractAddress> {
    match parse_felt(value) {
        Some(felt) => Ok(ContractAddress(felt)),
        None => refuse(member, format!("`{value}` is no address")),
    }
}

fn date(member: &str, value: &str) -> Checked<CalendarDate> {
    match CalendarDate::parse(value) {
        Some(date) => Ok(date),
        None => refuse(member, format!("`{value}` is no day written as YYYY-MM-DD")),
    }
}

fn chain_ids(raw: &[String]) -> Checked<Vec<ChainId>> {
    if raw.is_empty() {
        return refuse("chain_ids", "is empty");
    }
    let parse = |(index, id): (usize, &String)| {
        ChainId::new(id.as_str())
            .or_else(|error| refuse(format!("chain_ids[{index}]"), error.to_string()))
    };
    raw.iter().enumerate().map(parse).collect()
}

fn tokens(raw: Vec<RawToken>) -> Checked<BTreeMap<ContractAddress, Token>> {
    let mut tokens = BTreeMap::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let member = format!("tokens[{index}]");
        let address = address(&format!("{member}.address"), &raw.address)?;
        let symbol = text(&format!("{member}.symbol"), raw.symbol)?;
        if raw.decimals > MAX_DECIMALS {
            return refuse(format!("{member}.decimals"), format!("is above {MAX_DECIMALS}"));
        }
        let token = Token { address, symbol, decimals: raw.decimals };
        if tokens.insert(address, token).is_some() {
            return refuse(format!("{member}.address"), "stands twice");
        }
    }
    Ok(tokens)
}

fn add_protocol(registry: &mut Registry, member: &str, raw: RawProtocol) -> Checked<()> {
    let id = ProtocolId::new(raw.id)
        .or_else(|error| refuse(format!("{member}.id"), error.to_string()))?;
    let Some(kind) = ProtocolKind::ALL.into_iter().find(|kind| kind.name() == raw.kind) else {
        return refuse(format!("{member}.kind"), format!("there is no kind `{}`", raw.kind));
    };
    let Some(decoder) = Decoder::ALL.iter().copied().find(|decoder| decoder.name() == raw.decoder)
    else {
        return refuse(
            format!("{member}.decoder"),
            format!("there is no decoder `{}`", raw.decoder),
        );
    };
    if decoder.kind() != kind {
        return refuse(format!("{member}.kind"), "is not the kind that its decoder reads");
    }
    if raw.contracts.is_empty() {
        return refuse(format!("{member}.contracts"), "is empty");
    }
    for (index, contract) in raw.contracts.iter().enumerate() {
        let member = format!("{member}.contracts[{index}]");
        let contract = watched_contract(&member, contract, &id, decoder)?;
        if registry.contracts.insert(contract.address, contract).is_some() {
            return refuse(format!("{member}.address"), "stands twice");
        }
    }
    let entry = ProtocolEntry {
        name: text(&format!("{member}.name"), raw.name)?,
        kind,
        decoder,
        deployed_at: deployment(member, raw.deployed_at)?,
        audits: audits(&format!("{member}.audits"), raw.audits)?,
        markets: markets(registry, &format!("{member}.markets"), raw.markets, (&id, decoder))?,
        sources: raw.sources,
        id: id.clone(),
    };
    match registry.protocols.insert(id, entry) {
        None => Ok(()),
        Some(_) => refuse(format!("{member}.id"), "stands twice"),
    }
}

fn watched_contract(
    member: &str,
    raw: &RawContract,
    protocol: &ProtocolId,
    decoder: Decoder,
) -> Checked<WatchedContract> {
    let Some(role) = decoder.roles().iter().copied().find(|role| role.name() == raw.role) else {
        let problem = format!("decoder `{}` knows no role `{}`", decoder.name(), raw.role);
        return refuse(format!("{member}.role"), problem);
    };
    Ok(WatchedContract {
        address: address(&format!("{member}.address"), &raw.address)?,
        protocol: protocol.clone(),
        decoder,
        role,
        pair: token_pair(member, raw, decoder.is_pool(role))?,
        asset: asset(member, raw, decoder.has_asset(role))?,
    })
}

fn token_pair(member: &str, raw: &RawContract, is_pool: bool) -> Checked<Option<TokenPair>> {
    match (is_pool, &raw.token0, &raw.token1) {
        (true, Some(token0), Some(token1)) => {
            let token0 = address(&format!("{member}.token0"), token0)?;
            let token1 = address(&format!("{member}.token1"), token1)?;
            let pair = TokenPair { token0, token1 };
            if !pair.is_ordered() {
                return refuse(format!("{member}.token0"), "is not below token1");
            }
            Ok(Some(pair))
        }
        (true, None, _) => refuse(format!("{member}.token0"), "is missing"),
        (true, _, None) => refuse(format!("{member}.token1"), "is missing"),
        (false, None, None) => Ok(None),
        (false, Some(_), _) => {
            refuse(format!("{member}.token0"), "belongs to pools of two tokens alone")
        }
        (false, _, Some(_)) => {
            refuse(format!("{member}.token1"), "belongs to pools of two tokens alone")
        }
    }
}

/// Optional, since a share token may be listed before its asset is known.
fn asset(member: &str, raw: &RawContract, has_asset: bool) -> Checked<Option<ContractAddress>> {
    match &raw.asset {
        None => Ok(None),
        Some(asset) if has_asset => address(&format!("{member}.asset"), asset).map(Some),
        Some(_) => refuse(format!("{member}.asset"), "belongs to tokens over an asset alone"),
    }
}

/// The pools that a protocol lists, after its contracts.
fn markets(
    registry: &Registry,
    member: &str,
    raw: Option<Vec<RawMarket>>,
    (protocol, decoder): (&ProtocolId, Decoder),
) -> Checked<BTreeMap<ListedPool, String>> {
    let mut listed = BTreeMap::new();
    let Some(raw) = raw else {
        return Ok(listed);
    };
    let Some(names) = decoder.pool_names() else {
        return refuse(member, "belongs to protocols whose contracts hold many pools alone");
    };
    for (index, raw) in raw.into_iter().enumerate() {
        let member = format!("{member}[{index}]");
        let Some(pool) = ListedPool::parse(names, &raw.id) else {
            return refuse(format!("{member}.id"), format!("`{}` is no pool's id", raw.id));
        };
        if let ListedPool::Number { contract, .. } = pool
            && registry.contract(&contract).is_none_or(|found| found.protocol != *protocol)
        {
            return refuse(format!("{member}.id"), "names no contract of the protocol");
        }
        let source = text(&format!("{member}.source"), raw.source)?;
        if listed.insert(pool, source).is_some() {
            return refuse(format!("{member}.id"), "stands twice");
        }
    }
    Ok(listed)
}

fn deployment(member: &str, raw: Option<RawDeployment>) -> Checked<Option<Deployment>> {
    raw.map(|raw| {
        let source = text(&format!("{member}.deployed_at.source"), raw.source)?;
        Ok(Deployment { timestamp: UnixSeconds(raw.timestamp), source })
    })
    .transpose()
}

fn audits(member: &str, raw: RawAudits) -> Checked<AuditState> {
    match raw {
        RawAudits::Reports { reports } if reports.is_empty() => {
            refuse(format!("{member}.reports"), "is empty; say `unknown` or `unaudited`")
        }
        RawAudits::Reports { reports } => {
            let reports: Checked<Vec<AuditReport>> = reports
                .into_iter()
                .enumerate()
                .map(|(index, raw)| report(&format!("{member}.reports[{index}]"), raw))
                .collect();
            reports.map(AuditState::Reports)
        }
        RawAudits::Unaudited { date: day, source } => Ok(AuditState::Unaudited {
            date: date(&format!("{member}.date"), &day)?,
            source: text(&format!("{member}.source"), source)?,
        }),
        RawAudits::Unknown { detail } => {
            Ok(AuditState::Unknown { detail: text(&format!("{member}.detail"), detail)? })
        }
    }
}

fn report(member: &str, raw: RawReport) -> Checked<AuditReport> {
    Ok(AuditReport {
        firm: text(&format!("{member}.firm"), raw.firm)?,
        title: text(&format!("{member}.title"), raw.title)?,
        date: raw.date.map(|day| date(&format!("{member}.date"), &day)).transpose()?,
        source: text(&format!("{member}.source"), raw.source)?,
    })
}
