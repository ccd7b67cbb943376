//! Follows a chain into the log: fetches blocks from a node, checks that they link, keeps the watched
//! events and appends them.
//!
//! What to do next is decided by [`planner`], which is pure; [`follower`] does it. Blocks are applied
//! in height order only. Nothing here decodes events: the chain lane holds them as the chain has them.

pub mod attest;
pub mod completeness;
pub mod encode;
pub mod follower;
pub mod pipeline;
pub mod planner;
pub mod progress;
pub mod source;
pub mod watching;

mod children;
mod error;
mod watched;

pub use error::IndexError;
pub use follower::{Feed, Follower, FollowerOptions, watch_request};
pub use progress::Progress;
