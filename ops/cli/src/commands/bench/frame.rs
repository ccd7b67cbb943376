//! What a bench is made of: figures with their samples, bars, the machine, and the two ways to print them.
//!
//! A figure is the median of its samples. The first round of each lane is a warm-up and is left out.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// Rounds that count, where a round is short enough: a median of fewer says little.
pub(super) const ROUNDS: usize = 5;

/// A round of lanes that are measured in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Round {
    WarmUp,
    Counted,
}

/// A warm-up, then so many rounds that count.
pub(super) fn rounds(counted: usize) -> impl Iterator<Item = Round> {
    std::iter::once(Round::WarmUp).chain(std::iter::repeat_n(Round::Counted, counted))
}

/// One measured quantity.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    name: &'static str,
    what: String,
    unit: &'static str,
    samples: Vec<f64>,
}

impl Figure {
    pub(super) fn new(name: &'static str, unit: &'static str, what: impl Into<String>) -> Self {
        Self { name, what: what.into(), unit, samples: Vec::new() }
    }

    /// With its only sample, for what is no matter of chance.
    pub(super) fn single(
        name: &'static str,
        unit: &'static str,
        what: impl Into<String>,
        value: f64,
    ) -> Self {
        Self { samples: vec![value], ..Self::new(name, unit, what) }
    }

    pub(super) fn take(&mut self, round: Round, value: f64) {
        if round == Round::Counted {
            self.samples.push(value);
        }
    }

    /// The median; of an even number the higher of the middle two. NaN without samples, which JSON shows
    /// as null.
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Which way is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Better {
    Higher,
    Lower,
}

impl Better {
    fn name(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

/// A value that is to be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) bar: f64,
    pub(super) better: Better,
}

impl Bar {
    fn met(&self) -> bool {
        match self.better {
            Better::Higher => self.value >= self.bar,
            Better::Lower => self.value <= self.bar,
        }
    }
}

/// What a bench found.
#[derive(Debug)]
pub(super) struct Report {
    name: &'static str,
    machine: Value,
    figures: Vec<Figure>,
    bars: Vec<Bar>,
}

impl Report {
    /// Nothing measured yet; the machine is looked at now, before the bench loads it.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, machine: machine(), figures: Vec::new(), bars: Vec::new() }
    }

    pub(super) fn figures(&mut self, figures: impl IntoIterator<Item = Figure>) {
        self.figures.extend(figures);
    }

    pub(super) fn bar(&mut self, bar: Bar) {
        self.bars.push(bar);
    }

    pub(super) fn json(&self) -> Value {
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|figure| {
                let shown = json!({
                    "what": figure.what,
                    "unit": figure.unit,
                    "value": figure.median(),
                    "samples": figure.samples,
                });
                (figure.name.to_owned(), shown)
            })
            .collect();
        let bars: Vec<Value> = self
            .bars
            .iter()
            .map(|bar| {
                json!({
                    "name": bar.name,
                    "value": bar.value,
                    "bar": bar.bar,
                    "better": bar.better.name(),
                    "met": bar.met(),
                })
            })
            .collect();
        json!({ "name": self.name, "machine": self.machine, "figures": figures, "bars": bars })
    }

    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        let rows = self.figures.iter().map(|figure| {
            let value = format!("{} {}", number(figure.median()), figure.unit);
            (figure.what.clone(), value, spread(&figure.samples))
        });
        let bars = self.bars.iter().map(|bar| {
            let wanted = if bar.better == Better::Higher { "at least" } else { "at most" };
            let met = if bar.met() { "met" } else { "missed" };
            (bar.name.to_owned(), number(bar.value), format!("{wanted} {}: {met}", number(bar.bar)))
        });
        let rows: Vec<_> = rows.chain(bars).collect();
        let width = |column: fn(&(String, String, String)) -> &String| {
            rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
        };
        let (what, value) = (width(|row| &row.0), width(|row| &row.1));
        for row in &rows {
            // Writing to a string cannot fail.
            writeln!(text, "{:what$}  {:>value$}  {}", row.0, row.1, row.2).ok();
        }
        writeln!(text, "machine: {}", described(&self.machine)).ok();
        text
    }
}

