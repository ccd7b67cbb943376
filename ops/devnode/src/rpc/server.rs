//! The HTTP side: reads requests and batches, lets faults have their way, writes answers.
//!
//! Results are bytes already; an answer is put together around them without parsing them again.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::error::RpcError;
use super::methods::{Context, call, height_asked_for};
use crate::chain::encode::hex;
use crate::chain::felts::name;
use crate::faults::{Fault, Faults, MAX_HANG_MILLIS};

/// Most calls of a batch.
const MAX_BATCH: usize = 256;

/// Largest request, in bytes.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// What the handler needs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) context: Context,
    pub(crate) faults: Arc<Faults>,
    pub(crate) stop: CancellationToken,
}

/// The routes of the node.
pub(crate) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", post(answer))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(server)
}

async fn answer(State(server): State<Arc<Server>>, request: Bytes) -> Response {
    let mut spoiled = Vec::new();
    let body = match serde_json::from_slice::<Value>(&request) {
        Err(_) => Some(error_answer(&Value::Null, &RpcError::PARSE_ERROR)),
        Ok(Value::Array(calls)) => server.batch(&calls, &mut spoiled),
        Ok(single) => server.one(&single, &mut spoiled),
    };
    server.deliver(body, &spoiled).await
}

impl Server {
    fn batch(&self, calls: &[Value], spoiled: &mut Vec<Fault>) -> Option<Vec<u8>> {
        if calls.is_empty() || calls.len() > MAX_BATCH {
            let why = format!("a batch holds 1 to {MAX_BATCH} calls, this one {}", calls.len());
            return Some(error_answer(&Value::Null, &RpcError::invalid_request(why)));
        }
        let answers: Vec<Vec<u8>> =
            calls.iter().filter_map(|call| self.one(call, spoiled)).collect();
        (!answers.is_empty()).then(|| [b"[".as_slice(), &answers.join(&b','), b"]"].concat())
    }

    /// The answer to one call; `None` for a notification.
    fn one(&self, request: &Value, spoiled: &mut Vec<Fault>) -> Option<Vec<u8>> {
        let (id, method, params) = match parts(request) {
            Ok(parts) => parts,
            Err(error) => return Some(error_answer(&Value::Null, &error)),
        };
        let height = height_asked_for(&self.context, params);
        let fault = self.faults.take(method, height);
        let result = match &fault {
            Some(fault) => self.call_with(fault, method, params),
            None => call(&self.context, method, params),
        };
        spoiled.extend(fault);
        let id = id?;
        Some(match result {
            Ok(result) => result_answer(id, &result),
            Err(error) => error_answer(id, &error),
        })
    }

    /// The faults that show inside an answer.
    fn call_with(
        &self,
        fault: &Fault,
        method: &str,
        params: Option<&Value>,
    ) -> Result<Vec<u8>, RpcError> {
        match fault {
            Fault::RateLimitedInBody => Err(RpcError::RATE_LIMITED),
            Fault::WrongChainId(chain_id) => {
                Ok(format!("\"{}\"", hex(&name(chain_id))).into_bytes())
            }
            Fault::HeadBackwards { blocks } => self.older_head(*blocks, method),
            other => Ok(other.spoil_block(call(&self.context, method, params)?)),
        }
    }

    fn older_head(&self, blocks: u64, method: &str) -> Result<Vec<u8>, RpcError> {
        let ledger = &self.context.ledger;
        let head = ledger.head().ok_or(RpcError::NO_BLOCKS)?;
        let served =
            ledger.by_number(head.number.saturating_sub(blocks)).ok_or(RpcError::NO_BLOCKS)?;
        let (number, hash) = (served.block.number, hex(&served.block.hash));
        Ok(if method == "starknet_blockNumber" {
            number.to_string().into_bytes()
        } else {
            serde_json::json!({ "block_hash": hash, "block_number": number })
                .to_string()
                .into_bytes()
        })
    }

    /// The faults that show in how an answer is delivered.
    async fn deliver(&self, body: Option<Vec<u8>>, spoiled: &[Fault]) -> Response {
        let Some(body) = body else {
            return StatusCode::NO_CONTENT.into_response();
        };
        for fault in spoiled {
            match fault {
                Fault::Hang { millis } => self.hang(*millis).await,
                Fault::TooManyRequests { retry_after_seconds } => {
                    return too_many(*retry_after_seconds);
                }
                Fault::ServerError => {
                    return (StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response();
                }
                Fault::GarbageBody => {
                    return json_response(b"<html>not what you asked for</html>".to_vec());
                }
                Fault::TruncatedBody => return truncated(&body),
                _ => {}
            }
        }
        json_response(body)
    }

    /// Waits, but not beyond the node's own end.
    async fn hang(&self, millis: u64) {
        let wait = tokio::time::sleep(Duration::from_millis(millis.min(MAX_HANG_MILLIS)));
        tokio::select! {
            () = wait => {}
            () = self.stop.cancelled() => {}
        }
    }
}

type Parts<'a> = (Option<&'a Value>, &'a str, Option<&'a Value>);

fn parts(request: &Value) -> Result<Parts<'_>, RpcError> {
    let members =
        request.as_object().ok_or_else(|| RpcError::invalid_request("a call is an object"))?;
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(RpcError::invalid_request("jsonrpc is not \"2.0\""));
    }
    let method = members
        .get("method")
        .and_then(Value::as_str)
        .ok_or_else(|| RpcError::invalid_request("method is missing or no text"))?;
    let id = members.get("id");
    if id.is_some_and(|id| id.is_array() || id.is_object() || id.is_boolean()) {
        return Err(RpcError::invalid_request("id is neither a number nor a text"));
    }
    Ok((id, method, members.get("params").filter(|params| !params.is_null())))
}

fn result_answer(id: &Value, result: &[u8]) -> Vec<u8> {
    let head = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":");
    [head.as_bytes(), result, b"}"].concat()
}

fn error_answer(id: &Value, error: &RpcError) -> Vec<u8> {
    serde_json::json!({ "jsonrpc": "2.0", "id": id, "error": error.to_json() })
        .to_string()
        .into_bytes()
}

fn json_response(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn too_many(retry_after_seconds: Option<u32>) -> Response {
    let mut response = (StatusCode::TOO_MANY_REQUESTS, "too many requests").into_response();
    if let Some(seconds) = retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Promises the whole body, sends half of it and drops the connection.
fn truncated(body: &[u8]) -> Response {
    let half = Bytes::copy_from_slice(body.get(..body.len() / 2).unwrap_or_default());
    let cut = std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "cut off on purpose");
    let stream = futures::stream::iter([Ok(half), Err(cut)]);
    let mut response = Body::from_stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    response
}
