//! `obsqra bench replay`: replaying the log against only reading it.

mod parquet;

use anyhow::{Result, bail};

use super::Size;
use super::frame::Report;

const LANES: [&str; 1] = ["parquet"];

/// All lanes, or the one that is named.
pub(super) async fn measure(size: Size, only: Option<&str>) -> Result<Report> {
    if let Some(unknown) = only.filter(|lane| !LANES.contains(lane)) {
        bail!("there is no lane {unknown}: the lanes are {}", LANES.join(", "));
    }
    let wanted = |lane| only.is_none_or(|only| only == lane);
    let mut report = Report::new("replay");
    if wanted("parquet") {
        parquet::measure(&mut report, size).await?;
    }
    Ok(report)
}
