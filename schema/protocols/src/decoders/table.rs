//! The table of decoders: one row for each, from which everything that tells them apart is made.

/// Declares the decoders: the type of their events, the name that registry files use, the kind of the
/// protocol, and the roles that its contracts may have.
macro_rules! decoder_table {
    ($(
        $(#[$doc:meta])*
        $decoder:ident($event:ident), $name:literal, $kind:ident, [$($role:ident),+ $(,)?];
    )+) => {
        /// Which decoder reads a protocol's events.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Decoder {
            $($(#[$doc])* $decoder),+
        }

        /// A decoded event.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum ProtocolEvent {
            $($(#[$doc])* $decoder($event)),+
        }

        impl Decoder {
            /// Every decoder.
            pub const ALL: &'static [Self] = &[$(Self::$decoder),+];

            /// The name that registry files use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$decoder => $name),+ }
            }

            /// The kind of protocol that it reads.
            #[must_use]
            pub fn kind(self) -> ProtocolKind {
                match self { $(Self::$decoder => ProtocolKind::$kind),+ }
            }

            /// The roles that its contracts may have.
            #[must_use]
            pub fn roles(self) -> &'static [Role] {
                match self { $(Self::$decoder => &[$(Role::$role),+]),+ }
            }

            /// Whether a contract of that role is one pool of two tokens.
            #[must_use]
            pub fn is_pool(self, role: Role) -> bool {
                match self { $(Self::$decoder => $event::is_pool(role)),+ }
            }

            /// Whether a contract of that role is a token over an asset.
            #[must_use]
            pub fn has_asset(self, role: Role) -> bool {
                match self { $(Self::$decoder => $event::has_asset(role)),+ }
            }

            /// Whether a contract of that role announces others.
            #[must_use]
            pub fn is_factory(self, role: Role) -> bool {
                match self { $(Self::$decoder => $event::is_factory(role)),+ }
            }

            /// How the pools inside one contract are told apart, where a contract holds many.
            pub(crate) fn pool_names(self) -> Option<PoolNames> {
                match self { $(Self::$decoder => $event::pool_names()),+ }
            }

            fn layouts(self) -> &'static [&'static [Layout]] {
                match self { $(Self::$decoder => $event::LAYOUTS),+ }
            }

            /// The JSON Schema of each event's members, by the event's name.
            pub(super) fn member_schemas(self) -> Vec<(&'static str, Value)> {
                match self { $(Self::$decoder => $event::member_schemas()),+ }
            }

            fn emits(self, role: Role, name: &str) -> bool {
                match self { $(Self::$decoder => $event::emits(role, name)),+ }
            }

            fn read(self, name: &str, felts: &mut Felts<'_>) -> Option<ProtocolEvent> {
                match self {
                    $(Self::$decoder => {
                        $event::read(name, felts).map(ProtocolEvent::$decoder)
                    })+
                }
            }
        }

        impl ProtocolEvent {
            /// The event's name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$decoder(event) => event.name()),+ }
            }

            /// The members under their names in the contract's source: amounts as decimal strings,
            /// addresses and opaque felts as hex.
            #[must_use]
            pub fn to_json(&self) -> Value {
                match self { $(Self::$decoder(event) => event.to_json()),+ }
            }

            /// The contract that the event announces, which its events are read from here on; `None` when
            /// it announces none, or one that cannot be.
            #[must_use]
            pub fn child(&self, emitter: &WatchedContract) -> Option<WatchedContract> {
                match self { $(Self::$decoder(event) => event.child(emitter)),+ }
            }

            /// What wallets did, in order.
            #[must_use]
            pub fn activities(&self, emitter: &WatchedContract) -> Vec<Activity> {
                match self { $(Self::$decoder(event) => event.activities(emitter)),+ }
            }

            /// The transfer of the emitting token that the event is; `None` for any other event.
            #[must_use]
            pub fn transfer(&self, emitter: &WatchedContract) -> Option<Transfer> {
                match self { $(Self::$decoder(event) => event.transfer(emitter)),+ }
            }

            /// Whether the contract's next event, which stands directly after this one in the block, says
            /// the same and more.
            pub(crate) fn is_restated(&self, next: impl FnOnce() -> Option<Self>) -> bool {
                match self {
                    $(Self::$decoder(event) => event.is_restated(|| match next()? {
                        Self::$decoder(next) => Some(next),
                        _ => None,
                    })),+
                }
            }

            /// What the event changes, in order. A contract that it announces must be known by now.
            pub(crate) fn changes(
                &self,
                contracts: &Contracts,
                emitter: &WatchedContract,
            ) -> Vec<MarketChange> {
                match self { $(Self::$decoder(event) => event.changes(contracts, emitter)),+ }
            }
        }
    };
}

pub(super) use decoder_table;
