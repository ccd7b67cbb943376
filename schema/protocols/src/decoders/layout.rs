//! The table form in which a decoder states its events.
//!
//! One table gives the events' type, their layouts, their reading and their JSON, so that these four
//! cannot drift apart.

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

        impl Member for $name {
            const FELTS: usize = 0 $(+ <$type as Member>::FELTS)+;

            fn read(felts: &mut Felts<'_>) -> Option<Self> {
                Some(Self { $($field: Member::read(felts)?),+ })
            }

            fn json(&self) -> serde_json::Value {
                serde_json::json!({ $(stringify!($field): self.$field.json()),+ })
            }
        }
    };
}

/// Declares a decoder's events, each with one key: variants with the members of the contract's source,
/// in the order in which they stand in the data.
macro_rules! event_table {
    (
        $(#[$doc:meta])*
        $name:ident
        $($event:ident $selector:literal { $($field:ident: $type:ty),+ $(,)? })+
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum $name {
            $(
                #[doc = concat!("Event `", stringify!($event), "`.")]
                $event { $(#[doc = concat!("Member `", stringify!($field), "`.")] $field: $type),+ }
            ),+
        }

        impl $name {
            /// All layouts.
            pub(crate) const LAYOUTS: &'static [Layout] = &[$(Layout {
                name: stringify!($event),
                selector: Felt::from_hex_unchecked($selector),
                keys_len: 1,
                data_len: 0 $(+ <$type as Member>::FELTS)+,
            }),+];

            /// The event's name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$event { .. } => stringify!($event)),+ }
            }

            /// Reads the event of that name; `None` when a felt is outside its member's type.
            pub(crate) fn read(name: &str, data: &[Felt]) -> Option<Self> {
                let felts = &mut Felts::new(data);
                match name {
                    $(stringify!($event) => Some(Self::$event { $($field: Member::read(felts)?),+ }),)+
                    _ => None,
                }
            }

            /// The members as JSON, under their names in the contract's source: amounts as decimal
            /// strings, addresses and opaque felts as hex.
            #[must_use]
            pub fn to_json(&self) -> serde_json::Value {
                match self {
                    $(Self::$event { $($field),+ } => {
                        serde_json::json!({ $(stringify!($field): $field.json()),+ })
                    })+
                }
            }
        }
    };
}

pub(crate) use {event_table, member_struct};
