//! A pool of Vesu v2: two assets, each lent against the other.
//!
//! Every action first lets interest accrue on both assets, then moves tokens and shares, and then states both
//! assets in full (`UpdateContext`) before it says what it was. Shares, nominal debt, rates and prices are at
//! scale 10¹⁸. The curator's part of the interest becomes shares that nobody's position holds, and so do the first 2,000
//! units of an asset, which are burnt when it is added.

use std::collections::BTreeMap;

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::emit::Transaction;
use super::math::{mul_div_128, pow10, to_u128};
use super::positions::signed;
use super::selectors;
use super::tokens::Token;
use super::zklend::SECONDS_PER_YEAR;
use crate::chain::felts::{made_up, name, u256};

/// The factory of the seeded chain.
pub(super) const VESU_FACTORY: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6465765f766573755f666163746f7279");

/// The pool of the seeded chain.
pub(super) const VESU_POOL: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6465765f766573755f706f6f6c");

/// 1 at the scale of shares, debt, rates and prices.
pub(super) const ONE: u128 = 1_000_000_000_000_000_000;

/// What borrowers pay a year where nothing is lent out, and what full utilization adds.
const RATE: (u128, u128) = (ONE / 100, ONE / 5);

/// Units of an asset that are burnt when it is added.
const BURNT: u128 = 2_000;

/// What the model fixes about an asset.
#[derive(Debug, Clone, Copy)]
pub(super) struct AssetSpec {
    pub(super) token: Token,
    /// First supply in whole USDC.
    pub(super) initial_usdc: u64,
    /// The curator's part of the interest.
    pub(super) fee_rate: u128,
}

/// The assets, in the order of their addition. Where nothing is the curator's, positions hold all shares.
pub(super) const ASSETS: [AssetSpec; 2] = [
    AssetSpec { token: Token::Eth, initial_usdc: 2_400_000, fee_rate: 0 },
    AssetSpec { token: Token::Usdc, initial_usdc: 1_800_000, fee_rate: ONE / 10 },
];

/// An asset as an `UpdateContext` states it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement {
    /// Seconds since 1970.
    pub(super) at: u64,
    pub(super) accumulator: u128,
    pub(super) fee_rate: u128,
    pub(super) shares: u128,
    /// Those of them that no position holds.
    pub(super) unheld_shares: u128,
    /// In the token's smallest unit, as the next two.
    pub(super) reserve: u128,
    pub(super) borrowed: u128,
    pub(super) supplied: u128,
    /// `None` where the oracle says that it does not know.
    pub(super) price: Option<u128>,
}

/// An asset's state.
#[derive(Debug, Clone)]
pub(super) struct Asset {
    pub(super) spec: AssetSpec,
    /// Seconds since 1970.
    pub(super) opened_at: u64,
    reserve: u128,
    shares: u128,
    fee_shares: u128,
    nominal_debt: u128,
    accumulator: u128,
    updated_at: u64,
    price: Option<u128>,
    /// Shares above 0 by holder.
    pub(super) holdings: BTreeMap<Felt, u128>,
    pub(super) newest: Option<Statement>,
    /// The last statement before the newest one's instant.
    pub(super) base: Option<Statement>,
}

/// The pool's state.
#[derive(Debug, Clone)]
pub(super) struct VesuPool {
    pub(super) assets: [Asset; 2],
    /// Nominal debt by borrower and place of the collateral.
    pub(super) loans: BTreeMap<(Felt, usize), u128>,
}

/// What an action did to a position: amounts in smallest units, shares and nominal debt at 10¹⁸.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    collateral: i128,
    shares: i128,
    debt: i128,
    nominal: i128,
}

