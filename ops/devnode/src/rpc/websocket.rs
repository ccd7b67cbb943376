//! JSON-RPC over a WebSocket: every method, and subscriptions to new heads.
//!
//! A connection has no queue of notices. It knows for each subscription what it told last and reads on from
//! the ledger when blocks come, so a slow client costs nothing but is dropped when it takes nothing for ten
//! seconds. Notices of a reorganisation go out before those of the blocks that replace.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use serde_json::{Value, json};

use super::answer::{Answer, Parts, error_answer, parts, result_answer};
use super::deliver::{GARBAGE, half_of, wait};
use super::error::RpcError;
use super::methods::find;
use super::params::{BlockId, Params, block_id};
use super::server::Endpoint;
use crate::chain::encode::{header, spelled};
use crate::chain::ledger::{Reorg, Served};
use crate::faults::{Fault, MAX_HANG_MILLIS, NEW_HEADS_NOTICE};

/// Most connections.
pub(crate) const MAX_WEBSOCKETS: usize = 64;

/// Most subscriptions of a connection.
const MAX_SUBSCRIPTIONS: usize = 16;

/// Most blocks below the head at which a subscription may begin.
const MAX_BLOCKS_BACK: u64 = 1_024;

/// Time for a client to take a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a connection until it ends or the node no longer serves.
pub(crate) async fn serve(socket: WebSocket, endpoint: Endpoint) {
    let mut heads = endpoint.server.heads.clone();
    let open = endpoint.open.clone();
    let mut connection =
        Connection { socket, endpoint, subscriptions: BTreeMap::new(), silent: false };
    loop {
        let step = tokio::select! {
            () = open.cancelled() => return,
            message = connection.socket.recv() => match message {
                Some(Ok(message)) => connection.receive(message).await,
                Some(Err(_)) | None => return,
            },
            changed = heads.changed() => match changed {
                Ok(()) => connection.announce().await,
                Err(_) => return,
            },
        };
        if step.is_break() {
            return;
        }
    }
}

struct Connection {
    socket: WebSocket,
    endpoint: Endpoint,
    subscriptions: BTreeMap<u64, Progress>,
    /// No notice goes out any more: a fault.
    silent: bool,
}

/// What a subscription was told.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Height of the next block to tell of.
    next: u64,
    /// Reorganisations it knows of.
    reorgs: u64,
}

/// What a subscription is to be told next.
enum Notice {
    Reorg(Reorg),
    Head(Arc<Served>),
}

/// `Break` ends the connection.
type Step = ControlFlow<()>;

