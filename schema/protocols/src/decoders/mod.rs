//! From felts to events, and from events to what they change.
//!
//! A decoder is one file that states its layouts and its changes; the matches of this module are all
//! that names it. A contract's role, the selector, the number of keys and the number of data felts pick
//! the layout. What fits none is kept and counted, and changes nothing.

mod change;
mod ekubo;
mod jediswap_v1;
mod layout;
mod members;
mod zklend;

use obsqra_events::EventData;
use obsqra_types::ProtocolId;
use serde_json::Value;

use crate::{Decoder, ProtocolKind, Registry, Role, WatchedContract};

pub(crate) use change::{Change, MarketChange, MarketRef, MarketTokens, ReserveAmount};
pub use ekubo::{
    Bounds, Delta, EkuboEvent, PoolKey, PositionKey, SavedBalanceKey, SwapParameters,
    UpdatePositionParameters,
};
pub use jediswap_v1::JediSwapV1Event;
pub use layout::Layout;
pub use members::{I129, Opaque};
pub use zklend::ZkLendEvent;

/// A decoded event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProtocolEvent {
    /// Of zkLend.
    ZkLend(ZkLendEvent),
    /// Of Ekubo.
    Ekubo(EkuboEvent),
    /// Of JediSwap v1.
    JediSwapV1(JediSwapV1Event),
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

impl Decoder {
    /// Every decoder.
    pub const ALL: [Self; 3] = [Self::ZkLend, Self::Ekubo, Self::JediSwapV1];

    /// The name that registry files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ZkLend => "zklend",
            Self::Ekubo => "ekubo",
            Self::JediSwapV1 => "jediswap_v1",
        }
    }

    /// The kind of market it reads.
    #[must_use]
    pub fn kind(self) -> ProtocolKind {
        match self {
            Self::ZkLend => ProtocolKind::Lending,
            Self::Ekubo | Self::JediSwapV1 => ProtocolKind::Amm,
        }
    }

    /// The roles that its contracts may have.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::ZkLend => &[Role::Market, Role::ZToken],
            Self::Ekubo => &[Role::Core],
            Self::JediSwapV1 => &[Role::Factory, Role::Pair],
        }
    }

    fn emits(self, role: Role, name: &str) -> bool {
        match self {
            Self::ZkLend => zklend::emits(role, name),
            Self::Ekubo => true,
            Self::JediSwapV1 => jediswap_v1::emits(role, name),
        }
    }

    fn read(self, name: &str, data: &[obsqra_types::Felt]) -> Option<ProtocolEvent> {
        match self {
            Self::ZkLend => ZkLendEvent::read(name, data).map(ProtocolEvent::ZkLend),
            Self::Ekubo => EkuboEvent::read(name, data).map(ProtocolEvent::Ekubo),
            Self::JediSwapV1 => JediSwapV1Event::read(name, data).map(ProtocolEvent::JediSwapV1),
        }
    }
}

impl Role {
    /// The name that registry files use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::ZToken => "z_token",
            Self::Core => "core",
            Self::Factory => "factory",
            Self::Pair => "pair",
        }
    }
}

impl ProtocolEvent {
    /// The event's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ZkLend(event) => event.name(),
            Self::Ekubo(event) => event.name(),
            Self::JediSwapV1(event) => event.name(),
        }
    }

    /// The members under their names in the contract's source: amounts as decimal strings, addresses
    /// and opaque felts as hex.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::ZkLend(event) => event.to_json(),
            Self::Ekubo(event) => event.to_json(),
            Self::JediSwapV1(event) => event.to_json(),
        }
    }

    /// What the event changes, in order.
    pub(crate) fn changes(
        &self,
        registry: &Registry,
        emitter: &WatchedContract,
    ) -> Vec<MarketChange> {
        match self {
            Self::ZkLend(event) => zklend::changes(emitter, event),
            Self::Ekubo(event) => ekubo::changes(event),
            Self::JediSwapV1(event) => jediswap_v1::changes(registry, emitter, event),
        }
    }
}

/// The layouts that a decoder reads.
#[must_use]
pub fn layouts(decoder: Decoder) -> &'static [Layout] {
    match decoder {
        Decoder::ZkLend => ZkLendEvent::LAYOUTS,
        Decoder::Ekubo => EkuboEvent::LAYOUTS,
        Decoder::JediSwapV1 => JediSwapV1Event::LAYOUTS,
    }
}

/// Decodes an event of a watched contract; `None` when the registry does not list the contract.
#[must_use]
pub fn decode(registry: &Registry, event: &EventData) -> Option<Decoded> {
    let contract = registry.contract(&event.from_address)?;
    let decoded = decode_from(contract, event);
    Some(Decoded {
        protocol: contract.protocol.clone(),
        name: decoded.as_ref().map(ProtocolEvent::name),
        event: decoded,
    })
}

/// Decodes an event of that contract; `None` when it fits no layout.
pub(crate) fn decode_from(contract: &WatchedContract, event: &EventData) -> Option<ProtocolEvent> {
    let selector = event.keys.first()?;
    let layout = layouts(contract.decoder).iter().find(|layout| {
        layout.selector == *selector
            && layout.keys_len == event.keys.len()
            && layout.data_len == event.data.len()
            && contract.decoder.emits(contract.role, layout.name)
    })?;
    contract.decoder.read(layout.name, &event.data)
}
