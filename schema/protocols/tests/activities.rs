//! What events say that wallets did, and what they transferred.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::{Activity, ActivityKind, Contracts, Decoder, Role, Transfer, decode_from};
use obsqra_types::U256;
use support::roles::{address, every_role, of_role, raw_event};

/// An activity as `kind wallet token amount [for token amount] [with counterparty]`.
fn text(activity: &Activity) -> String {
    let Activity { kind, wallet, counterparty, token, amount, counter_token, counter_amount } =
        activity;
    let token = token.map_or_else(|| "-".to_owned(), |token| token.to_string());
    let mut text = format!("{} {wallet} {token} {amount}", kind.name());
    if let (Some(token), Some(amount)) = (counter_token, counter_amount) {
        text += &format!(" for {token} {amount}");
    }
    if let Some(counterparty) = counterparty {
        text += &format!(" with {counterparty}");
    }
    text
}

fn check(decoder: Decoder, role: Role, (name, keys, data): Case<'_>, expected: &[&str]) {
    let emitter = of_role(decoder, role);
    let event = decode_from(&emitter, &raw_event(&emitter, name, keys, data))
        .unwrap_or_else(|| panic!("{name} {keys:?} {data:?} fits no layout"));
    let found: Vec<String> = event.activities(&emitter).iter().map(text).collect();
    assert_eq!(found, expected, "{name} {keys:?} {data:?}");
}

/// Name, keys after the selector, data. Accounts are `0x71` and above; pools are of `0x10` and `0x11`.
type Case<'a> = (&'a str, &'a [u128], &'a [u128]);

#[test]
fn of_zklend() {
    let check =
        |case: Case<'_>, expected: &[&str]| check(Decoder::ZkLend, Role::Market, case, expected);
    check(("Deposit", &[], &[0x71, 0x10, 5]), &["deposit 0x71 0x10 5"]);
    check(("Deposit", &[], &[0x71, 0x10, 0]), &[]);
    check(("Withdrawal", &[], &[0x71, 0x10, 5]), &["withdrawal 0x71 0x10 5"]);
    check(("Borrowing", &[], &[0x71, 0x10, 4, 5]), &["borrow 0x71 0x10 5"]);
    check(("Repayment", &[], &[0x71, 0x71, 0x10, 4, 5]), &["repay 0x71 0x10 5"]);
    check(("Repayment", &[], &[0x71, 0x72, 0x10, 4, 5]), &["repay 0x71 0x10 5 with 0x72"]);
    check(
        ("Liquidation", &[], &[0x72, 0x71, 0x10, 4, 5, 0x11, 6]),
        &["liquidation 0x71 0x10 5 for 0x11 6 with 0x72"],
    );
    check(("FlashLoan", &[], &[0x71, 0x72, 0x10, 5, 1]), &[]);
}

#[test]
fn of_nostras_tokens_over_their_asset() {
    for (role, minted, burnt) in [
        (Role::DebtToken, "borrow", "repay"),
        (Role::InterestToken, "deposit", "withdrawal"),
        (Role::InterestCollateralToken, "deposit", "withdrawal"),
        (Role::PlainToken, "deposit", "withdrawal"),
        (Role::PlainCollateralToken, "deposit", "withdrawal"),
    ] {
        let check =
            |case, expected: &[&str]| check(Decoder::NostraMoneyMarket, role, case, expected);
        check(("Mint", &[], &[0x71, 5, 0]), &[&format!("{minted} 0x71 0x11 5")]);
        check(("Mint", &[0x71], &[5, 0]), &[&format!("{minted} 0x71 0x11 5")]);
        check(("Burn", &[0x71], &[5, 0]), &[&format!("{burnt} 0x71 0x11 5")]);
        check(("Burn", &[0x71], &[0, 0]), &[]);
        check(("Transfer", &[0x71, 0x72], &[5, 0]), &[]);
    }
}

/// An i257.
fn signed(value: i128) -> [u128; 3] {
    [value.unsigned_abs(), 0, u128::from(value < 0)]
}