impl Connection {
    async fn receive(&mut self, message: Message) -> Step {
        let request = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes.as_ref(),
            Message::Ping(_) | Message::Pong(_) => return Step::Continue(()),
            Message::Close(_) => return Step::Break(()),
        };
        let Ok(request) = serde_json::from_slice::<Value>(request) else {
            return self.send(error_answer(&Value::Null, &RpcError::PARSE_ERROR)).await;
        };
        match parts(&request) {
            Ok(call) if call.method == "starknet_subscribeNewHeads" => self.subscribe(call).await,
            Ok(call) if call.method == "starknet_unsubscribe" => {
                self.endpoint.server.calls.count(call.method);
                let result = self.unsubscribe(call.params);
                self.respond(call.id, result).await
            }
            _ => {
                let answer = self.endpoint.server.answer_value(&request);
                self.deliver(answer).await
            }
        }
    }

    async fn subscribe(&mut self, call: Parts<'_>) -> Step {
        self.endpoint.server.calls.count(call.method);
        match self.begin(call.params) {
            Ok((id, progress)) => {
                self.respond(call.id, Ok(json!(id.to_string()).to_string().into_bytes())).await?;
                // Only now, so that no notice overtakes the answer that gives its id.
                self.subscriptions.insert(id, progress);
                self.announce().await
            }
            Err(error) => self.respond(call.id, Err(error)).await,
        }
    }

    fn begin(&self, params: Option<&Value>) -> Result<(u64, Progress), RpcError> {
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let why = format!("a connection holds at most {MAX_SUBSCRIPTIONS} subscriptions");
            return Err(RpcError::invalid_request(why));
        }
        let server = &self.endpoint.server;
        let context = &server.context;
        let params = Params::read(params, &["block_id"])?;
        let from = match params.optional(0) {
            None => BlockId::Latest,
            Some(id) => match block_id(id, context.style.spec)? {
                BlockId::L1Accepted | BlockId::PreConfirmed => {
                    return Err(RpcError::invalid_params("a subscription begins at a block"));
                }
                id => id,
            },
        };
        // Taken before the block is looked up: a reorganisation in between is told once more.
        let reorgs = context.ledger.reorg_count();
        let next = find(&context.ledger, from)?.block.number;
        let head = context.ledger.head().ok_or(RpcError::NO_BLOCKS)?.number;
        if head.saturating_sub(next) > MAX_BLOCKS_BACK {
            return Err(RpcError::TOO_MANY_BLOCKS_BACK);
        }
        let id = server.subscriptions.fetch_add(1, Ordering::Relaxed) + 1;
        Ok((id, Progress { next, reorgs }))
    }

    fn unsubscribe(&mut self, params: Option<&Value>) -> Result<Vec<u8>, RpcError> {
        let params = Params::read(params, &["subscription_id"])?;
        let id = params.required(0)?.as_str().and_then(|id| id.parse().ok());
        let removed = id.and_then(|id: u64| self.subscriptions.remove(&id));
        removed.map(|_| b"true".to_vec()).ok_or(RpcError::INVALID_SUBSCRIPTION_ID)
    }

    /// Tells every subscription what it does not know yet.
    async fn announce(&mut self) -> Step {
        let ids: Vec<u64> = self.subscriptions.keys().copied().collect();
        for id in ids {
            while let Some(notice) = self.next_notice(id) {
                if self.silent {
                    continue;
                }
                match notice {
                    Notice::Reorg(reorg) => self.tell_reorg(id, &reorg).await?,
                    Notice::Head(served) => self.tell_head(id, &served).await?,
                }
            }
        }
        Step::Continue(())
    }

    /// The next thing to tell, which then counts as told.
    fn next_notice(&mut self, id: u64) -> Option<Notice> {
        let ledger = &self.endpoint.server.context.ledger;
        let progress = self.subscriptions.get_mut(&id)?;
        loop {
            for reorg in ledger.reorgs_after(progress.reorgs) {
                progress.reorgs = reorg.count;
                if reorg.from < progress.next {
                    let told = progress.next - reorg.from;
                    progress.next = reorg.from;
                    return Some(Notice::Reorg(reorg.first(told)));
                }
            }
            let head = ledger.by_number(progress.next);
            // A reorganisation in between may have brought this very block: it is told of first.
            if ledger.reorg_count() == progress.reorgs {
                let served = head?;
                progress.next += 1;
                return Some(Notice::Head(served));
            }
        }
    }

    async fn tell_reorg(&mut self, id: u64, reorg: &Reorg) -> Step {
        let spelling = self.endpoint.server.context.style.felts;
        let (Some(first), Some(last)) = (reorg.hashes.first(), reorg.hashes.last()) else {
            return Step::Continue(());
        };
        let above = u64::try_from(reorg.hashes.len()).unwrap_or(u64::MAX) - 1;
        let result = json!({
            "starting_block_hash": spelled(first, spelling),
            "starting_block_number": reorg.from,
            "ending_block_hash": spelled(last, spelling),
            "ending_block_number": reorg.from + above,
        });
        self.send(notice("starknet_subscriptionReorg", id, result.to_string().as_bytes())).await
    }

    async fn tell_head(&mut self, id: u64, served: &Served) -> Step {
        let server = &self.endpoint.server;
        let fault = server.faults.take(NEW_HEADS_NOTICE, Some(served.block.number));
        match fault {
            Some(Fault::WebSocketDrop) => Step::Break(()),
            Some(Fault::WebSocketSilence) => {
                self.silent = true;
                Step::Continue(())
            }
            Some(Fault::WebSocketGarbage) => self.send(GARBAGE.into()).await,
            _ => {
                let header = header(&served.block, server.context.style.body());
                self.send(notice(NEW_HEADS_NOTICE, id, &header)).await
            }
        }
    }

    async fn respond(&mut self, id: Option<&Value>, result: Result<Vec<u8>, RpcError>) -> Step {
        let Some(id) = id else {
            return Step::Continue(());
        };
        let answer = match result {
            Ok(result) => result_answer(id, &result),
            Err(error) => error_answer(id, &error),
        };
        self.send(answer).await
    }

    /// Sends an answer as its faults say, so far as they have a meaning on a connection that stays.
    async fn deliver(&mut self, answer: Answer) -> Step {
        let Some(mut body) = answer.body else {
            return Step::Continue(());
        };
        for fault in &answer.faults {
            match fault {
                Fault::Hang { millis } => {
                    let time = Duration::from_millis((*millis).min(MAX_HANG_MILLIS));
                    wait(time, &self.endpoint.open).await;
                }
                Fault::ConnectionReset | Fault::ClosedBeforeBody | Fault::TruncatedBody => {
                    return Step::Break(());
                }
                Fault::GarbageBody | Fault::HtmlBody => body = GARBAGE.into(),
                Fault::EmptyBody => body.clear(),
                Fault::EmptyObject => body = b"{}".to_vec(),
                Fault::TruncatedJson => body = half_of(&body).to_vec(),
                Fault::TooManyRequests { .. } => {
                    body = error_answer(&Value::Null, &RpcError::RATE_LIMITED);
                }
                Fault::ServerError | Fault::ServiceUnavailable => {
                    body = error_answer(&Value::Null, &RpcError::INTERNAL);
                }
                _ => {}
            }
        }
        self.send(body).await
    }

    async fn send(&mut self, text: Vec<u8>) -> Step {
        // Everything sent here is ASCII.
        let Ok(text) = Utf8Bytes::try_from(text) else {
            return Step::Break(());
        };
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.socket.send(Message::Text(text))).await;
        if matches!(sent, Ok(Ok(()))) { Step::Continue(()) } else { Step::Break(()) }
    }
}

fn notice(method: &str, id: u64, result: &[u8]) -> Vec<u8> {
    let head = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":\
         {{\"subscription_id\":\"{id}\",\"result\":"
    );
    [head.as_bytes(), result, b"}}"].concat()
}
