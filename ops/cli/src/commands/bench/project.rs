//! `obsqra bench project`: a rebuild of the read models against a bare COPY of the rows that it gives; what an
//! entry costs in a long log against a short one; and `derive verify` against reading and decoding alone.

mod derive;
pub(super) mod filled;
mod rebuild;

use anyhow::{Result, bail};

use super::Size;
use super::frame::Report;

const LANES: [&str; 3] = ["rebuild", "derive", "growth"];

/// All lanes, or the one that is named.
pub(super) async fn measure(size: Size, only: Option<&str>) -> Result<Report> {
    if let Some(unknown) = only.filter(|lane| !LANES.contains(lane)) {
        bail!("there is no lane {unknown}: the lanes are {}", LANES.join(", "));
    }
    let wanted = |lane| only.is_none_or(|only| only == lane);
    let mut report = Report::new("project");
    if wanted("rebuild") {
        rebuild::measure(&mut report, size).await?;
    }
    if wanted("derive") {
        derive::measure(&mut report, size).await?;
    }
    if wanted("growth") {
        rebuild::growth(&mut report, size).await?;
    }
    Ok(report)
}
