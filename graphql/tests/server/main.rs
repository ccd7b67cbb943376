//! The server over a real database: what it answers, what it refuses, and how it carries
//! subscriptions.

mod reads;
mod statements;
mod subscriptions;
mod support;
mod transport;
