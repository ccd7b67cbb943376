//! Values that bodies have as text, each with its pattern: numbers that may exceed 53 bits, felts, digests.

use std::borrow::Cow;

use obsqra_types::{Felt, Hash32, Seq, felt_hex};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

/// Declares a text of one form.
macro_rules! text_form {
    ($(#[$doc:meta])* $name:ident, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Serialize)]
        #[serde(transparent)]
        pub(crate) struct $name(String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

text_form! {
    /// A whole number in decimal digits.
    Decimal, "^(0|[1-9][0-9]*)$"
}

text_form! {
    /// A felt: `0x` and hex digits without leading zeros.
    FeltHex, "^0x(0|[1-9a-f][0-9a-f]{0,62})$"
}

text_form! {
    /// 32 bytes in hex.
    DigestHex, "^[0-9a-f]{64}$"
}

text_form! {
    /// 8 bytes in hex.
    KeyIdHex, "^[0-9a-f]{16}$"
}

text_form! {
    /// 64 bytes in hex.
    SignatureHex, "^[0-9a-f]{128}$"
}

impl From<Seq> for Decimal {
    fn from(seq: Seq) -> Self {
        Self(seq.to_string())
    }
}

impl From<&Felt> for FeltHex {
    fn from(felt: &Felt) -> Self {
        Self(felt_hex(felt))
    }
}

impl From<Hash32> for DigestHex {
    fn from(hash: Hash32) -> Self {
        Self(hash.to_string())
    }
}
