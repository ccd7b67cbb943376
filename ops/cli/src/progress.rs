//! Progress, for whoever watches: a line that redraws itself on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use obsqra_indexer::Progress;
use obsqra_types::Seq;
use tokio::sync::watch;

use crate::telemetry;

/// Time between two redraws.
const REDRAW: Duration = Duration::from_millis(500);
/// Time between two plain lines.
const PLAIN: Duration = Duration::from_secs(10);

/// Shows how a follower comes along, until it ends.
pub(crate) async fn show_following(mut progress: watch::Receiver<Progress>) {
    let terminal = std::io::stderr().is_terminal();
    let bar = if terminal { spinner() } else { ProgressBar::hidden() };
    telemetry::beside(&bar);
    let mut rates = Rates::default();
    let mut told = Instant::now();
    let mut arrived = false;
    loop {
        tokio::time::sleep(REDRAW).await;
        if progress.has_changed().is_err() {
            bar.finish_and_clear();
            return;
        }
        let now = *progress.borrow_and_update();
        rates.take(now);
        if terminal {
            bar.set_message(line(&now, &rates));
            bar.tick();
        } else if told.elapsed() >= PLAIN || !arrived && !behind(&now) {
            arrived |= !behind(&now);
            told = Instant::now();
            tracing::info!("{}", line(&now, &rates));
        }
    }
}

fn behind(progress: &Progress) -> bool {
    progress.lag().is_none_or(|lag| lag > 0)
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn line(now: &Progress, rates: &Rates) -> String {
    let (Some(tip), Some(head)) = (now.tip, now.node_head) else {
        return "waiting for the first block".into();
    };
    if head < tip {
        return format!("block {tip} · waiting for the node, which is at block {head}");
    }
    let lag = head.0.saturating_sub(tip.0);
    let left = match (lag, rates.blocks) {
        (0, _) => "at the head".to_owned(),
        (_, rate) if rate < 0.1 => format!("{lag} behind"),
        (lag, rate) => {
            // A rough figure for people: precision beyond seconds says nothing.
            let seconds = (lag as f64 / rate).round() as u64;
            format!("{lag} behind, {} left", readable(Duration::from_secs(seconds)))
        }
    };
    format!(
        "block {tip} of {head} · {:.0} blocks/s · {:.0} events/s · {left}",
        rates.blocks, rates.events
    )
}

fn readable(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Rates over the last few seconds.
#[derive(Default)]
struct Rates {
    samples: std::collections::VecDeque<(Instant, u64, u64)>,
    blocks: f64,
    events: f64,
}

impl Rates {
    const SAMPLES: usize = 10;

    fn take(&mut self, now: Progress) {
        self.samples.push_back((Instant::now(), now.blocks, now.events));
        if self.samples.len() > Self::SAMPLES {
            self.samples.pop_front();
        }
        if let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) {
            let seconds = last.0.duration_since(first.0).as_secs_f64().max(0.001);
            self.blocks = (last.1 - first.1) as f64 / seconds;
            self.events = (last.2 - first.2) as f64 / seconds;
        }
    }
}

/// Shows how a pass over the log comes along.
pub(crate) struct Pass {
    bar: ProgressBar,
}

impl Pass {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let template = "{bar:30} {pos} of {len} · {per_sec} · {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    pub(crate) fn at(&self, done: Seq, of: Seq) {
        self.bar.set_length(of.0);
        self.bar.set_position(done.0);
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
