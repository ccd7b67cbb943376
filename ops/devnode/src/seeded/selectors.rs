//! Selectors of the events the generator writes: Keccak-256 of the event's name, cut to 250 bits (a test
//! computes each again from its name).

use starknet_types_core::felt::Felt;

/// Declares selectors and, for the test, the list of their names.
macro_rules! selectors {
    ($($constant:ident $name:literal $hex:literal),+ $(,)?) => {
        $(pub(super) const $constant: Felt = Felt::from_hex_unchecked($hex);)+

        #[cfg(test)]
        const ALL: &[(&str, Felt)] = &[$(($name, $constant)),+];
    };
}

selectors! {
    NEW_RESERVE "NewReserve" "0x3d3ae916d7df55e66f18fa2bbcc98ae398b3e9b93f72b77a352a526db72ae54",
    ACCUMULATORS_SYNC "AccumulatorsSync" "0x30c296ae369716818de77cb5b71ce9cda7cc2c0e8456f474e0abb1ae8d017da",
    INTEREST_RATES_SYNC "InterestRatesSync" "0xa2fb82b5656725dad81c7112b2c4ef0119096677c3c0fd82632d0a74f07666",
    DEPOSIT "Deposit" "0x9149d2123147c5f43d258257fef0b7b969db78269369ebcf5ebb9eef8592f2",
    WITHDRAWAL "Withdrawal" "0x2eed7e29b3502a726faf503ac4316b7101f3da813654e8df02c13449e03da8",
    BORROWING "Borrowing" "0xfa3f9acdb7b24dcf6d40d77ff2f87a87bca64a830a2169aebc9173db23ff41",
    REPAYMENT "Repayment" "0x7ae0ab7952bbfc33a72035e5eccec7c8816723421c0acb315bd4690a71d46e",
    LIQUIDATION "Liquidation" "0x238a25785a13ab3138feb8f8f517e5a21a377cc1ad47809e9fd5e76daf01df7",
    FLASH_LOAN "FlashLoan" "0x3218efe38000d1819eab9d0f52611e116d8eb59fd834c800ae94bddf5048fc3",
    RESERVE_FACTOR_UPDATE "ReserveFactorUpdate" "0x12a972615a5b8eceedc4aa745657497294c6ebe9a3dc1f15c6b65abbeb1472e",
    CONTRACT_UPGRADED "ContractUpgraded" "0x8248d60b6c95dac1563fa392e8dfc0cb968be73d80faedfe9a90e66811b45f",
    RAW_TRANSFER "RawTransfer" "0x307bed973ae39e0e1dfe22cae9d64886bd5f3502c9124b60137d6eab7605fa6",
    POOL_INITIALIZED "PoolInitialized" "0x25ccf80ee62b2ca9b97c76ccea317c7f450fd6efb6ed6ea56da21d7bb9da5f1",
    POSITION_UPDATED "PositionUpdated" "0x3a7adca3546c213ce791fabf3b04090c163e419c808c9830fb343a4a395946e",
    SWAPPED "Swapped" "0x157717768aca88da4ac4279765f09f4d0151823d573537fbbeb950cdbd9a870",
    POSITION_FEES_COLLECTED "PositionFeesCollected" "0x96982abd597114bdaa4a60612f87fabfcc7206aa12d61c50e7ba1e6c291100",
    PROTOCOL_FEES_PAID "ProtocolFeesPaid" "0x5dacf59794364ad1555bb3c9b2346afa81e57e5c19bb6bae0d22721c96c4e5",
    FEES_ACCUMULATED "FeesAccumulated" "0x237e5e0677822acfc9117ed0f7ba4810b2c6b539a2359e8d73f9025d56957aa",
    PAIR_CREATED "PairCreated" "0x19437bf1c5c394fc8509a2e38c9c72c152df0bac8be777d4fc8f959ac817189",
    MINT "Mint" "0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16",
    BURN "Burn" "0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744",
    SWAP "Swap" "0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab",
    SYNC "Sync" "0xe14a408baf7f453312eec68e9b7d728ec5337fbdf671f917ee8c80f3255232",
    POOL_CREATED "PoolCreated" "0x27dd458d081c22bd6e76f4dddbc87f11e477b7c5823b13f147d45f91ec098ee",
    INITIALIZE "Initialize" "0x3610d518bd9955fd50fcf99bc6982c4052fe12b8fa569e7452e678a4c657d59",
    COLLECT "Collect" "0x33b678d8846a558f55fc9257950e74c1aac32ee4c836c3a620d1066cc8d493f",
    COLLECT_PROTOCOL "CollectProtocol" "0x31621aea90f7dc00f1fa64cb22a458d4ff8e8b9d9a46ddff252fa251e081feb",
    CREATE_POOL "CreatePool" "0x1c92936ee86444fa9ee6b4ff49b7b0ce0bc65c0b8b366bfed2b69dd0a825db4",
    ADD_ASSET "AddAsset" "0x123cef9c4ff7f2e4efc9dfd68463c134bc3e2c632d014c1d55353f0ba8c646f",
    UPDATE_CONTEXT "UpdateContext" "0xe623beb06d0cfbe7f7877cf06290a77c803ca8fde4b54a68b241607c7cc8cc",
    MODIFY_POSITION "ModifyPosition" "0x3dfe6670b0f4e60f951b8a326e7467613b2470d81881ba2deb540262824f1e",
    LIQUIDATE_POSITION "LiquidatePosition" "0x3731bef77d4371d61d696ce475c60d128c4e2c7bba44336635a540d6b180e88",
    TRANSFER "Transfer" "0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9",
}

#[cfg(test)]
mod tests {
    use sha3::{Digest, Keccak256};
    use starknet_types_core::felt::Felt;

    #[test]
    fn selectors_are_the_hashes_of_their_names() {
        for (name, selector) in super::ALL {
            let mut digest: [u8; 32] = Keccak256::digest(name.as_bytes()).into();
            digest[0] &= 0x03;
            assert_eq!(Felt::from_bytes_be(&digest), *selector, "{name}");
        }
    }
}
