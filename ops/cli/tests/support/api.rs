//! A GraphQL client.

use serde_json::{Value, json};

const EVENT: &str = "seq protocol name contract keys data decoded blockNumber blockHash \
     transactionHash eventIndex timestamp";

/// The figures of a market, those of lending markets and of pools alike.
pub(crate) const FIGURES: [&str; 28] = [
    "utilizationBps",
    "turnoverBps",
    "volatilityBps",
    "volatility1dBps",
    "volatility30dBps",
    "liquidityClass",
    "priceUsdc",
    "tvlUsdc",
    "drawdownBps",
    "supplyApyBps",
    "openedAt",
    "borrowRate",
    "supplyRate",
    "supplied",
    "borrowed",
    "withdrawHeadroom",
    "exitShockBps",
    "suppliers",
    "top1Bps",
    "top5Bps",
    "hhiBps",
    "accumulatorExcessPpb",
    "volume24hUsdc",
    "fees24hUsdc",
    "depthUpUsdc",
    "depthDownUsdc",
    "oraclePriceUsd",
    "counted",
];

pub(crate) struct Api {
    http: reqwest::Client,
    url: String,
}

impl Api {
    /// `url` is what the server prints.
    pub(crate) fn new(url: &str) -> Self {
        Self { http: reqwest::Client::new(), url: url.to_owned() }
    }

    /// The answer's data; an error fails the test.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.answer(query, variables).await.expect("the server answers");
        assert!(answer.get("errors").is_none(), "{query}: {answer:#}");
        answer["data"].take()
    }

    /// The answer as it is.
    pub(crate) async fn answer(&self, query: &str, variables: Value) -> reqwest::Result<Value> {
        let body = json!({ "query": query, "variables": variables });
        self.http.post(&self.url).json(&body).send().await?.json().await
    }

    /// All nodes of a connection, page by page. `query` takes `$after` and has the connection as `page`.
    async fn all(&self, query: &str, variables: Value) -> Vec<Value> {
        let mut nodes = Vec::new();
        let mut variables = variables;
        loop {
            let mut page = self.ask(query, variables.clone()).await["page"].take();
            if let Value::Array(more) = page["nodes"].take() {
                nodes.extend(more);
            }
            if page["pageInfo"]["hasNextPage"] != json!(true) {
                return nodes;
            }
            variables["after"] = page["pageInfo"]["endCursor"].take();
        }
    }

    /// All events, oldest first.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let query = format!(
            "query($after: String) {{ page: events(first: 100, after: $after) {{ \
             pageInfo {{ hasNextPage endCursor }} nodes {{ {EVENT} }} }} }}"
        );
        self.all(&query, json!({})).await
    }

    /// All scores of a protocol, oldest first.
    pub(crate) async fn scores(&self, protocol: &str) -> Vec<Value> {
        let query = "query($protocol: String!, $after: String) {
            page: riskHistory(protocol: $protocol, first: 100, after: $after) {
                pageInfo { hasNextPage endCursor }
                nodes {
                    protocol formula score blockNumber blockHash seq
                    components { utilization volatility liquidity audit age }
                    inputs { utilizationBps volatilityBps liquidityClass auditScore ageDays }
                    causes { seq fromSeq toSeq selector count digest }
                }
            }
        }";
        self.all(query, json!({ "protocol": protocol })).await
    }

    /// All that wallets did, oldest first.
    pub(crate) async fn activity(&self) -> Vec<Value> {
        let query = "query($after: String) { page: activity(first: 100, after: $after) {
            pageInfo { hasNextPage endCursor }
            nodes { protocol kind }
        } }";
        self.all(query, json!({})).await
    }

    /// All anomalies, oldest first.
    pub(crate) async fn anomalies(&self) -> Vec<Value> {
        let query = "query($after: String) { page: anomalies(first: 100, after: $after) {
            pageInfo { hasNextPage endCursor }
            nodes { protocol market rule severity lasts blockNumber }
        } }";
        self.all(query, json!({})).await
    }

    /// A protocol as of a block.
    pub(crate) async fn protocol(&self, id: &str, at_block: u64) -> Value {
        let figures = FIGURES.join(" ");
        let query = format!(
            "query($id: String!, $at: Int) {{ protocol(id: $id, atBlock: $at) {{
            id name
            metrics {{ market asset assetAddress {figures} blockNumber absent {{ field reason }} }}
            risk {{ score blockNumber }}
            absent {{ field reason }}
        }} }}"
        );
        self.ask(&query, json!({ "id": id, "at": at_block })).await["protocol"].take()
    }

    pub(crate) async fn head(&self) -> Value {
        let query = "{ head { seq blockNumber blockHash finality lagBlocks chainId } }";
        self.ask(query, json!({})).await["head"].take()
    }
}

/// The nodes of a list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// An integer as a decimal number with that many places.
pub(crate) fn with_places(digits: &str, places: usize) -> String {
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    format!("{whole}.{fraction}")
}
