//! The test registry with more protocols beside its own, and events of those: `0xc0` the factory of
//! JediSwap v2, `0xc1` a pool of USDC and ETH, `0xc2` one that the registry does not list; `0xd0` and `0xd1` the
//! singletons of Vesu v1; `0xd8` the factory of Vesu v2 and `0xd9` a pool of it; `0xe0` the rate model of Nostra, `0xe1` a debt in ETH, `0xe2` a supply
//! of ETH.

use std::sync::Arc;

use obsqra_protocols::{MetricFold, Registry};
use obsqra_types::{Felt, Seq};
use serde_json::{Value, json};

use super::pool::signed;
use super::roles::registry_of;
use super::{Chain, ETH, Event, REGISTRY, Scene, USDC, event};

pub(crate) const POOL_FACTORY: u128 = 0xc0;
pub(crate) const POOL: u128 = 0xc1;
pub(crate) const CHILD_POOL: u128 = 0xc2;
pub(crate) const SINGLETONS: [u128; 2] = [0xd0, 0xd1];
pub(crate) const VESU_FACTORY: u128 = 0xd8;
pub(crate) const RATE_MODEL: u128 = 0xe0;
pub(crate) const DEBT_TOKEN: u128 = 0xe1;
pub(crate) const SUPPLY_TOKEN: u128 = 0xe2;
pub(crate) const VESU_POOL: u128 = 0xd9;

fn protocol(id: &str, kind: &str, contracts: &Value) -> Value {
    json!({
        "id": id, "name": id, "kind": kind, "decoder": id, "contracts": contracts,
        "audits": {"state": "unknown", "detail": "none"}, "sources": [],
    })
}

pub(crate) fn wide_registry() -> Arc<Registry> {
    let file: Value = serde_json::from_str(REGISTRY).unwrap();
    let mut protocols = file["protocols"].as_array().unwrap().clone();
    let pool = json!({"address": "0xc1", "role": "pool", "token0": "0x10", "token1": "0x11"});
    let contracts = json!([{"address": "0xc0", "role": "pool_factory"}, pool]);
    protocols.push(protocol("jediswap_v2", "amm", &contracts));
    let singletons = ["0xd0", "0xd1"].map(|at| json!({"address": at, "role": "singleton"}));
    let mut vesu = protocol("vesu_v1", "lending", &json!(singletons));
    let listed =
        ["0xd0/0x7", "0xd1/0x7", "0xd0/0x1"].map(|id| json!({"id": id, "source": "a list"}));
    vesu["markets"] = json!(listed);
    protocols.push(vesu);
    let pool = json!({"address": "0xd9", "role": "pool"});
    let contracts = json!([{"address": "0xd8", "role": "pool_factory"}, pool]);
    protocols.push(protocol("vesu_v2", "lending", &contracts));
    let contracts = json!([
        {"address": "0xe0", "role": "interest_rate_model"},
        {"address": "0xe1", "role": "debt_token", "asset": "0x11"},
        {"address": "0xe2", "role": "interest_token", "asset": "0x11"},
    ]);
    protocols.push(protocol("nostra_money_market", "lending", &contracts));
    registry_of(&Value::Array(protocols))
}

pub(crate) fn wide_scene() -> Scene {
    Scene { chain: Chain::default(), fold: MetricFold::new(wide_registry(), Seq(1)) }
}

/// 256 bits in two limbs.
fn wide(amount: u128) -> [u128; 2] {
    [amount, 0]
}

/// 256 bits and a sign.
fn wide_signed(amount: i128) -> [u128; 3] {
    [amount.unsigned_abs(), 0, u128::from(amount < 0)]
}

pub(crate) fn created(pool: u128, fee: u128) -> Event {
    event(POOL_FACTORY, "PoolCreated", [USDC, ETH, fee, 60, pool])
}

/// A square root of a price in units of 2⁻⁹⁶, as `whole · 2⁹⁶`.
fn ratio(whole: u128) -> [u128; 2] {
    [whole << 96, whole >> 32]
}

pub(crate) fn started(pool: u128, ratio_whole: u128, tick: i128) -> Event {
    event(pool, "Initialize", ratio(ratio_whole).into_iter().chain(signed(tick)))
}

pub(crate) fn minted(
    pool: u128,
    bounds: (i128, i128),
    liquidity: u128,
    amounts: (u128, u128),
) -> Event {
    let data = [0x77, 0x78].into_iter().chain(signed(bounds.0)).chain(signed(bounds.1));
    let amounts = wide(amounts.0).into_iter().chain(wide(amounts.1));
    event(pool, "Mint", data.chain([liquidity]).chain(amounts))
}

pub(crate) fn burnt(
    pool: u128,
    bounds: (i128, i128),
    liquidity: u128,
    amounts: (u128, u128),
) -> Event {
    let data = [0x78].into_iter().chain(signed(bounds.0)).chain(signed(bounds.1));
    let amounts = wide(amounts.0).into_iter().chain(wide(amounts.1));
    event(pool, "Burn", data.chain([liquidity]).chain(amounts))
}

pub(crate) fn collected(pool: u128, amounts: (u128, u128)) -> Event {
    event(pool, "Collect", [0x78, 0x78, 0, 0, 0, 0, amounts.0, amounts.1])
}

pub(crate) fn protocol_collected(pool: u128, amounts: (u128, u128)) -> Event {
    event(pool, "CollectProtocol", [0x78, 0x78, amounts.0, amounts.1])
}

pub(crate) struct PoolSwap {
    pub(crate) delta: (i128, i128),
    pub(crate) ratio_whole: u128,
    pub(crate) tick: i128,
    pub(crate) liquidity: u128,
}

