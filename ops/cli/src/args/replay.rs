//! The options of `obsqra replay`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use obsqra_bus::ReplayName;
use obsqra_events::Kind;
use obsqra_types::{BlockNumber, ProtocolId, Seq, UnixSeconds};
use obsqra_workers::replay::{Pace, Selection};

/// Slowest and fastest speed.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

/// Which entries, and where to. All filters have to hold.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// First position of the log.
    #[arg(long, default_value_t = 1, value_name = "SEQ")]
    from_seq: u64,

    /// Last position, inclusive [default: what is given with --known-at, else the end of the log].
    #[arg(long, value_name = "SEQ")]
    to_seq: Option<u64>,

    /// Entries of blocks from this height on; a derived fact is of the block that it is as of.
    #[arg(long, value_name = "HEIGHT")]
    from_block: Option<u64>,

    /// Entries of blocks up to this height, inclusive.
    #[arg(long, value_name = "HEIGHT")]
    to_block: Option<u64>,

    /// Entries of blocks from this time of the chain on (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = chain_time)]
    since: Option<UnixSeconds>,

    /// Entries of blocks before this time of the chain (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = chain_time)]
    until: Option<UnixSeconds>,

    /// Entries of a kind, such as chain.event. May be repeated.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<Kind>,

    /// Events of a protocol's contracts, and what was derived about it. May be repeated.
    #[arg(long, value_name = "ID")]
    protocol: Vec<ProtocolId>,

    /// Only what is of the canonical chain up to this height.
    #[arg(long, value_name = "HEIGHT")]
    as_of: Option<u64>,

    /// Only what is of the canonical chain as this position of the log knew it.
    #[arg(long, value_name = "SEQ")]
    known_at: Option<u64>,

    /// How entries are written.
    #[arg(long, value_name = "FORMAT", default_value = "ndjson")]
    pub(crate) format: Format,

    /// File to write [default: standard output].
    #[arg(long, value_name = "FILE", required_if_eq("format", "parquet"))]
    pub(crate) out: Option<PathBuf>,

    /// Publish on obsqra.replay.NAME.> of the message bus instead.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["format", "out"])]
    pub(crate) to_subject: Option<ReplayName>,

    /// Seconds of the chain in one of ours, such as 60x [default: as fast as it is taken].
    #[arg(long, value_name = "SPEED", requires = "to_subject", value_parser = speed)]
    speed: Option<f64>,
}

/// How entries are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A JSON object a line, events decoded.
    Ndjson,
    /// A CBOR sequence.
    Cbor,
    /// A Parquet file, which needs --out.
    Parquet,
}

impl ReplayArgs {
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            from: Seq(self.from_seq),
            to: self.to_seq.map(Seq),
            from_block: self.from_block.map(BlockNumber),
            to_block: self.to_block.map(BlockNumber),
            since: self.since,
            until: self.until,
            kinds: self.kind.iter().copied().collect(),
            protocols: self.protocol.iter().cloned().collect(),
            as_of: self.as_of.map(BlockNumber),
            known_at: self.known_at.map(Seq),
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        self.speed.map_or(Pace::Full, Pace::Times)
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.into_iter().map(Kind::name).collect();
        format!("the kinds are {}", names.join(", "))
    })
}

/// Blocks have whole seconds: what is asked of a part of one holds from the next on.
fn chain_time(text: &str) -> Result<UnixSeconds, String> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|error| format!("{error}; expected a time such as 2026-01-31T12:00:00Z"))?
        .with_timezone(&Utc);
    let begun = time.timestamp().saturating_add(i64::from(time.timestamp_subsec_nanos() > 0));
    u64::try_from(begun).map(UnixSeconds).map_err(|_| "no chain is older than 1970".into())
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse().ok();
    number.filter(|speed| SPEEDS.contains(speed)).ok_or_else(|| {
        format!("give a number from {}x to {}x, such as 60x", SPEEDS.start(), SPEEDS.end())
    })
}

#[cfg(test)]
mod tests {
    use super::{chain_time, kind, speed};
    use obsqra_types::UnixSeconds;

    #[test]
    fn times_are_rfc_3339_and_round_up() {
        for (text, seconds) in [
            ("1970-01-01T00:00:10Z", 10),
            ("1970-01-01T01:00:10+01:00", 10),
            ("1970-01-01T00:00:10.5Z", 11),
        ] {
            assert_eq!(chain_time(text), Ok(UnixSeconds(seconds)), "{text}");
        }
        for bad in ["", "10", "1970-01-01", "1970-01-01T00:00:10", "1969-12-31T23:59:58Z"] {
            assert!(chain_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn speeds_and_kinds_are_checked() {
        assert_eq!(speed("60x"), speed("60"));
        assert!(speed("0.5x").is_ok());
        for bad in ["", "x", "0x", "-1x", "NaNx", "infx", "1e9x", "60xx"] {
            assert!(speed(bad).is_err(), "{bad}");
        }
        assert!(kind("chain.event").is_ok());
        assert!(kind("event").is_err_and(|said| said.contains("chain.event, ")));
    }
}