#[test]
fn of_vesus_positions() {
    let data = |collateral, debt| [signed(collateral), signed(7), signed(debt), signed(8)].concat();
    let both = |case: Case<'_>, expected: &[&str]| {
        let (name, keys, data) = case;
        let with_pool: Vec<u128> = [&[0xb001], keys].concat();
        check(Decoder::VesuV1, Role::Singleton, (name, &with_pool, data), expected);
        check(Decoder::VesuV2, Role::Pool, case, expected);
    };
    let keys = [0x10, 0x11, 0x71];
    both(("ModifyPosition", &keys, &data(5, 0)), &["deposit 0x71 0x10 5"]);
    both(("ModifyPosition", &keys, &data(0, -6)), &["repay 0x71 0x11 6"]);
    both(
        ("ModifyPosition", &keys, &data(-5, 6)),
        &["withdrawal 0x71 0x10 5", "borrow 0x71 0x11 6"],
    );
    both(("ModifyPosition", &keys, &data(0, 0)), &[]);
    let keys = [0x10, 0x11, 0x71, 0x72];
    let liquidated = |collateral, debt| [data(collateral, debt), vec![0, 0]].concat();
    both(
        ("LiquidatePosition", &keys, &liquidated(-5, -6)),
        &["liquidation 0x71 0x11 6 for 0x10 5 with 0x72"],
    );
    both(("LiquidatePosition", &keys, &liquidated(5, -6)), &[]);
}

#[test]
fn of_pairs_of_constant_product() {
    for (decoder, mint, burn) in
        [(Decoder::JediSwapV1, "Mint", "Burn"), (Decoder::NostraPools, "PairMint", "PairBurn")]
    {
        let check = |case: Case<'_>, expected: &[&str]| check(decoder, Role::Pair, case, expected);
        let swap = |in0, in1, out0, out1| [0x72, in0, 0, in1, 0, out0, 0, out1, 0, 0x71];
        check(("Swap", &[], &swap(5, 0, 0, 6)), &["swap 0x71 0x10 5 for 0x11 6 with 0x72"]);
        check(("Swap", &[], &swap(0, 6, 5, 0)), &["swap 0x71 0x11 6 for 0x10 5 with 0x72"]);
        // What comes back on the side that was paid counts against it.
        check(("Swap", &[], &swap(9, 0, 4, 6)), &["swap 0x71 0x10 5 for 0x11 6 with 0x72"]);
        check(("Swap", &[], &swap(5, 6, 0, 0)), &[]);
        check(("Swap", &[], &swap(0, 0, 0, 0)), &[]);
        let minted = &["deposit 0x72 0x10 5", "deposit 0x72 0x11 6"];
        check((mint, &[], &[0x72, 5, 0, 6, 0]), minted);
        check((mint, &[], &[0x72, 0, 0, 6, 0]), &["deposit 0x72 0x11 6"]);
        let burnt = &["withdrawal 0x71 0x10 5", "withdrawal 0x71 0x11 6"];
        check((burn, &[], &[0x72, 5, 0, 6, 0, 0x71]), burnt);
    }
}

#[test]
fn of_jediswap_v2s_pools() {
    let check =
        |case: Case<'_>, expected: &[&str]| check(Decoder::JediSwapV2, Role::Pool, case, expected);
    let swap = |delta0, delta1| {
        let amounts = [signed(delta0), signed(delta1)].concat();
        [&[0x72, 0x71], &amounts[..], &[1, 0, 9, 3, 0]].concat()
    };
    check(("Swap", &[], &swap(5, -6)), &["swap 0x71 0x10 5 for 0x11 6 with 0x72"]);
    check(("Swap", &[], &swap(-5, 6)), &["swap 0x71 0x11 6 for 0x10 5 with 0x72"]);
    check(
        ("Mint", &[], &[0x72, 0x71, 1, 1, 1, 0, 9, 5, 0, 6, 0]),
        &["deposit 0x71 0x10 5", "deposit 0x71 0x11 6"],
    );
    check(("Burn", &[], &[0x71, 1, 1, 1, 0, 9, 5, 0, 0, 0]), &["withdrawal 0x71 0x10 5"]);
    check(("Collect", &[], &[0x71, 0x72, 1, 1, 1, 0, 5, 6]), &[]);
}

