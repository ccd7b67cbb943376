//! A fresh database, rows in it, and a server on top.

mod client;
mod rows;
mod world;

pub(crate) use client::{Socket, code_of};
pub(crate) use rows::{
    absent, activity, allocation, anomaly, block, event, felt, market, pool, price, score,
};
pub(crate) use world::{OPEN, World};
