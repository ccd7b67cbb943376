//! Webhooks: facts of the log, signed and sent to where an operator wants them, as Standard Webhooks says
//! (<https://www.standardwebhooks.com>).
//!
//! What is sent may be sent twice: the receiver tells by the id. Where it is sent is vetted at the moment of the
//! connection.

mod address;
mod client;
mod schedule;
mod signature;

pub use address::is_global;
pub use client::{
    Answer, Attempt, Deliverer, Endpoint, EndpointError, Found, Lookup, Outgoing, Reach,
    system_lookup,
};
pub use schedule::{MAX_ATTEMPTS, wait_after};
pub use signature::{SecretError, SigningSecret, signatures};
