//! MIST.cash: a privacy pool, the chamber.
//!
//! The chamber has no event for a deposit or a withdrawal, only those of OpenZeppelin's ownable and
//! upgradeable components. What it holds is seen in the transfers of tokens to and from it. Address:
//! `mistcash/sdk` `config/src/contracts.ts` @015bfd5; layouts: its ABI there, which has no pause.

use obsqra_types::ContractAddress;

use super::layout::event_table;
use super::meaning::EventMeaning;
use super::members::Opaque;

event_table! {
    /// An event of MIST.cash's chamber.
    MistCashEvent
    OwnershipTransferred "0x1390fd803c110ac71730ece1decfc34eb1d0088e295d4f1b125dda1e0c5b9ff" keys [2] {
        previous_owner: ContractAddress, new_owner: ContractAddress,
    }
    OwnershipTransferStarted "0x264029018ff7e3c0552db60eb00dd04eddf84c86e9b06640ce3731b70dc0bd7" keys [2] {
        previous_owner: ContractAddress, new_owner: ContractAddress,
    }
    Upgraded "0x2db340e6c609371026731f47050d3976552c89b4fbb012941663841c59d1af3" {
        class_hash: Opaque,
    }
}

impl EventMeaning for MistCashEvent {}
