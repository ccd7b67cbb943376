//! Parameters of a call, by position or by name, and the block ids in them.

use serde_json::Value;
use starknet_types_core::felt::Felt;

use super::error::RpcError;
use crate::recorded::felt_of;
use crate::spec::Spec;

/// Parameters of a call whose method has these names for them.
#[derive(Debug)]
pub(crate) struct Params<'a> {
    values: Vec<Option<&'a Value>>,
    names: &'static [&'static str],
}

/// A block as a caller names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockId {
    Number(u64),
    Hash(Felt),
    Latest,
    L1Accepted,
    /// The block in the making; `pending` before spec 0.9.
    PreConfirmed,
}

impl<'a> Params<'a> {
    pub(crate) fn read(
        params: Option<&'a Value>,
        names: &'static [&'static str],
    ) -> Result<Self, RpcError> {
        let values = match params {
            None => vec![None; names.len()],
            Some(Value::Array(list)) if list.len() <= names.len() => {
                (0..names.len()).map(|index| list.get(index)).collect()
            }
            Some(Value::Array(list)) => {
                let why = format!("{} parameters given, {} taken", list.len(), names.len());
                return Err(RpcError::invalid_params(why));
            }
            Some(Value::Object(members)) => {
                if let Some(unknown) = members.keys().find(|name| !names.contains(&name.as_str())) {
                    return Err(RpcError::invalid_params(format!(
                        "no parameter is called {unknown:?}"
                    )));
                }
                names.iter().map(|name| members.get(*name)).collect()
            }
            Some(_) => {
                return Err(RpcError::invalid_request("params is neither an array nor an object"));
            }
        };
        Ok(Self { values, names })
    }

    /// A parameter that may be missing or null.
    pub(crate) fn optional(&self, index: usize) -> Option<&'a Value> {
        self.values.get(index).copied().flatten().filter(|value| !value.is_null())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, index: usize) -> Result<&'a Value, RpcError> {
        self.values.get(index).copied().flatten().ok_or_else(|| {
            let name = self.names.get(index).copied().unwrap_or("a parameter");
            RpcError::invalid_params(format!("{name} is missing"))
        })
    }
}

/// Reads a block id with the tags of a specification.
pub(crate) fn block_id(value: &Value, spec: Spec) -> Result<BlockId, RpcError> {
    match value {
        Value::String(tag) => match (tag.as_str(), spec) {
            ("latest", _) => Ok(BlockId::Latest),
            ("l1_accepted", Spec::V0_9 | Spec::V0_10) => Ok(BlockId::L1Accepted),
            ("pre_confirmed", Spec::V0_9 | Spec::V0_10) => Ok(BlockId::PreConfirmed),
            ("pending", Spec::V0_8) => Ok(BlockId::PreConfirmed),
            (other, _) => Err(RpcError::invalid_params(format!("{other:?} is no block tag"))),
        },
        Value::Object(members) if members.len() == 1 => {
            if let Some(number) = members.get("block_number") {
                let number = number
                    .as_u64()
                    .ok_or_else(|| RpcError::invalid_params("block_number is no height"))?;
                return Ok(BlockId::Number(number));
            }
            let hash = members.get("block_hash").ok_or_else(|| {
                RpcError::invalid_params("a block id has the member block_number or block_hash")
            })?;
            Ok(BlockId::Hash(felt(hash, "block_hash")?))
        }
        _ => Err(RpcError::invalid_params("a block id is a tag or an object with one member")),
    }
}

/// Reads a felt.
pub(crate) fn felt(value: &Value, name: &str) -> Result<Felt, RpcError> {
    value
        .as_str()
        .and_then(felt_of)
        .ok_or_else(|| RpcError::invalid_params(format!("{name} is not a felt in hex")))
}