pub(crate) fn pool_swap(pool: u128, swap: &PoolSwap) -> Event {
    let deltas = wide_signed(swap.delta.0).into_iter().chain(wide_signed(swap.delta.1));
    let data = [0x77, 0x78].into_iter().chain(deltas).chain(ratio(swap.ratio_whole));
    event(pool, "Swap", data.chain([swap.liquidity]).chain(signed(swap.tick)))
}

/// What Vesu states of an asset; amounts as the event has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) asset: u128,
    pub(crate) shares: u128,
    /// Of version 2.
    pub(crate) fee_shares: u128,
    pub(crate) nominal_debt: u128,
    pub(crate) reserve: u128,
    pub(crate) scale: u128,
    pub(crate) at: u64,
    pub(crate) accumulator: u128,
    pub(crate) fee_rate: u128,
    /// `None` where the oracle does not vouch for it.
    pub(crate) price: Option<u128>,
}

impl Config {
    fn felts(&self) -> impl Iterator<Item = u128> {
        let amounts = [self.shares, self.nominal_debt, self.reserve, 2, 3, self.scale].into_iter();
        let rates = [self.accumulator, 4, self.fee_rate].into_iter();
        amounts.flat_map(wide).chain([0, u128::from(self.at)]).chain(rates.flat_map(wide))
    }

    fn price(&self) -> [u128; 3] {
        [self.price.unwrap_or(9), 0, u128::from(self.price.is_some())]
    }
}

fn keyed(keys: &[u128], event: Event) -> Event {
    Event { keys: keys.iter().copied().map(Felt::from).collect(), ..event }
}

/// Of version 1, by singleton and pool.
pub(crate) fn context_v1(singleton: u128, pool: u128, sides: [Config; 2]) -> Event {
    let configs = sides.into_iter().flat_map(|side| side.felts().collect::<Vec<_>>());
    let data = configs.chain(sides.into_iter().flat_map(|side| side.price()));
    let [collateral, debt] = sides;
    keyed(&[pool, collateral.asset, debt.asset], event(singleton, "UpdateContext", data))
}

/// Of version 2, by the pool's contract.
pub(crate) fn context_v2(pool: u128, sides: [Config; 2]) -> Event {
    let configs = sides
        .into_iter()
        .flat_map(|side| side.felts().chain(wide(side.fee_shares)).collect::<Vec<_>>());
    let data = configs.chain(sides.into_iter().flat_map(|side| side.price()));
    let [collateral, debt] = sides;
    keyed(&[collateral.asset, debt.asset], event(pool, "UpdateContext", data))
}

pub(crate) fn asset_added(pool: u128, asset: u128) -> Event {
    keyed(&[pool, asset], event(VESU_FACTORY, "AddAsset", []))
}

/// A position's four deltas: what is not its shares follows their sign.
fn deltas(shares: i128, debt: i128) -> Vec<u128> {
    [shares.signum(), shares, debt, debt].into_iter().flat_map(wide_signed).collect()
}

/// Of version 1: a user's shares of the collateral in a position without debt.
pub(crate) fn modified_v1(singleton: u128, pool: u128, of: (u128, u128), shares: i128) -> Event {
    let (asset, user) = of;
    keyed(&[pool, asset, 0, user], event(singleton, "ModifyPosition", deltas(shares, 0)))
}

/// Of version 1: by `0x79`, with as much debt.
pub(crate) fn liquidated_v1(
    singleton: u128,
    pool: u128,
    of: (u128, u128),
    (shares, debt): (i128, i128),
) -> Event {
    let (asset, user) = of;
    let data = deltas(shares, debt).into_iter().chain([0, 0]);
    keyed(&[pool, asset, 1, user, 0x79], event(singleton, "LiquidatePosition", data))
}

pub(crate) fn fees_accrued(singleton: u128, pool: u128, of: (u128, u128), shares: u128) -> Event {
    let (asset, recipient) = of;
    keyed(&[pool, asset, recipient], event(singleton, "AccrueFees", wide(shares)))
}

pub(crate) fn pool_created(singleton: u128, pool: u128) -> Event {
    keyed(&[pool, 0x77, 0x78], event(singleton, "CreatePool", []))
}

/// From one account to another; shares are `None` where the event has no amounts.
pub(crate) fn transferred(
    singleton: u128,
    pool: u128,
    (asset, from, to): (u128, u128, u128),
    shares: Option<i128>,
) -> Event {
    let data = shares.map_or_else(Vec::new, |shares| deltas(shares, 0));
    keyed(&[pool, asset, 0, asset, 1, from, to], event(singleton, "TransferPosition", data))
}

pub(crate) fn migrated(singleton: u128, pool: u128, of: (u128, u128), shares: u128) -> Event {
    let (asset, to) = of;
    let data = wide(shares).into_iter().chain(wide(0));
    keyed(&[pool, asset, 0, 0x70, to], event(singleton, "MigratePosition", data))
}

/// Of version 2.
pub(crate) fn modified_v2(pool: u128, (asset, user): (u128, u128), shares: i128) -> Event {
    keyed(&[asset, 0, user], event(pool, "ModifyPosition", deltas(shares, 0)))
}

/// Of Nostra: rates and indices of lending and borrowing, 18 decimals.
pub(crate) fn interest(debt_token: u128, rates: [u128; 2], indices: [u128; 2]) -> Event {
    let data = rates.into_iter().chain(indices).flat_map(wide);
    event(RATE_MODEL, "InterestStateUpdated", [debt_token].into_iter().chain(data))
}
