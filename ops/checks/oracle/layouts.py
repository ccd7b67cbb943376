"""Layouts of events, and how an event's felts are read by them.

A row of `TABLE` is a name, its selector, how many of its members stand in the keys (two numbers where an
upgrade moved members there), and its members in their order. A table is for the contracts of one decoder
and role, since selectors are shared. Layouts come from the contracts' sources and published interfaces, as
`schema/protocols/src/decoders/` names them, but are written down here a second time.

Reading is strict: a felt outside its member's type makes the event fit no layout.
"""

from fnmatch import fnmatch

# Members of members; what is not here is one of the types that `read` knows.
STRUCTS = {
    "PoolKey": "token0:felt token1:felt fee:u128 tick_spacing:u128 extension:felt",
    "Delta": "amount0:i129 amount1:i129",
    "Update": "salt:felt lower:i129 upper:i129 liquidity_delta:i129",
    "PositionKey": "salt:felt owner:felt lower:i129 upper:i129",
    "SwapParams": "amount:i129 is_token1:bool sqrt_ratio_limit:u256 skip_ahead:u128",
    "SavedBalanceKey": "owner:felt token:felt salt:felt",
    "AssetConfigV1": "total_collateral_shares:u256 total_nominal_debt:u256 reserve:u256 max_utilization:u256"
    " floor:u256 scale:u256 is_legacy:bool last_updated:u64 last_rate_accumulator:u256"
    " last_full_utilization_rate:u256 fee_rate:u256",
    "AssetPrice": "value:u256 is_valid:bool",
}
STRUCTS["AssetConfigV2"] = STRUCTS["AssetConfigV1"] + " fee_shares:u256"

# The bits of each felt; a last felt of one bit behind a magnitude is its sign.
PRIMITIVES = {
    "felt": [252],
    "bool": [1],
    "u32": [32],
    "u64": [64],
    "u128": [128],
    "u256": [128, 128],
    "i32": [32, 1],
    "i129": [128, 1],
    "i256": [128, 128, 1],
    "i257": [128, 128, 1],
}