#[test]
fn of_ekubos_pools() {
    let check =
        |case: Case<'_>, expected: &[&str]| check(Decoder::Ekubo, Role::Core, case, expected);
    let key = [0x71, 0x10, 0x11, 1, 2, 0];
    let delta = |value: i128| [value.unsigned_abs(), u128::from(value < 0)];
    let swapped = |delta0, delta1| {
        let deltas = [delta(delta0), delta(delta1)].concat();
        [&key[..], &[1, 0, 0, 0, 0, 0], &deltas, &[1, 0, 2, 0, 3]].concat()
    };
    check(("Swapped", &[], &swapped(5, -6)), &["swap 0x71 0x10 5 for 0x11 6"]);
    check(("Swapped", &[], &swapped(-5, 6)), &["swap 0x71 0x11 6 for 0x10 5"]);
    check(("Swapped", &[], &swapped(5, 0)), &["swap 0x71 0x10 5 for 0x11 0"]);
    check(("Swapped", &[], &swapped(0, 0)), &[]);
    let updated = |delta0, delta1| {
        let deltas = [delta(delta0), delta(delta1)].concat();
        [&key[..], &[7, 1, 1, 1, 0, 4, 0], &deltas].concat()
    };
    let deposits = &["deposit 0x71 0x10 5", "deposit 0x71 0x11 6"];
    check(("PositionUpdated", &[], &updated(5, 6)), deposits);
    check(("PositionUpdated", &[], &updated(0, -6)), &["withdrawal 0x71 0x11 6"]);
}

#[test]
fn of_obsqras_router_without_a_token() {
    let check =
        |case, expected: &[&str]| check(Decoder::Obsqra, Role::StrategyRouter, case, expected);
    check(("Deposit", &[], &[0x71, 5, 0, 9]), &["deposit 0x71 - 5"]);
    check(("Withdrawal", &[], &[0x71, 5, 0, 1, 0, 9]), &["withdrawal 0x71 - 5"]);
    check(("YieldsAccrued", &[], &[5, 0, 9]), &[]);
}

#[test]
fn transfers_name_the_token_that_emits_them() {
    let forms: [(&[u128], &[u128]); 2] = [(&[], &[0x71, 0x72, 5, 0]), (&[0x71, 0x72], &[5, 0])];
    for (decoder, role, forms) in [
        (Decoder::Erc20, Role::Token, &forms[..]),
        (Decoder::NostraMoneyMarket, Role::DebtToken, &forms[..]),
        (Decoder::NostraPools, Role::Pair, &forms[1..]),
        (Decoder::JediSwapV1, Role::Pair, &forms[..1]),
        (Decoder::ZkLend, Role::ZToken, &forms[..1]),
    ] {
        let token = of_role(decoder, role);
        for (keys, data) in forms {
            let event = decode_from(&token, &raw_event(&token, "Transfer", keys, data)).unwrap();
            let transfer = event.transfer(&token).unwrap();
            assert_eq!((transfer.from, transfer.to), (address(0x71), address(0x72)));
            assert_eq!((transfer.token, transfer.amount.to_string()), (token.address, "5".into()));
        }
    }
    let token = of_role(Decoder::Erc20, Role::Token);
    let approval = raw_event(&token, "Approval", &[], &[0x71, 0x72, 5, 0]);
    assert_eq!(decode_from(&token, &approval).unwrap().transfer(&token), None);
}

#[test]
fn a_privacy_pool_is_followed_by_transfers_to_and_from_it() {
    let contracts = Contracts::new(every_role());
    let (token, chamber) =
        (of_role(Decoder::Erc20, Role::Token), of_role(Decoder::MistCash, Role::Chamber));
    let activity = |from, to, amount: u64| {
        let amount = U256::from(amount);
        let transfer = Transfer { token: token.address, from, to, amount };
        let (pool, activity) = transfer.private_activity(&contracts)?;
        assert_eq!(pool, &chamber);
        Some(text(&activity))
    };
    let (wallet, pool) = (address(0x71), chamber.address);
    let expected = |kind: &str| Some(format!("{kind} 0x71 {} 5", token.address));
    assert_eq!(activity(wallet, pool, 5), expected("deposit"));
    assert_eq!(activity(pool, wallet, 5), expected("withdrawal"));
    assert_eq!(activity(wallet, pool, 0), None);
    assert_eq!(activity(pool, pool, 5), None);
    assert_eq!(activity(wallet, address(0x72), 5), None);
}

#[test]
fn kinds_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = ActivityKind::ALL.map(ActivityKind::name).into();
    assert_eq!(names.len(), ActivityKind::ALL.len());
}