impl VesuPool {
    /// Creates the pool and adds its assets, which nobody supplied yet.
    pub(super) fn create(owner: Felt, now: u64, transaction: &mut Transaction) -> Self {
        let keys = vec![
            selectors::CREATE_POOL,
            VESU_POOL,
            name("Seeded"),
            owner,
            owner,
            made_up("vesu oracle", &[]),
        ];
        transaction.emit_keyed(VESU_FACTORY, keys, Vec::new());
        let assets = ASSETS.map(|spec| {
            let keys = vec![selectors::ADD_ASSET, VESU_POOL, spec.token.address()];
            transaction.emit_keyed(VESU_FACTORY, keys, Vec::new());
            Asset::added(spec, now)
        });
        Self { assets, loans: BTreeMap::new() }
    }

    /// What the oracle says from now on.
    pub(super) fn set_prices(&mut self, prices: [Option<u128>; 2]) {
        for (asset, price) in self.assets.iter_mut().zip(prices) {
            asset.price = price;
        }
    }

    pub(super) fn supply(
        &mut self,
        place: usize,
        amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.accrue(now);
        let user = transaction.sender;
        let Some(asset) = self.assets.get_mut(place) else {
            return;
        };
        let shares = asset.shares_of(amount);
        asset.reserve += amount;
        asset.shares += shares;
        *asset.holdings.entry(user).or_default() += shares;
        transaction.transfer(asset.token(), user, VESU_POOL, U256::from(amount));
        let moved =
            Moved { collateral: signed(amount), shares: signed(shares), ..Moved::default() };
        self.tell(place, user, moved, now, transaction);
    }

    /// Gives back shares, at most what the user holds. Nothing happens if the pool has not so much.
    pub(super) fn withdraw(
        &mut self,
        place: usize,
        shares: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.accrue(now);
        let user = transaction.sender;
        let Some((shares, amount)) =
            self.assets.get_mut(place).and_then(|asset| asset.redeem(user, shares))
        else {
            return;
        };
        transaction.transfer(self.token(place), VESU_POOL, user, U256::from(amount));
        let moved =
            Moved { collateral: -signed(amount), shares: -signed(shares), ..Moved::default() };
        self.tell(place, user, moved, now, transaction);
    }

    /// Borrows the other asset against the one at a place.
    pub(super) fn borrow(
        &mut self,
        place: usize,
        amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.accrue(now);
        let user = transaction.sender;
        let Some(asset) = self.assets.get_mut(1 - place).filter(|of| of.reserve >= amount) else {
            return;
        };
        let nominal = asset.nominal_of(amount) + 1;
        asset.reserve -= amount;
        asset.nominal_debt += nominal;
        *self.loans.entry((user, place)).or_default() += nominal;
        transaction.transfer(self.token(1 - place), VESU_POOL, user, U256::from(amount));
        let moved = Moved { debt: signed(amount), nominal: signed(nominal), ..Moved::default() };
        self.tell(place, user, moved, now, transaction);
    }

    /// Repays a part of a loan, in ten thousand.
    pub(super) fn repay(
        &mut self,
        place: usize,
        part_bps: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.accrue(now);
        let user = transaction.sender;
        let Some((nominal, amount)) = self.pay_back((user, place), part_bps) else {
            return;
        };
        transaction.transfer(self.token(1 - place), user, VESU_POOL, U256::from(amount));
        let moved = Moved { debt: -signed(amount), nominal: -signed(nominal), ..Moved::default() };
        self.tell(place, user, moved, now, transaction);
    }

