//! The tokens of the seeded chain: mainnet's addresses and decimals, and one that no registry lists.

use starknet_types_core::felt::Felt;

/// A token of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Token {
    Eth,
    Strk,
    Usdc,
    Wbtc,
    Usdt,
    /// The staked Ether of the incident.
    WstEth,
    /// In no registry: its pool is untracked.
    Unlisted,
}

impl Token {
    /// The tokens the registry lists, in its order.
    pub(super) const LISTED: [Self; 6] =
        [Self::Eth, Self::Strk, Self::Usdc, Self::Wbtc, Self::Usdt, Self::WstEth];

    pub(super) fn is_listed(self) -> bool {
        self != Self::Unlisted
    }

    pub(super) fn address(self) -> Felt {
        const ETH: Felt = Felt::from_hex_unchecked(
            "0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7",
        );
        const STRK: Felt = Felt::from_hex_unchecked(
            "0x4718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d",
        );
        const USDC: Felt = Felt::from_hex_unchecked(
            "0x53c91253bc9682c04929ca02ed00b3e423f6710d2ee7e0d5ebb06f3ecf368a8",
        );
        const WBTC: Felt = Felt::from_hex_unchecked(
            "0x3fe2b97c1fd336e750087d68b9b867997fd64a2661ff3ca5a7c771641e8e7ac",
        );
        const USDT: Felt = Felt::from_hex_unchecked(
            "0x68f5c6a61780768455de69077e07e89787839bf8166decfbf92b645209c0fb8",
        );
        const WSTETH: Felt = Felt::from_hex_unchecked(
            "0x57912720381af14b0e5c87aa4718ed5e527eab60b3801ebf702ab09139e38b",
        );
        const UNLISTED: Felt = Felt::from_hex_unchecked(
            "0x70b5ec7a0dead0be90000000000000000000000000000000000000000000001",
        );
        match self {
            Self::Eth => ETH,
            Self::Strk => STRK,
            Self::Usdc => USDC,
            Self::Wbtc => WBTC,
            Self::Usdt => USDT,
            Self::WstEth => WSTETH,
            Self::Unlisted => UNLISTED,
        }
    }

    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Eth => "ETH",
            Self::Strk => "STRK",
            Self::Usdc => "USDC",
            Self::Wbtc => "WBTC",
            Self::Usdt => "USDT",
            Self::WstEth => "wstETH",
            Self::Unlisted => "0x70b5ec7a0dead0be90000000000000000000000000000000000000000000001",
        }
    }

    pub(super) fn decimals(self) -> u32 {
        match self {
            Self::Eth | Self::Strk | Self::WstEth | Self::Unlisted => 18,
            Self::Usdc | Self::Usdt => 6,
            Self::Wbtc => 8,
        }
    }
}