TABLE = """
[zklend market]
NewReserve 0x3d3ae916d7df55e66f18fa2bbcc98ae398b3e9b93f72b77a352a526db72ae54 0 token:felt z_token:felt
    decimals:felt interest_rate_model:felt collateral_factor:felt borrow_factor:felt reserve_factor:felt
    flash_loan_fee:felt liquidation_bonus:felt
AccumulatorsSync 0x30c296ae369716818de77cb5b71ce9cda7cc2c0e8456f474e0abb1ae8d017da 0 token:felt
    lending_accumulator:felt debt_accumulator:felt
InterestRatesSync 0xa2fb82b5656725dad81c7112b2c4ef0119096677c3c0fd82632d0a74f07666 0 token:felt
    lending_rate:felt borrowing_rate:felt
Deposit 0x9149d2123147c5f43d258257fef0b7b969db78269369ebcf5ebb9eef8592f2 0 user:felt token:felt face_amount:felt
Withdrawal 0x2eed7e29b3502a726faf503ac4316b7101f3da813654e8df02c13449e03da8 0 user:felt token:felt
    face_amount:felt
Borrowing 0xfa3f9acdb7b24dcf6d40d77ff2f87a87bca64a830a2169aebc9173db23ff41 0 user:felt token:felt
    raw_amount:felt face_amount:felt
Repayment 0x7ae0ab7952bbfc33a72035e5eccec7c8816723421c0acb315bd4690a71d46e 0 repayer:felt beneficiary:felt
    token:felt raw_amount:felt face_amount:felt
Liquidation 0x238a25785a13ab3138feb8f8f517e5a21a377cc1ad47809e9fd5e76daf01df7 0 liquidator:felt user:felt
    debt_token:felt debt_raw_amount:felt debt_face_amount:felt collateral_token:felt collateral_amount:felt
FlashLoan 0x3218efe38000d1819eab9d0f52611e116d8eb59fd834c800ae94bddf5048fc3 0 initiator:felt receiver:felt
    token:felt amount:felt fee:felt
CollateralEnabled 0x2324062bde6ebb76ffd17d55fee62fee62a4877588eb02524b19c091983b365 0 user:felt token:felt
CollateralDisabled 0xf999d0d33513a8215756ae6a9223180a439c134372b158bc84b9dd02f63856 0 user:felt token:felt
ReserveFactorUpdate 0x12a972615a5b8eceedc4aa745657497294c6ebe9a3dc1f15c6b65abbeb1472e 0 token:felt
    reserve_factor:felt
InterestRateModelUpdate 0x3d23e514b52404566430259eb64e1c6ac4e8a36ace84bc7c8b90fbf45f68ac5 0 token:felt
    interest_rate_model:felt
CollateralFactorUpdate 0x546d3ebe4dee046a05db8fe2ce6fbd66b06636feb3267a9d9260b69e6de97b 0 token:felt
    collateral_factor:felt
BorrowFactorUpdate 0x181afad2ad4b13dfc63a4e1d186a375245ca5975cc64afd9b78d49600e2380f 0 token:felt
    borrow_factor:felt
DebtLimitUpdate 0x3cd84a3c74c6922c8e2501e79d64d35d91b74f570105e29c937ef861c5d896b 0 token:felt limit:felt
DepositLimitUpdate 0xd9dc61762d009d47ace69836911d3d6ca1ed8042aa1c7d9f2b3098f53f4355 0 token:felt limit:felt
TreasuryUpdate 0xda3256205c64a1c337004b58fdba0438b4476b9be6e9ba06544c4ed6222b58 0 new_treasury:felt
ContractUpgraded 0x8248d60b6c95dac1563fa392e8dfc0cb968be73d80faedfe9a90e66811b45f 0 new_class_hash:felt

[zklend z_token]
Transfer 0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9 0 from:felt to:felt value:u256
Approval 0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff 0 owner:felt spender:felt value:u256
RawTransfer 0x307bed973ae39e0e1dfe22cae9d64886bd5f3502c9124b60137d6eab7605fa6 0 from:felt to:felt raw_value:felt
    accumulator:felt face_value:felt

[ekubo core]
Swapped 0x157717768aca88da4ac4279765f09f4d0151823d573537fbbeb950cdbd9a870 0 locker:felt pool_key:PoolKey
    params:SwapParams delta:Delta sqrt_ratio_after:u256 tick_after:i129 liquidity_after:u128
PositionUpdated 0x3a7adca3546c213ce791fabf3b04090c163e419c808c9830fb343a4a395946e 0 locker:felt pool_key:PoolKey
    params:Update delta:Delta
PoolInitialized 0x25ccf80ee62b2ca9b97c76ccea317c7f450fd6efb6ed6ea56da21d7bb9da5f1 0 pool_key:PoolKey
    initial_tick:i129 sqrt_ratio:u256
PositionFeesCollected 0x96982abd597114bdaa4a60612f87fabfcc7206aa12d61c50e7ba1e6c291100 0 pool_key:PoolKey
    position_key:PositionKey delta:Delta
ProtocolFeesPaid 0x5dacf59794364ad1555bb3c9b2346afa81e57e5c19bb6bae0d22721c96c4e5 0 pool_key:PoolKey
    position_key:PositionKey delta:Delta
ProtocolFeesWithdrawn 0x291697c8230383d5c3cc8dc39443356a7da6b0735605fb0ee0f7bfbb7b824a 0 recipient:felt
    token:felt amount:u128
FeesAccumulated 0x237e5e0677822acfc9117ed0f7ba4810b2c6b539a2359e8d73f9025d56957aa 0 pool_key:PoolKey
    amount0:u128 amount1:u128
SavedBalance 0x48796a25e5ceac9caf95a4618ebfd1516b51e5d994a49d28e22f09c64ad2ee 0 key:SavedBalanceKey amount:u128
LoadedBalance 0x305c746d1cf87085ae1abfe05967daa50048146e50e03fa41f7e41a91ee323d 0 key:SavedBalanceKey
    amount:u128

[jediswap_v1 factory]
PairCreated 0x19437bf1c5c394fc8509a2e38c9c72c152df0bac8be777d4fc8f959ac817189 0 token0:felt token1:felt
    pair:felt total_pairs:felt

[jediswap_v1 pair]
Sync 0xe14a408baf7f453312eec68e9b7d728ec5337fbdf671f917ee8c80f3255232 0 reserve0:u256 reserve1:u256
Swap 0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab 0 sender:felt amount0In:u256
    amount1In:u256 amount0Out:u256 amount1Out:u256 to:felt
Mint 0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16 0 sender:felt amount0:u256 amount1:u256
Burn 0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744 0 sender:felt amount0:u256 amount1:u256
    to:felt
Transfer 0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9 0 from_address:felt to_address:felt
    amount:u256
Approval 0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff 0 owner:felt spender:felt amount:u256

[jediswap_v2 pool_factory]
PoolCreated 0x27dd458d081c22bd6e76f4dddbc87f11e477b7c5823b13f147d45f91ec098ee 0 token0:felt token1:felt fee:u32
    tick_spacing:u32 pool:felt

[jediswap_v2 pool]
Initialize 0x3610d518bd9955fd50fcf99bc6982c4052fe12b8fa569e7452e678a4c657d59 0 sqrt_price_X96:u256 tick:i32
Swap 0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab 0 sender:felt recipient:felt amount0:i256
    amount1:i256 sqrt_price_X96:u256 liquidity:u128 tick:i32
Mint 0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16 0 sender:felt owner:felt tick_lower:i32
    tick_upper:i32 amount:u128 amount0:u256 amount1:u256
Burn 0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744 0 owner:felt tick_lower:i32
    tick_upper:i32 amount:u128 amount0:u256 amount1:u256
Collect 0x33b678d8846a558f55fc9257950e74c1aac32ee4c836c3a620d1066cc8d493f 0 owner:felt recipient:felt
    tick_lower:i32 tick_upper:i32 amount0:u128 amount1:u128
CollectProtocol 0x31621aea90f7dc00f1fa64cb22a458d4ff8e8b9d9a46ddff252fa251e081feb 0 sender:felt recipient:felt
    amount0:u128 amount1:u128

[nostra_pools pair]
Swap 0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab 0 sender:felt amount0In:u256
    amount1In:u256 amount0Out:u256 amount1Out:u256 to:felt
Sync 0xe14a408baf7f453312eec68e9b7d728ec5337fbdf671f917ee8c80f3255232 0 reserve0:u256 reserve1:u256
PairMint 0x4da1c5aad76bc7515d0b2a3e1701f34bb32eef406856809bce5ba13f3151de 0 sender:felt amount0:u256
    amount1:u256
PairBurn 0x2b497518d83b236665380348d05287d4ff2e3bfde80c1487f31c8ddd34c9892 0 sender:felt amount0:u256
    amount1:u256 to:felt
Transfer 0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9 2 from:felt to:felt value:u256
Approval 0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff 2 owner:felt spender:felt value:u256

[nostra_money_market interest_rate_model]
InterestStateUpdated 0x33db1d611576200c90997bde1f948502469d333e65e87045c250e6efd2e42c7 0/1 debtToken:felt
    lendingRate:u256 borrowingRate:u256 lendingIndex:u256 borrowingIndex:u256
InterestStateSetLendingRate 0x3f1547f5c752a56ed475433772ec93cab0ef5ff7786632287d7381d30d305ae 0/1 debtToken:felt
    lendingRate:u256
InterestStateSetBorrowingRate 0x49d3e14a9a5551aa9aa4e7ce97f74cc7357d95f68db2d55fc291f2e07af82d 0/1
    debtToken:felt borrowingRate:u256
InterestStateSetLastUpdateTimestamp 0x624ef3ac9a411845bcc671de3155f9c27c29a2539be56d17acff46d0747877 0/1
    debtToken:felt lastUpdateTimestamp:felt
InterestStateSetLendingIndex 0x2d869564c7a090f9b3cd65b3da756ce0477042ddacf02cf39dd19ca4c223e5f 0/1
    debtToken:felt lendingIndex:u256
InterestStateSetBorrowingIndex 0x3fe378208b9b410fecd7e94ee45037c8715f0f12c7a8455bde0f35277b83d65 0/1
    debtToken:felt borrowingIndex:u256
InterestRateConfigSetOptimalUtilizationRate 0x369d08e8684f0f5059a0d8d3dd472d5ed27f64f12223960945d18ed6f31ad1c 0
    debtToken:felt optimalUtilizationRate:u256
InterestRateConfigSetBaseBorrowingRate 0x2ecff393ae9c24f317e60d3ec6d2460d68ce33ca46cce8ec756e3d52538097f 0
    debtToken:felt baseBorrowingRate:u256
InterestRateConfigSetRateSlope1 0xaf2b3e71915a0025ff80d3aec40737eab89d014d2d42dfe4e30e37b6ba11fa 0
    debtToken:felt rateSlope1:u256
InterestRateConfigSetRateSlope2 0x759c46a2ff5f6627c6da47452b2dfe18301f4ea54e75af567ef2600dbd0e7c 0
    debtToken:felt rateSlope2:u256
InterestRateConfigSetGeneralProtocolFee 0x6ef3a81d4eb76c3ec65f33f68bbbfaf80c656d21bbef535aa935fc090c7a0b 0
    debtToken:felt generalProtocolFee:u256

[nostra_money_market *_token]
Mint 0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16 0/1 user:felt amount:u256
Burn 0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744 0/1 user:felt amount:u256
Transfer 0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9 0/2 from:felt to:felt value:u256
Approval 0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff 0/2 owner:felt spender:felt
    value:u256

[vesu_v1 singleton]
UpdateContext 0xe623beb06d0cfbe7f7877cf06290a77c803ca8fde4b54a68b241607c7cc8cc 3 pool_id:felt
    collateral_asset:felt debt_asset:felt collateral_asset_config:AssetConfigV1 debt_asset_config:AssetConfigV1
    collateral_asset_price:AssetPrice debt_asset_price:AssetPrice
ModifyPosition 0x3dfe6670b0f4e60f951b8a326e7467613b2470d81881ba2deb540262824f1e 4 pool_id:felt
    collateral_asset:felt debt_asset:felt user:felt collateral_delta:i257 collateral_shares_delta:i257
    debt_delta:i257 nominal_debt_delta:i257
LiquidatePosition 0x3731bef77d4371d61d696ce475c60d128c4e2c7bba44336635a540d6b180e88 5 pool_id:felt
    collateral_asset:felt debt_asset:felt user:felt liquidator:felt collateral_delta:i257
    collateral_shares_delta:i257 debt_delta:i257 nominal_debt_delta:i257 bad_debt:u256
AccrueFees 0x168a96b2b8000dea531d578d4c9a708ac6fb469d296f4390e0e700314e894a 3 pool_id:felt asset:felt
    recipient:felt fee_shares:u256
Flashloan 0x267e8c8e96d8a671054088a8f3384b170ad05e094bb0dba52f6570afc0362a7 3 sender:felt receiver:felt
    asset:felt amount:u256
CreatePool 0x1c92936ee86444fa9ee6b4ff49b7b0ce0bc65c0b8b366bfed2b69dd0a825db4 3 pool_id:felt extension:felt
    creator:felt
Donate 0x3c99932a72ac4bc85548c14ba8587069bc7689b932fe1fff9190646ef6f7ffc 2 pool_id:felt asset:felt amount:u256
SetAssetParameter 0x253651b643e033039457bf381c6a55ea46aec1d03edbe0ee126dae32b7ee435 3 pool_id:felt asset:felt
    parameter:felt value:u256

[vesu_v2 pool_factory]
CreatePool 0x1c92936ee86444fa9ee6b4ff49b7b0ce0bc65c0b8b366bfed2b69dd0a825db4 5 pool:felt name:felt owner:felt
    curator:felt oracle:felt
AddAsset 0x123cef9c4ff7f2e4efc9dfd68463c134bc3e2c632d014c1d55353f0ba8c646f 2 pool:felt asset:felt

[vesu_v2 pool]
UpdateContext 0xe623beb06d0cfbe7f7877cf06290a77c803ca8fde4b54a68b241607c7cc8cc 2 collateral_asset:felt
    debt_asset:felt collateral_asset_config:AssetConfigV2 debt_asset_config:AssetConfigV2
    collateral_asset_price:AssetPrice debt_asset_price:AssetPrice
ModifyPosition 0x3dfe6670b0f4e60f951b8a326e7467613b2470d81881ba2deb540262824f1e 3 collateral_asset:felt
    debt_asset:felt user:felt collateral_delta:i257 collateral_shares_delta:i257 debt_delta:i257
    nominal_debt_delta:i257
LiquidatePosition 0x3731bef77d4371d61d696ce475c60d128c4e2c7bba44336635a540d6b180e88 4 collateral_asset:felt
    debt_asset:felt user:felt liquidator:felt collateral_delta:i257 collateral_shares_delta:i257 debt_delta:i257
    nominal_debt_delta:i257 bad_debt:u256

[mist_cash chamber]
OwnershipTransferred 0x1390fd803c110ac71730ece1decfc34eb1d0088e295d4f1b125dda1e0c5b9ff 2 previous_owner:felt
    new_owner:felt
OwnershipTransferStarted 0x264029018ff7e3c0552db60eb00dd04eddf84c86e9b06640ce3731b70dc0bd7 2 previous_owner:felt
    new_owner:felt
Upgraded 0x2db340e6c609371026731f47050d3976552c89b4fbb012941663841c59d1af3 0 class_hash:felt

[erc20 token]
Transfer 0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9 0/2 from:felt to:felt value:u256
Approval 0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff 0/2 owner:felt spender:felt
    value:u256
"""