    /// Somebody pays a part of a loan and takes shares of the borrower for it.
    pub(super) fn liquidate(
        &mut self,
        (user, place): (Felt, usize),
        part_bps: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.accrue(now);
        let held = self.assets.get(place).and_then(|asset| asset.holdings.get(&user)).copied();
        let taken = mul_div_128(held.unwrap_or(0), part_bps, 10_000);
        let Some((shares, amount)) =
            self.assets.get_mut(place).and_then(|asset| asset.redeem(user, taken))
        else {
            return;
        };
        let (nominal, paid) = self.pay_back((user, place), part_bps).unwrap_or_default();
        let liquidator = transaction.sender;
        transaction.transfer(self.token(1 - place), liquidator, VESU_POOL, U256::from(paid));
        transaction.transfer(self.token(place), VESU_POOL, liquidator, U256::from(amount));
        let (collateral, shares) = (-signed(amount), -signed(shares));
        let moved = Moved { collateral, shares, debt: -signed(paid), nominal: -signed(nominal) };
        self.state(place, now, transaction);
        let mut keys = vec![selectors::LIQUIDATE_POSITION];
        keys.extend([self.token(place), self.token(1 - place), user, liquidator]);
        let mut data = moved.felts();
        data.extend(u256(U256::ZERO));
        transaction.emit_keyed(VESU_POOL, keys, data);
    }

    /// Nominal debt that is paid and what it costs.
    fn pay_back(&mut self, loan: (Felt, usize), part_bps: u128) -> Option<(u128, u128)> {
        let owed = self.loans.get_mut(&loan)?;
        let asset = self.assets.get_mut(1 - loan.1)?;
        let nominal = mul_div_128(*owed, part_bps, 10_000);
        *owed -= nominal;
        if *owed == 0 {
            self.loans.remove(&loan);
        }
        let amount = asset.debt_of(nominal) + 1;
        asset.nominal_debt -= nominal;
        asset.reserve += amount;
        Some((nominal, amount))
    }

    fn accrue(&mut self, now: u64) {
        self.assets.iter_mut().for_each(|asset| asset.accrue(now));
    }

    fn token(&self, place: usize) -> Felt {
        self.assets.get(place).map_or(Felt::ZERO, Asset::token)
    }

    fn tell(
        &mut self,
        place: usize,
        user: Felt,
        moved: Moved,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.state(place, now, transaction);
        let keys = vec![selectors::MODIFY_POSITION, self.token(place), self.token(1 - place), user];
        transaction.emit_keyed(VESU_POOL, keys, moved.felts());
    }

    /// States both assets, the collateral first.
    fn state(&mut self, place: usize, now: u64, transaction: &mut Transaction) {
        let keys = vec![selectors::UPDATE_CONTEXT, self.token(place), self.token(1 - place)];
        let places = [place, 1 - place];
        let (mut configs, mut prices) = (Vec::new(), Vec::new());
        for asset in places.into_iter().filter_map(|place| self.assets.get(place)) {
            configs.extend(asset.config_felts());
            prices.extend(u256(U256::from(asset.price.unwrap_or(0))));
            prices.push(Felt::from(asset.price.is_some()));
        }
        configs.extend(prices);
        transaction.emit_keyed(VESU_POOL, keys, configs);
        self.assets.iter_mut().for_each(|asset| asset.note(now));
    }
}

impl Asset {
    fn added(spec: AssetSpec, now: u64) -> Self {
        let scale = to_u128(pow10(spec.token.decimals()));
        Self {
            spec,
            opened_at: now,
            reserve: BURNT,
            shares: mul_div_128(BURNT, ONE, scale),
            fee_shares: 0,
            nominal_debt: 0,
            accumulator: ONE,
            updated_at: now,
            price: None,
            holdings: BTreeMap::new(),
            newest: None,
            base: None,
        }
    }

    fn token(&self) -> Felt {
        self.spec.token.address()
    }

    fn scale(&self) -> u128 {
        to_u128(pow10(self.spec.token.decimals()))
    }

    pub(super) fn reserve(&self) -> u128 {
        self.reserve
    }

    /// What is lent out, in the token's smallest unit.
    pub(super) fn borrowed(&self) -> u128 {
        self.debt_of(self.nominal_debt)
    }

    pub(super) fn supplied(&self) -> u128 {
        self.reserve + self.borrowed()
    }

    /// Lent out by supplied, at scale 10¹⁸.
    pub(super) fn utilization(&self) -> u128 {
        match self.supplied() {
            0 => 0,
            supplied => mul_div_128(self.borrowed(), ONE, supplied),
        }
    }

