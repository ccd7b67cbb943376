//! `obsqra bench ingest`: blocks into the log. In process, against a bare binary COPY of the same rows and against
//! bare hashing; from a node, against what both cores could do; how late a new block is; what an event costs in a
//! long log against a short one.

mod blocks;
mod check;
mod course;
mod growth;
mod inprocess;
mod latency;
mod node;

use anyhow::{Result, bail};

use super::Size;
use super::frame::Report;

const LANES: [&str; 5] = ["inprocess", "check", "rpc", "latency", "growth"];

/// All lanes, or the one that is named.
pub(super) async fn measure(size: Size, only: Option<&str>) -> Result<Report> {
    if let Some(unknown) = only.filter(|lane| !LANES.contains(lane)) {
        bail!("there is no lane {unknown}: the lanes are {}", LANES.join(", "));
    }
    let wanted = |lane| only.is_none_or(|only| only == lane);
    let mut report = Report::new("ingest");
    if wanted("inprocess") {
        inprocess::measure(&mut report, size).await?;
    }
    if wanted("check") {
        check::measure(&mut report, size).await?;
    }
    if wanted("rpc") {
        node::measure(&mut report, size).await?;
    }
    if wanted("latency") {
        latency::measure(&mut report, size).await?;
    }
    if wanted("growth") {
        growth::measure(&mut report, size).await?;
    }
    Ok(report)
}