/// Whole numbers where they are large, three digits after the point where they are small.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn spread(samples: &[f64]) -> String {
    let lowest = samples.iter().copied().min_by(f64::total_cmp);
    let highest = samples.iter().copied().max_by(f64::total_cmp);
    match (samples.len(), lowest, highest) {
        (0, ..) | (_, None, _) | (_, _, None) => "not measured".into(),
        (1, ..) => "once".into(),
        (count, Some(lowest), Some(highest)) => {
            format!("median of {count}, {} to {}", number(lowest), number(highest))
        }
    }
}

fn machine() -> Value {
    json!({
        "cpu": line_of("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map(std::num::NonZero::get).ok(),
        "memory": line_of("/proc/meminfo", "MemTotal"),
        "kernel": whole("/proc/sys/kernel/osrelease"),
        "load_before": whole("/proc/loadavg"),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn described(machine: &Value) -> String {
    let entries = machine.as_object().into_iter().flatten();
    let shown = entries.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name} {text}"),
        None => format!("{name} {value}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// What stands after the colon of the first line that begins so.
fn line_of(file: &str, label: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(label))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn whole(file: &str) -> Option<String> {
    std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Bar, Better, Figure, Report, Round, rounds};

    fn figure(samples: &[f64]) -> Figure {
        let mut figure = Figure::new("rate", "rows/s", "reading");
        samples.iter().for_each(|sample| figure.take(Round::Counted, *sample));
        figure
    }

    #[test]
    fn a_figure_is_the_median_of_what_counts() {
        for (samples, median) in
            [(vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 3.0)]
        {
            assert!((figure(&samples).median() - median).abs() < f64::EPSILON, "{samples:?}");
        }
        assert!(figure(&[]).median().is_nan());
        let mut warm = figure(&[1.0]);
        warm.take(Round::WarmUp, 100.0);
        assert!((warm.median() - 1.0).abs() < f64::EPSILON);
        assert_eq!(rounds(2).collect::<Vec<_>>(), [Round::WarmUp, Round::Counted, Round::Counted]);
    }

    #[test]
    fn a_bar_is_met_on_the_side_that_is_better() {
        for (better, value, met) in [
            (Better::Higher, 0.7, true),
            (Better::Higher, 0.69, false),
            (Better::Lower, 0.7, true),
            (Better::Lower, 0.71, false),
            (Better::Higher, f64::NAN, false),
            (Better::Lower, f64::NAN, false),
        ] {
            let bar = Bar { name: "b", value, bar: 0.7, better };
            assert_eq!(bar.met(), met, "{bar:?}");
        }
    }

    #[test]
    fn both_ways_of_printing_hold_every_figure_and_bar() {
        let mut report = Report::new("log");
        report
            .figures([figure(&[1.0, 2.0, 3.0]), Figure::single("size", "bytes", "payload", 330.0)]);
        report.bar(Bar { name: "ratio", value: 0.5, bar: 0.7, better: Better::Higher });
        let json = report.json();
        assert_eq!(json["name"], "log");
        assert!(json["machine"]["cores"].is_u64());
        assert_eq!(json["figures"]["rate"]["value"], 2.0);
        assert_eq!(json["figures"]["size"]["samples"], serde_json::json!([330.0]));
        let bar = serde_json::json!({
            "name": "ratio", "value": 0.5, "bar": 0.7, "better": "higher", "met": false,
        });
        assert_eq!(json["bars"], serde_json::json!([bar]));
        let table = report.table();
        for said in
            ["reading", "2.000 rows/s", "median of 3", "payload", "once", "at least 0.700: missed"]
        {
            assert!(table.contains(said), "{said}: {table}");
        }
    }
}
