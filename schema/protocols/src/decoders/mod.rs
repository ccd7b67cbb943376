//! From felts to events, and from events to what they mean.
//!
//! A decoder is one file that states its layouts and what its events mean; the table of this module is all
//! that names it. Selectors are shared between protocols, so an event is read only after its contract is
//! found: the contract's role, the selector, the number of keys and the number of data felts pick the
//! layout. What fits none is kept and counted, and changes nothing.

mod activity;
mod change;
mod ekubo;
mod erc20;
mod jediswap_v1;
mod jediswap_v2;
mod layout;
mod meaning;
mod members;
mod mist_cash;
mod nostra_money_market;
mod nostra_pools;
mod obsqra;
mod schema;
mod table;
mod vesu_v1;
mod vesu_v2;
mod zklend;

use obsqra_events::EventData;
use obsqra_types::ProtocolId;
use serde_json::Value;

use crate::registry::PoolNames;
use crate::{Contracts, ProtocolKind, Role, WatchedContract};
use layout::event_layouts;
use meaning::EventMeaning;
use members::{Felts, Member, members_json, members_schema};

pub use activity::{Activity, ActivityKind, Transfer};
pub(crate) use change::{
    Change, MarketChange, MarketRef, MarketTokens, ReserveAmount, Statement, SwapFees,
};
pub use ekubo::{
    Bounds, Delta, EkuboEvent, PoolKey, PositionKey, SavedBalanceKey, SwapParameters,
    UpdatePositionParameters,
};
pub use erc20::Erc20Event;
pub use jediswap_v1::JediSwapV1Event;
pub use jediswap_v2::JediSwapV2Event;
pub use layout::Layout;
pub use members::{I32, I129, I256, I257, Opaque};
pub use mist_cash::MistCashEvent;
pub use nostra_money_market::NostraMoneyMarketEvent;
pub use nostra_pools::NostraPoolsEvent;
pub use obsqra::ObsqraEvent;
pub use schema::event_schema;
pub use vesu_v1::{AssetConfigV1, AssetPrice, VesuV1Event};
pub use vesu_v2::{AssetConfigV2, VesuV2Event};
pub use zklend::ZkLendEvent;

table::decoder_table! {
    /// zkLend's market and zTokens.
    ZkLend(ZkLendEvent), "zklend", Lending, [Market, ZToken];
    /// Ekubo's core.
    Ekubo(EkuboEvent), "ekubo", Amm, [Core];
    /// JediSwap v1's factory and pairs.
    JediSwapV1(JediSwapV1Event), "jediswap_v1", Amm, [Factory, Pair];
    /// JediSwap v2's factory and pools.
    JediSwapV2(JediSwapV2Event), "jediswap_v2", Amm, [PoolFactory, Pool];
    /// Nostra's interest rate model and tokens.
    NostraMoneyMarket(NostraMoneyMarketEvent), "nostra_money_market", Lending, [
        InterestRateModel, InterestToken, InterestCollateralToken, PlainToken,
        PlainCollateralToken, DebtToken,
    ];
    /// Nostra's pairs.
    NostraPools(NostraPoolsEvent), "nostra_pools", Amm, [Pair];
    /// Vesu v1's singleton.
    VesuV1(VesuV1Event), "vesu_v1", Lending, [Singleton];
    /// Vesu v2's factory and pools.
    VesuV2(VesuV2Event), "vesu_v2", Lending, [PoolFactory, Pool];
    /// ERC-20 tokens.
    Erc20(Erc20Event), "erc20", Token, [Token];
    /// MIST.cash's chamber.
    MistCash(MistCashEvent), "mist_cash", Privacy, [Chamber];
    /// Obsqra's own contracts.
    Obsqra(ObsqraEvent), "obsqra", Governance, [
        RiskEngine, StrategyRouter, DaoConstraintManager, ModelRegistry, AgentOrchestrator,
    ];
}

/// What a watched event is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// The protocol that owns the contract.
    pub protocol: ProtocolId,
    /// The event's name; `None` when it fits no layout.
    pub name: Option<&'static str>,
    /// The event; present when the name is.
    pub event: Option<ProtocolEvent>,
}

/// The layouts that a decoder reads, by event.
pub fn layouts(decoder: Decoder) -> impl Iterator<Item = &'static Layout> {
    decoder.layouts().iter().copied().flatten()
}

/// Decodes an event of a known contract; `None` when the contract is not known.
#[must_use]
pub fn decode(contracts: &Contracts, event: &EventData) -> Option<Decoded> {
    let contract = contracts.get(&event.from_address)?;
    let decoded = decode_from(contract, event);
    Some(Decoded {
        protocol: contract.protocol.clone(),
        name: decoded.as_ref().map(ProtocolEvent::name),
        event: decoded,
    })
}

/// Decodes an event of that contract; `None` when it fits no layout.
#[must_use]
pub fn decode_from(contract: &WatchedContract, event: &EventData) -> Option<ProtocolEvent> {
    let (selector, keys) = event.keys.split_first()?;
    let layout = layouts(contract.decoder).find(|layout| {
        layout.selector == *selector
            && layout.keys_len == event.keys.len()
            && layout.data_len == event.data.len()
            && contract.decoder.emits(contract.role, layout.name)
    })?;
    contract.decoder.read(layout.name, &mut Felts::new(keys, &event.data))
}