    fn debt_of(&self, nominal: u128) -> u128 {
        let product = U256::from(nominal) * U256::from(self.accumulator) * U256::from(self.scale());
        to_u128(product / pow10(36))
    }

    fn nominal_of(&self, amount: u128) -> u128 {
        let at_scale = U256::from(amount) * pow10(36);
        to_u128(at_scale / (U256::from(self.accumulator) * U256::from(self.scale())))
    }

    fn shares_of(&self, amount: u128) -> u128 {
        mul_div_128(amount, self.shares, self.supplied())
    }

    /// Burns shares, at most what the user holds, for what they are worth.
    fn redeem(&mut self, user: Felt, shares: u128) -> Option<(u128, u128)> {
        let held = self.holdings.get(&user).copied()?;
        let shares = shares.min(held);
        let amount = mul_div_128(shares, self.supplied(), self.shares.max(1));
        if amount == 0 || amount > self.reserve {
            return None;
        }
        if shares == held {
            self.holdings.remove(&user);
        } else {
            self.holdings.insert(user, held - shares);
        }
        self.shares -= shares;
        self.reserve -= amount;
        Some((shares, amount))
    }

    /// Lets interest accrue; the curator's part of it becomes new shares.
    fn accrue(&mut self, now: u64) {
        let elapsed = u128::from(now.saturating_sub(self.updated_at));
        let rate = RATE.0 + mul_div_128(RATE.1, self.utilization(), ONE);
        let growth = mul_div_128(rate, elapsed, SECONDS_PER_YEAR);
        let before = self.borrowed();
        self.accumulator += mul_div_128(self.accumulator, growth, ONE);
        self.updated_at = now;
        let fee = mul_div_128(self.borrowed() - before, self.spec.fee_rate, ONE);
        if fee > 0 {
            let others = self.supplied() - fee;
            let divisor = U256::from(others.max(1));
            let minted = U256::from(fee) * U256::from(self.shares) / divisor;
            self.fee_shares += to_u128(minted);
            self.shares += to_u128(minted);
        }
    }

    /// Notes what was stated: of several statements of an instant the last one counts.
    fn note(&mut self, now: u64) {
        if let Some(before) = self.newest.filter(|before| before.at < now) {
            self.base = Some(before);
        }
        self.newest = Some(Statement {
            at: now,
            accumulator: self.accumulator,
            fee_rate: self.spec.fee_rate,
            shares: self.shares,
            unheld_shares: self.fee_shares + mul_div_128(BURNT, ONE, self.scale()),
            reserve: self.reserve,
            borrowed: self.borrowed(),
            supplied: self.supplied(),
            price: self.price,
        });
    }

    fn config_felts(&self) -> Vec<Felt> {
        let wide = |value: u128| u256(U256::from(value));
        let mut felts = Vec::new();
        felts.extend(wide(self.shares));
        felts.extend(wide(self.nominal_debt));
        felts.extend(wide(self.reserve));
        felts.extend(wide(ONE / 100 * 95));
        felts.extend(wide(self.scale() / 1_000));
        felts.extend(wide(self.scale()));
        felts.push(Felt::ZERO);
        felts.push(Felt::from(self.updated_at));
        felts.extend(wide(self.accumulator));
        felts.extend(wide(RATE.0 + RATE.1));
        felts.extend(wide(self.spec.fee_rate));
        felts.extend(wide(self.fee_shares));
        felts
    }
}

impl Moved {
    fn felts(self) -> Vec<Felt> {
        [self.collateral, self.shares, self.debt, self.nominal].into_iter().flat_map(i257).collect()
    }
}

/// An `i257` as the pool lays it out: low half, high half, 1 for negative.
fn i257(value: i128) -> [Felt; 3] {
    let [low, high] = u256(U256::from(value.unsigned_abs()));
    [low, high, Felt::from(value < 0)]
}
