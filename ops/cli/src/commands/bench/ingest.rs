//! `obsqra bench ingest`: blocks into the log against a bare binary COPY of the same rows, and what an event
//! costs in a long log against a short one.

mod blocks;
mod course;
mod growth;
mod inprocess;

use anyhow::{Result, bail};

use super::Size;
use super::frame::Report;

const LANES: [&str; 2] = ["inprocess", "growth"];

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
    if wanted("growth") {
        growth::measure(&mut report, size).await?;
    }
    Ok(report)
}
