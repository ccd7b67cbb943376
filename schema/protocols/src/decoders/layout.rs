//! The table form in which a decoder states its events.
//!
//! One table gives the events' type, their layouts, their reading and their JSON, so that these four
//! cannot drift apart. A row names an event's members in their order. An event's layouts differ in how many
//! of them stand in the keys, or in whether its last members are there: an upgrade moves members from the
//! data into the keys, or adds some at the end, and leaves their order.

use obsqra_types::Felt;

/// Where an event of a name stands: its selector and its widths. Selectors are shared between
/// protocols and change their layout with upgrades, so all of these together, and the contract's role,
/// pick a reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Name in the contract's source.
    pub name: &'static str,
    /// First key: the Starknet Keccak of the name.
    pub selector: Felt,
    /// Number of keys, the selector included.
    pub keys_len: usize,
    /// Number of data felts.
    pub data_len: usize,
}

/// Declares a group of members that recurs in layouts.
macro_rules! member_struct {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            $(#[doc = concat!("Member `", stringify!($field), "`.")] pub $field: $type),+
        }

        impl $crate::decoders::Member for $name {
            const FELTS: usize = 0 $(+ <$type as $crate::decoders::Member>::FELTS)+;

            fn read(felts: &mut $crate::decoders::Felts<'_>) -> Option<Self> {
                Some(Self { $($field: $crate::decoders::Member::read(felts)?),+ })
            }

            fn json(&self) -> serde_json::Value {
                $crate::decoders::members_json([$((
                    stringify!($field),
                    $crate::decoders::Member::json(&self.$field),
                )),+])
            }

            fn schema() -> serde_json::Value {
                $crate::decoders::members_schema([$((
                    stringify!($field),
                    <$type as $crate::decoders::Member>::schema(),
                )),+])
            }
        }
    };
}

/// An event's layouts: one for each number of felts that its members take in the keys, or one with none
/// there. Of an event that another version of its contract emits without its last members, one with and one
/// without them.
macro_rules! event_layouts {
    ($event:ident, $selector:literal, $felts:expr) => {
        $crate::decoders::event_layouts!($event, $selector, $felts, 0)
    };
    ($event:ident, $selector:literal, $felts:expr, $in_keys:literal without $left_out:literal) => {
        &[
            $crate::decoders::Layout {
                name: stringify!($event),
                selector: obsqra_types::Felt::from_hex_unchecked($selector),
                keys_len: 1 + $in_keys,
                data_len: $felts - $in_keys,
            },
            $crate::decoders::Layout {
                name: stringify!($event),
                selector: obsqra_types::Felt::from_hex_unchecked($selector),
                keys_len: 1 + $in_keys,
                data_len: $felts - $in_keys - $left_out,
            },
        ]
    };
    ($event:ident, $selector:literal, $felts:expr, $($in_keys:literal),+) => {
        &[$($crate::decoders::Layout {
            name: stringify!($event),
            selector: obsqra_types::Felt::from_hex_unchecked($selector),
            keys_len: 1 + $in_keys,
            data_len: $felts - $in_keys,
        }),+]
    };
}

/// Declares a decoder's events: variants with the members of the contract's source, in the order in which
/// they stand. `keys [0, 2]` after the selector says that the members stand in the data, or, in another
/// version of the contract, that the first two felts of them are keys. `keys [7] without 12` says that seven
/// felts are keys, and that another version of the contract leaves out the last twelve felts; the members that
/// they are of are [`Option`]s.
macro_rules! event_table {
    (
        $(#[$doc:meta])*
        $name:ident
        $($event:ident $selector:literal
            $(keys [$($in_keys:literal),+] $(without $left_out:literal)?)? {
            $($field:ident: $type:ty),* $(,)?
        })+
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum $name {
            $(
                #[doc = concat!("Event `", stringify!($event), "`.")]
                $event { $(#[doc = concat!("Member `", stringify!($field), "`.")] $field: $type),* }
            ),+
        }

        impl $name {
            /// All layouts, by event.
            pub(crate) const LAYOUTS: &'static [&'static [$crate::decoders::Layout]] =
                &[$($crate::decoders::event_layouts!(
                    $event,
                    $selector,
                    0 $(+ <$type as $crate::decoders::Member>::FELTS)*
                        $(, $($in_keys),+ $(without $left_out)?)?
                )),+];

            /// The JSON Schema of each event's members, by the event's name.
            pub(crate) fn member_schemas() -> Vec<(&'static str, serde_json::Value)> {
                vec![$((
                    stringify!($event),
                    $crate::decoders::members_schema([$((
                        stringify!($field),
                        <$type as $crate::decoders::Member>::schema(),
                    )),*]),
                )),+]
            }

            /// The event's name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$event { .. } => stringify!($event)),+ }
            }

            /// Reads the event of that name; `None` when a felt is outside its member's type.
            pub(crate) fn read(
                name: &str,
                felts: &mut $crate::decoders::Felts<'_>,
            ) -> Option<Self> {
                match name {
                    $(stringify!($event) => Some(Self::$event {
                        $($field: $crate::decoders::Member::read(felts)?),*
                    }),)+
                    _ => None,
                }
            }

            /// The members as JSON, under their names in the contract's source: amounts as decimal
            /// strings, addresses and opaque felts as hex.
            #[must_use]
            pub fn to_json(&self) -> serde_json::Value {
                match self {
                    $(Self::$event { $($field),* } => {
                        $crate::decoders::members_json([$((
                            stringify!($field),
                            $crate::decoders::Member::json($field),
                        )),*])
                    })+
                }
            }
        }
    };
}

pub(crate) use {event_layouts, event_table, member_struct};
