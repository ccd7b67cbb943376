//! Policies with limits that let everything pass: a test writes what it is about.

use obsqra_policy::{Policies, Policy};
use obsqra_types::ProtocolId;

/// The limits of a made-up policy; what is left alone lets everything pass.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) allow: Vec<String>,
    pub(crate) max_score: u8,
    pub(crate) max_volatility: u32,
    pub(crate) min_liquidity: u8,
    pub(crate) max_single: u32,
    pub(crate) caps: Vec<(String, u32)>,
    pub(crate) min_diversification: u8,
}

impl Made {
    /// Allows `p0`, `p1`, … and asks nothing of them.
    pub(crate) fn open(protocols: usize) -> Self {
        Self {
            allow: (0..protocols).map(name).collect(),
            max_score: 95,
            max_volatility: 10_000,
            min_liquidity: 0,
            max_single: 10_000,
            caps: Vec::new(),
            min_diversification: 1,
        }
    }

    /// The policy, through its file; `None` where the file is refused.
    pub(crate) fn try_policy(&self) -> Option<Policy> {
        let quoted: Vec<String> = self.allow.iter().map(|id| format!("{id:?}")).collect();
        let caps: Vec<String> = self
            .caps
            .iter()
            .map(|(id, bps)| format!(r#"{{"protocol":{id:?},"max_bps":{bps}}}"#))
            .collect();
        let file = format!(
            r#"{{"policies":"test","version":1,"rule":"allocation-v1","presets":[{{"id":"made",
            "allow":[{}],"max_score":{},"max_volatility_bps":{},"min_liquidity_class":{},
            "max_single_bps":{},"caps":[{}],"min_diversification":{}}}]}}"#,
            quoted.join(","),
            self.max_score,
            self.max_volatility,
            self.min_liquidity,
            self.max_single,
            caps.join(","),
            self.min_diversification,
        );
        let policies = Policies::parse(file.as_bytes()).ok()?;
        policies.iter().next().cloned()
    }

    pub(crate) fn policy(&self) -> Policy {
        self.try_policy().unwrap()
    }
}

pub(crate) fn name(index: usize) -> String {
    format!("p{index}")
}

pub(crate) fn id(name: &str) -> ProtocolId {
    ProtocolId::new(name).unwrap()
}
