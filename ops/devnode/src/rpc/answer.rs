//! Requests to answers, whatever they travel over: calls, batches, and the faults that show inside an answer.
//!
//! Results are bytes already; an answer is put together around them without parsing them again. Faults that
//! show in how an answer is delivered are handed on with it.

use serde_json::{Value, json};

use super::error::RpcError;
use super::methods::{call, height_asked_for};
use super::server::Server;
use crate::chain::encode::spelled;
use crate::chain::felts::name;
use crate::faults::Fault;
use crate::spec::{Spec, Style};

/// Most calls of a batch.
const MAX_BATCH: usize = 256;

/// What goes back, and what is to happen to it on the way.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// `None` for nothing but notifications.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) faults: Vec<Fault>,
}

impl Server {
    /// Answers the text of a request.
    pub(crate) fn answer(&self, request: &[u8]) -> Answer {
        match serde_json::from_slice::<Value>(request) {
            Err(_) => Answer {
                body: Some(error_answer(&Value::Null, &RpcError::PARSE_ERROR)),
                faults: Vec::new(),
            },
            Ok(request) => self.answer_value(&request),
        }
    }

    /// Answers a parsed request.
    pub(crate) fn answer_value(&self, request: &Value) -> Answer {
        let mut faults = Vec::new();
        let body = match request {
            Value::Array(calls) => self.batch(calls, &mut faults),
            single => self.one(single, &mut faults),
        };
        Answer { body, faults }
    }

    fn batch(&self, calls: &[Value], faults: &mut Vec<Fault>) -> Option<Vec<u8>> {
        if calls.is_empty() || calls.len() > MAX_BATCH {
            let why = format!("a batch holds 1 to {MAX_BATCH} calls, this one {}", calls.len());
            return Some(error_answer(&Value::Null, &RpcError::invalid_request(why)));
        }
        let answers: Vec<Vec<u8>> =
            calls.iter().filter_map(|call| self.one(call, faults)).collect();
        (!answers.is_empty()).then(|| [b"[".as_slice(), &answers.join(&b','), b"]"].concat())
    }

    /// The answer to one call; `None` for a notification.
    fn one(&self, request: &Value, faults: &mut Vec<Fault>) -> Option<Vec<u8>> {
        let parts = match parts(request) {
            Ok(parts) => parts,
            Err(error) => return Some(error_answer(&Value::Null, &error)),
        };
        let (method, params) = (parts.method, parts.params);
        self.calls.count(method);
        let height = height_asked_for(&self.context, params);
        let fault = self.faults.take(method, height);
        let result = match &fault {
            Some(fault) => self.call_with(fault, method, params, height),
            None => call(&self.context, self.context.style, method, params),
        };
        faults.extend(fault);
        let id = parts.id?;
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
        height: Option<u64>,
    ) -> Result<Vec<u8>, RpcError> {
        let style = self.context.style;
        let right = || call(&self.context, style, method, params);
        match fault {
            Fault::RateLimitedInBody => Err(RpcError::RATE_LIMITED),
            Fault::BlockMissing => Err(RpcError::BLOCK_NOT_FOUND),
            Fault::NullResult => Ok(b"null".to_vec()),
            Fault::WrongChainId(chain_id) => {
                Ok(json!(spelled(&name(chain_id), style.felts)).to_string().into_bytes())
            }
            Fault::HeadBackwards { blocks } => self.older_head(*blocks, method),
            Fault::NeighbourBlock { above } => {
                let neighbour = height
                    .and_then(|height| height.checked_add_signed(*above))
                    .ok_or(RpcError::BLOCK_NOT_FOUND)?;
                let params = json!([{ "block_number": neighbour }]);
                call(&self.context, style, method, Some(&params))
            }
            Fault::MissingCommitments => {
                let older = Style { spec: style.spec.min(Spec::V0_9), ..style };
                call(&self.context, older, method, params)
            }
            other => Ok(other.spoil_block(right()?)),
        }
    }

    fn older_head(&self, blocks: u64, method: &str) -> Result<Vec<u8>, RpcError> {
        let ledger = &self.context.ledger;
        let head = ledger.head().ok_or(RpcError::NO_BLOCKS)?;
        let served =
            ledger.by_number(head.number.saturating_sub(blocks)).ok_or(RpcError::NO_BLOCKS)?;
        let number = served.block.number;
        let hash = spelled(&served.block.hash, self.context.style.felts);
        let answer = if method == "starknet_blockNumber" {
            json!(number)
        } else {
            json!({ "block_hash": hash, "block_number": number })
        };
        Ok(answer.to_string().into_bytes())
    }
}

/// The members of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// `None` for a notification.
    pub(crate) id: Option<&'a Value>,
    pub(crate) method: &'a str,
    pub(crate) params: Option<&'a Value>,
}

/// Takes a call apart.
pub(crate) fn parts(request: &Value) -> Result<Parts<'_>, RpcError> {
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
    let params = members.get("params").filter(|params| !params.is_null());
    Ok(Parts { id, method, params })
}

/// An answer with a result.
pub(crate) fn result_answer(id: &Value, result: &[u8]) -> Vec<u8> {
    let head = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":");
    [head.as_bytes(), result, b"}"].concat()
}

/// An answer with an error.
pub(crate) fn error_answer(id: &Value, error: &RpcError) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "error": error.to_json() }).to_string().into_bytes()
}
