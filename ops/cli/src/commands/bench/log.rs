//! `obsqra bench log`: verifying the log against only reading it, a deep reorganisation against appending as
//! many blocks, and the memory of a long backfill against that of a short one.

mod backfill;
mod reorg;
mod verify;

use anyhow::{Result, bail};

use super::Size;
use super::frame::Report;

const LANES: [&str; 3] = ["verify", "reorg", "backfill"];

/// All lanes, or the one that is named.
pub(super) async fn measure(size: Size, only: Option<&str>) -> Result<Report> {
    if let Some(unknown) = only.filter(|lane| !LANES.contains(lane)) {
        bail!("there is no lane {unknown}: the lanes are {}", LANES.join(", "));
    }
    let wanted = |lane| only.is_none_or(|only| only == lane);
    let mut report = Report::new("log");
    if wanted("verify") {
        verify::measure(&mut report, size).await?;
    }
    if wanted("reorg") {
        reorg::measure(&mut report, size).await?;
    }
    if wanted("backfill") {
        backfill::measure(&mut report, size).await?;
    }
    Ok(report)
}
