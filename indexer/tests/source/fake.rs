//! A node of a few made-up blocks in any edition of the specification, over HTTP and WebSocket,
//! that does what a test tells it.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use obsqra_indexer::planner::BlockId;
use obsqra_types::{BlockHash, BlockNumber, ChainId, Felt};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

/// What a contract of the made-up chain is called.
pub(crate) const CONTRACT: u64 = 0xc0;

pub(crate) struct FakeNode {
    pub(crate) url: String,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

struct Shared {
    script: Mutex<Script>,
    words: broadcast::Sender<Word>,
    subscriptions: watch::Sender<u64>,
}

/// What the node says and does.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) chain: String,
    pub(crate) spec: String,
    pub(crate) blocks: Vec<FakeBlock>,
    /// The newest block accepted on L1.
    pub(crate) final_height: Option<u64>,
    /// How a list of events ends.
    pub(crate) last_token: Token,
    /// Events on a page at most; more are refused.
    pub(crate) page: u64,
    /// Goes wrong with each call of the method.
    pub(crate) trouble: Option<(&'static str, Trouble)>,
    pub(crate) socket: SocketMode,
    /// The methods called so far.
    pub(crate) calls: Vec<String>,
}

/// A block; its transaction emits one event for each contract.
#[derive(Clone, Debug)]
pub(crate) struct FakeBlock {
    pub(crate) hash: u64,
    pub(crate) contracts: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    Absent,
    Null,
    Empty,
    Circle,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Garbage,
    NotThere,
    Hang,
    TooMany {
        retry_after: u64,
    },
    /// An error of JSON-RPC.
    Error(i64, &'static str),
    /// The chain is replaced from this height on after the answer.
    ThenReorg(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SocketMode {
    Refused,
    NoMethod,
    ClosesWhenAsked,
    Works,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    Head(u64),
    Reorg,
    Drop,
}

pub(crate) fn hex(value: u64) -> String {
    format!("{value:#x}")
}

impl FakeNode {
    /// A node of a chain with blocks 0 to `blocks - 1`, the last of them not final.
    pub(crate) async fn start(blocks: u64) -> Self {
        let script = Script {
            chain: "OBSQRA_TEST".to_owned(),
            spec: "0.10.0".to_owned(),
            blocks: (0..blocks)
                .map(|n| FakeBlock { hash: 0xb000 + n, contracts: vec![CONTRACT] })
                .collect(),
            final_height: blocks.checked_sub(2),
            last_token: Token::Absent,
            page: 1_000,
            trouble: None,
            socket: SocketMode::Refused,
            calls: Vec::new(),
        };
        let (words, _) = broadcast::channel(64);
        let (subscriptions, _) = watch::channel(0);
        let shared = Arc::new(Shared { script: Mutex::new(script), words, subscriptions });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/v1/0123456789abcdef", listener.local_addr().unwrap());
        let routes = get(upgrade).post(answer);
        let router = Router::new().route("/v1/{key}", routes).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, _server: AbortOnDropHandle::new(server) }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }

    pub(crate) fn trouble(&self, method: &'static str, trouble: Trouble) {
        self.script().trouble = Some((method, trouble));
    }

    pub(crate) fn calls_of(&self, method: &str) -> usize {
        self.script().calls.iter().filter(|call| *call == method).count()
    }

    /// Says something to all who are subscribed.
    pub(crate) fn say(&self, word: Word) {
        self.shared.words.send(word).expect("somebody is subscribed");
    }

    /// Waits for so many subscriptions since the start.
    pub(crate) async fn subscribed(&self, count: u64) {
        let mut seen = self.shared.subscriptions.subscribe();
        tokio::time::timeout(crate::PATIENCE, seen.wait_for(|seen| *seen >= count))
            .await
            .expect("it subscribes")
            .unwrap();
    }
}

impl Script {
    pub(crate) fn id(&self, number: u64) -> BlockId {
        let hash = self.blocks[usize::try_from(number).unwrap()].hash;
        BlockId { number: BlockNumber(number), hash: BlockHash(Felt::from(hash)) }
    }

    pub(crate) fn head(&self) -> BlockId {
        self.id(self.blocks.len() as u64 - 1)
    }

    fn call(&self, method: &str, params: &Value) -> Result<Value, Value> {
        match method {
            "starknet_chainId" => {
                Ok(json!(ChainId::new(self.chain.clone()).unwrap().to_felt().to_hex_string()))
            }
            "starknet_specVersion" => Ok(json!(self.spec)),
            "starknet_blockHashAndNumber" => {
                let number = self.blocks.len().checked_sub(1).ok_or_else(|| error(32))?;
                Ok(json!({ "block_hash": hex(self.blocks[number].hash), "block_number": number }))
            }
            "starknet_getBlockWithTxHashes" => Ok(self.block(self.named(&params[0])?)),
            "starknet_getBlockWithReceipts" => Ok(self.block(self.named(&params[0])?)),
            "starknet_getEvents" => self.events(&params[0]),
            _ => Err(json!({ "code": -32_601, "message": "Method not found" })),
        }
    }

    fn named(&self, id: &Value) -> Result<usize, Value> {
        let found = match (id.as_str(), &id["block_number"], &id["block_hash"]) {
            (Some("l1_accepted"), ..) if self.spec != "0.8.1" => self.final_height,
            (Some(tag), ..) => panic!("asked for {tag}"),
            (None, number, _) if number.is_u64() => number.as_u64(),
            (None, _, hash) => {
                let found = self.blocks.iter().position(|block| json!(hex(block.hash)) == *hash);
                found.map(|number| number as u64)
            }
        };
        let found = found.and_then(|number| usize::try_from(number).ok());
        found.filter(|number| *number < self.blocks.len()).ok_or_else(|| error(24))
    }

    /// A block as this edition has it.
    fn block(&self, number: usize) -> Value {
        let block = &self.blocks[number];
        let parent = number.checked_sub(1).map_or(0, |below| self.blocks[below].hash);
        let is_final = self.final_height.is_some_and(|height| number as u64 <= height);
        let events: Vec<Value> = block
            .contracts
            .iter()
            .map(|contract| json!({ "from_address": hex(*contract), "keys": ["0x1"], "data": [] }))
            .collect();
        let receipt = json!({ "type": "INVOKE", "transaction_hash": "0x7", "events": events });
        let price = json!({ "price_in_fri": "0x1", "price_in_wei": "0x2" });
        let mut body = json!({
            "status": if is_final { "ACCEPTED_ON_L1" } else { "ACCEPTED_ON_L2" },
            "block_hash": hex(block.hash), "parent_hash": hex(parent), "block_number": number,
            "new_root": "0x5", "timestamp": 1_700_000_000 + number, "sequencer_address": "0x6",
            "starknet_version": "0.14.0", "l1_da_mode": "BLOB",
            "l1_gas_price": price, "l1_data_gas_price": price, "l2_gas_price": price,
            "transactions": [{ "transaction": { "type": "INVOKE" }, "receipt": receipt }],
        });
        if self.spec.starts_with("0.10") {
            let members = body.as_object_mut().unwrap();
            members.insert("transaction_count".into(), json!(1));
            members.insert("event_count".into(), json!(block.contracts.len()));
            members.insert("state_diff_length".into(), json!(1));
            for name in ["transaction", "event", "receipt", "state_diff"] {
                members.insert(format!("{name}_commitment"), json!("0x9"));
            }
        }
        body
    }

    fn events(&self, filter: &Value) -> Result<Value, Value> {
        let size = filter["chunk_size"].as_u64().unwrap();
        if size > self.page {
            return Err(error(31));
        }
        let (from, to) = (self.named(&filter["from_block"])?, self.named(&filter["to_block"])?);
        let mut events = Vec::new();
        for number in from..=to {
            for contract in &self.blocks[number].contracts {
                if json!(hex(*contract)) == filter["address"] {
                    events.push(json!({
                        "from_address": hex(*contract), "keys": [], "data": [], "block_number": number,
                        "block_hash": hex(self.blocks[number].hash), "transaction_hash": "0x7",
                    }));
                }
            }
        }
        let start: usize = filter["continuation_token"].as_str().map_or(0, |t| t.parse().unwrap());
        let end = events.len().min(start + usize::try_from(size).unwrap());
        let mut page = json!({ "events": events[start..end] });
        let token = match self.last_token {
            Token::Circle => Some(json!(start.to_string())),
            _ if end < events.len() => Some(json!(end.to_string())),
            Token::Absent => None,
            Token::Null => Some(Value::Null),
            Token::Empty => Some(json!("")),
        };
        if let Some(token) = token {
            page["continuation_token"] = token;
        }
        Ok(page)
    }

    /// Other blocks from a height on, as many.
    pub(crate) fn reorg(&mut self, from: u64) {
        for block in self.blocks.iter_mut().skip(usize::try_from(from).unwrap()) {
            block.hash += 0x1000;
        }
    }
}

fn error(code: i64) -> Value {
    json!({ "code": code, "message": "an error of the specification" })
}

async fn answer(State(shared): State<Arc<Shared>>, request: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&request).unwrap();
    let method = request["method"].as_str().unwrap().to_owned();
    let (answer, trouble) = {
        let mut script = shared.script.lock().unwrap();
        script.calls.push(method.clone());
        let answer = script.call(&method, &request["params"]);
        let trouble = script.trouble.filter(|(wanted, _)| *wanted == method || *wanted == "*");
        if let Some((_, Trouble::ThenReorg(from))) = trouble {
            script.reorg(from);
            script.trouble = None;
        }
        (answer, trouble.map(|(_, trouble)| trouble))
    };
    let failed = |error: Value| json!({ "jsonrpc": "2.0", "id": 1, "error": error }).to_string();
    match trouble {
        None | Some(Trouble::ThenReorg(_)) => match answer {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string(),
            Err(error) => failed(error),
        }
        .into_response(),
        Some(Trouble::Garbage) => "<html>no node</html>".into_response(),
        Some(Trouble::NotThere) => failed(error(24)).into_response(),
        Some(Trouble::Error(code, message)) => {
            failed(json!({ "code": code, "message": message })).into_response()
        }
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::TooMany { retry_after }) => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, retry_after.to_string())])
                .into_response()
        }
    }
}