class Unfit(Exception):
    """A felt lies outside its member's type."""


def members(text):
    """Names and types of a list of members."""
    return [tuple(member.split(":")) for member in text.split()]


def width(kind):
    """How many felts a type takes."""
    if kind in STRUCTS:
        return sum(width(inner) for _, inner in members(STRUCTS[kind]))
    return len(PRIMITIVES[kind])


def read(kind, felts):
    """Takes a type's value off an iterator of felts: an integer, or a dictionary of them."""
    if kind in STRUCTS:
        return {name: read(inner, felts) for name, inner in members(STRUCTS[kind])}
    bits = PRIMITIVES[kind]
    parts = [next(felts) for _ in bits]
    if any(part >> size for part, size in zip(parts, bits)):
        raise Unfit(kind)
    sign = -1 if kind[0] == "i" and parts.pop() else 1
    return sign * sum(part << (128 * place) for place, part in enumerate(parts))


def load(table):
    """Layouts by decoder and role: (selector, number of keys, number of data felts) to name and members."""
    layouts, rows = {}, []
    for line in table.strip().splitlines():
        if line.startswith(" "):
            rows[-1][1] += line
        elif line:
            rows.append([line.startswith("["), line])
    for is_head, row in rows:
        if is_head:
            layout = layouts.setdefault(tuple(row.strip("[]").split()), {})
            continue
        name, selector, counts, text = row.split(maxsplit=3)
        found = members(text)
        for count in map(int, counts.split("/")):
            keys = 1 + sum(width(kind) for _, kind in found[:count])
            data = sum(width(kind) for _, kind in found[count:])
            layout[(int(selector, 16), keys, data)] = (name, found)
    return layouts


LAYOUTS = load(TABLE)


def decode(decoder, role, keys, data):
    """The name and members of an event, or (None, None) where it fits no layout."""
    if not keys:
        return None, None
    for (table, roles), layout in LAYOUTS.items():
        if table != decoder or not fnmatch(role, roles):
            continue
        name, found = layout.get((keys[0], len(keys), len(data)), (None, None))
        if name:
            felts = iter(keys[1:] + data)
            try:
                return name, {member: read(kind, felts) for member, kind in found}
            except Unfit:
                return None, None
    return None, None
