//! Blocks of the node's chains, whatever they come from: drafts, sealing, encoding, and what is served.

pub(crate) mod block;
pub(crate) mod encode;
pub(crate) mod felts;
pub(crate) mod ledger;
pub(crate) mod producer;
pub(crate) mod replaced;
pub(crate) mod seal;
pub(crate) mod served;
pub(crate) mod store;
