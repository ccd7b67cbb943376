//! The follower over a real database and a node that misbehaves: nothing is missing, nothing is twice, and
//! where it stops it names node and block.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod attest;
mod children;
mod completeness;
mod faults;
mod lane;
mod leases;
mod reorgs;
mod sources;
mod support;
mod widen;
