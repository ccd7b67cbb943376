//! Log lines and metrics.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::ProgressBar;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What is logged by default. A WebSocket that is given up complains of each notice that nobody takes.
const QUIETLY: &str = "info,sqlx=warn,async_nats=warn,starknet_tokio_tungstenite=error";

/// Time between two upkeeps of the metrics.
const UPKEEP: Duration = Duration::from_secs(5);

static BAR: OnceLock<ProgressBar> = OnceLock::new();
static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts logging to standard error and collecting metrics. `RUST_LOG` narrows or widens what is
/// logged.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIETLY));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(BesideBar);
    match format {
        LogFormat::Human => {
            lines.with_target(false).with_ansi(io::stderr().is_terminal()).init();
        }
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    if let Ok(handle) = PrometheusBuilder::new().install_recorder() {
        METRICS.get_or_init(|| handle);
    }
}

/// Folds what histograms have gathered, from time to time: otherwise they grow until somebody asks for
/// the metrics.
pub(crate) async fn upkeep() {
    loop {
        tokio::time::sleep(UPKEEP).await;
        if let Some(metrics) = METRICS.get() {
            metrics.run_upkeep();
        }
    }
}

/// The metrics in Prometheus's text format.
pub(crate) fn metrics_text() -> String {
    METRICS.get().map_or_else(String::new, PrometheusHandle::render)
}

/// Makes log lines appear above a progress bar instead of through it.
pub(crate) fn beside(bar: &ProgressBar) {
    BAR.get_or_init(|| bar.clone());
}

/// Writes whole lines to standard error, around the progress bar if there is one.
#[derive(Clone, Copy)]
struct BesideBar;

impl Write for BesideBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match BAR.get() {
            Some(bar) => bar.suspend(|| io::stderr().write_all(bytes))?,
            None => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for BesideBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