async fn upgrade(State(shared): State<Arc<Shared>>, socket: WebSocketUpgrade) -> Response {
    let mode = shared.script.lock().unwrap().socket;
    if mode == SocketMode::Refused {
        return StatusCode::NOT_FOUND.into_response();
    }
    socket.on_upgrade(move |socket| async move {
        // A client that goes away ends the conversation, which is no failure.
        converse(&shared, mode, socket).await;
    })
}

async fn converse(shared: &Shared, mode: SocketMode, mut socket: WebSocket) -> Option<()> {
    let request: Value = loop {
        if let Message::Text(text) = socket.recv().await?.ok()? {
            break serde_json::from_str(&text).unwrap();
        }
    };
    assert_eq!(request["method"], "starknet_subscribeNewHeads");
    let mut answer = json!({ "jsonrpc": "2.0", "id": request["id"] });
    match mode {
        SocketMode::Refused | SocketMode::ClosesWhenAsked => return None,
        SocketMode::NoMethod => {
            answer["error"] = json!({ "code": -32_601, "message": "Method not found" });
        }
        SocketMode::Works => answer["result"] = json!("42"),
    }
    // Before the answer, so that who waits for the subscription can speak to it.
    let mut words = shared.words.subscribe();
    socket.send(Message::Text(answer.to_string().into())).await.ok()?;
    shared.subscriptions.send_modify(|count| *count += 1);
    loop {
        let word = tokio::select! {
            word = words.recv() => word.ok()?,
            // Pings and the end of the conversation.
            message = socket.recv() => {
                message?.ok()?;
                continue;
            }
        };
        let (method, result) = match word {
            Word::Drop => return None,
            Word::Head(number) => ("starknet_subscriptionNewHeads", head(number)),
            Word::Reorg => (
                "starknet_subscriptionReorg",
                json!({ "starting_block_hash": "0x1", "starting_block_number": 1,
                        "ending_block_hash": "0x2", "ending_block_number": 2 }),
            ),
        };
        let params = json!({ "subscription_id": "42", "result": result });
        let notice = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        socket.send(Message::Text(notice.to_string().into())).await.ok()?;
    }
}

fn head(number: u64) -> Value {
    let price = json!({ "price_in_fri": "0x1", "price_in_wei": "0x2" });
    json!({
        "block_hash": hex(0xb000 + number), "parent_hash": "0x1", "block_number": number,
        "new_root": "0x5", "timestamp": 1, "sequencer_address": "0x6", "starknet_version": "0.14.0",
        "l1_da_mode": "BLOB", "l1_gas_price": price, "l1_data_gas_price": price,
        "l2_gas_price": price, "event_count": 0,
    })
}
