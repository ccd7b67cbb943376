//! What wallets did, in terms that no protocol owns.
//!
//! A wallet is the account that the event names. Routers, lockers and position managers are accounts too:
//! where one stands between, the event names it and not the person behind it, and nothing in the event
//! tells the two apart. Amounts are in the token's smallest unit. A zero amount is no activity.

use obsqra_types::{ContractAddress, U256};

use crate::TokenPair;

/// What kind of thing a wallet did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ActivityKind {
    /// Put a token into a protocol.
    Deposit,
    /// Took a token out of a protocol.
    Withdrawal,
    /// Took a loan.
    Borrow,
    /// Paid a loan back.
    Repay,
    /// Had its loan paid back by the counterparty, who took collateral.
    Liquidation,
    /// Paid a token and got another.
    Swap,
}

/// Something that a wallet did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Activity {
    /// What it is.
    pub kind: ActivityKind,
    /// The account whose position or balance changed.
    pub wallet: ContractAddress,
    /// The other account that the event names: a swap's sender, a repayment's beneficiary, a liquidator.
    pub counterparty: Option<ContractAddress>,
    /// The token; `None` where neither the event nor the registry names it.
    pub token: Option<ContractAddress>,
    /// How much of it, in its smallest unit.
    pub amount: U256,
    /// What came out of a swap; the collateral taken by a liquidator.
    pub counter_token: Option<ContractAddress>,
    /// How much of that, in its smallest unit; present where the counter token is.
    pub counter_amount: Option<U256>,
}

/// A transfer of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The token: the contract that emitted the event.
    pub token: ContractAddress,
    /// From whom; zero where tokens were minted.
    pub from: ContractAddress,
    /// To whom; zero where tokens were burnt.
    pub to: ContractAddress,
    /// How much, in the token's smallest unit.
    pub amount: U256,
}

impl ActivityKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Deposit, Self::Withdrawal, Self::Borrow, Self::Repay, Self::Liquidation, Self::Swap];

    /// The name under which it is published.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Borrow => "borrow",
            Self::Repay => "repay",
            Self::Liquidation => "liquidation",
            Self::Swap => "swap",
        }
    }
}

impl Activity {
    fn new(
        kind: ActivityKind,
        wallet: ContractAddress,
        token: Option<ContractAddress>,
        amount: U256,
    ) -> Self {
        let (counterparty, counter_token, counter_amount) = (None, None, None);
        Self { kind, wallet, counterparty, token, amount, counter_token, counter_amount }
    }

    /// With the other account that the event names; the wallet itself is no other.
    pub(super) fn with(self, counterparty: ContractAddress) -> Self {
        let counterparty = (counterparty != self.wallet).then_some(counterparty);
        Self { counterparty, ..self }
    }

    /// With what was given for it.
    fn against(self, token: ContractAddress, amount: U256) -> Self {
        Self { counter_token: Some(token), counter_amount: Some(amount), ..self }
    }
}

/// An amount and whether it is below zero.
pub(super) type Signed = (U256, bool);

/// What came in less what went out.
pub(super) fn net(incoming: U256, outgoing: U256) -> Signed {
    (incoming.abs_diff(outgoing), incoming < outgoing)
}

/// One amount of one token, or nothing when it is zero.
pub(super) fn single(
    kind: ActivityKind,
    wallet: ContractAddress,
    token: Option<ContractAddress>,
    amount: U256,
) -> Option<Activity> {
    (!amount.is_zero()).then(|| Activity::new(kind, wallet, token, amount))
}

/// One amount of each of a pool's tokens, where it is not zero.
pub(super) fn both(
    kind: ActivityKind,
    wallet: ContractAddress,
    tokens: Option<TokenPair>,
    amounts: [U256; 2],
) -> Vec<Activity> {
    let tokens = [tokens.map(|pair| pair.token0), tokens.map(|pair| pair.token1)];
    let each = tokens.into_iter().zip(amounts);
    each.filter_map(|(token, amount)| single(kind, wallet, token, amount)).collect()
}

/// A position's change: the first kind above zero, the second below.
pub(super) fn moved(
    [above, below]: [ActivityKind; 2],
    wallet: ContractAddress,
    token: ContractAddress,
    (amount, negative): Signed,
) -> Option<Activity> {
    single(if negative { below } else { above }, wallet, Some(token), amount)
}

/// A swap, from what the pool gained of each token. What only went in, or only came out, of both sides is
/// none.
pub(super) fn swap(
    wallet: ContractAddress,
    tokens: Option<TokenPair>,
    [gained0, gained1]: [Signed; 2],
) -> Option<Activity> {
    let TokenPair { token0, token1 } = tokens?;
    let is_paid = |(amount, negative): Signed| !negative && !amount.is_zero();
    let (paid, got) = match (is_paid(gained0), is_paid(gained1)) {
        (true, false) => ((token0, gained0.0), (token1, gained1.0)),
        (false, true) => ((token1, gained1.0), (token0, gained0.0)),
        _ => return None,
    };
    let activity = single(ActivityKind::Swap, wallet, Some(paid.0), paid.1)?;
    Some(activity.against(got.0, got.1))
}

/// A loan and the collateral that were taken from a position, each as its change.
pub(super) fn liquidation(
    [wallet, liquidator]: [ContractAddress; 2],
    (debt_token, debt): (ContractAddress, U256),
    (collateral_token, collateral): (ContractAddress, U256),
) -> Activity {
    Activity::new(ActivityKind::Liquidation, wallet, Some(debt_token), debt)
        .with(liquidator)
        .against(collateral_token, collateral)
}
