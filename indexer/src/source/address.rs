//! Where a node is, and what of that may be said.
//!
//! Path, query and credentials of an address may be an API key. Only scheme, host and port are ever
//! printed; a text that comes from a library or from the node itself goes through [`Address::clean`],
//! which takes out what it may repeat of the rest and bounds its length.

use url::Url;

use super::SourceError;

/// Longest text of a library or of a node that an error repeats, in characters.
const MAX_WORDS: usize = 300;
/// Most of such a text that is looked through, in characters.
const MAX_READ: usize = 8_192;
/// Shortest part of an address that is taken for a secret, in bytes; `rpc` or `v0_8` is none.
const LEAST_SECRET: usize = 6;

/// The address of a node.
#[derive(Clone, Debug)]
pub(super) struct Address {
    url: Url,
    name: String,
}

/// Where a node tells of new heads by itself.
#[derive(Clone, Debug, Default)]
pub enum Socket {
    /// At the node's own address, by `ws` for `http` and `wss` for `https`.
    #[default]
    Derived,
    /// At this address.
    At(Url),
    /// Nowhere: its head is asked for again and again.
    Off,
}

impl Address {
    pub(super) fn http(url: Url) -> Result<Self, SourceError> {
        let address = Self::new(url);
        if !address.is_of(["http", "https"]) {
            return Err(SourceError::Address(format!("{}:…", address.url.scheme())));
        }
        Ok(address)
    }

    /// The WebSocket address of a node; `None` where it is off.
    pub(super) fn socket(&self, socket: &Socket) -> Result<Option<Self>, SourceError> {
        let address = match socket {
            Socket::Off => return Ok(None),
            Socket::At(url) => Self::new(url.clone()),
            Socket::Derived => {
                let scheme = if self.url.scheme() == "https" { "wss" } else { "ws" };
                let mut url = self.url.clone();
                if url.set_scheme(scheme).is_err() {
                    return Err(self.no_socket(scheme));
                }
                Self::new(url)
            }
        };
        if !address.is_of(["ws", "wss"]) {
            return Err(self.no_socket(address.url.scheme()));
        }
        Ok(Some(address))
    }

    fn no_socket(&self, scheme: &str) -> SourceError {
        SourceError::SocketAddress { node: self.name.clone(), found: format!("{scheme}:…") }
    }

    fn new(url: Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let name = format!("{}://{host}{port}", url.scheme());
        Self { url, name }
    }

    fn is_of(&self, schemes: [&str; 2]) -> bool {
        schemes.contains(&self.url.scheme()) && self.url.host_str().is_some_and(|h| !h.is_empty())
    }

    /// The whole address, for connecting only.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Scheme, host and port.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A proxy of the environment cannot reach this machine's own addresses.
    pub(super) fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    /// A text from outside without what may be secret, on one line, of bounded length.
    pub(super) fn clean(&self, text: &str) -> String {
        let secrets = self.secrets();
        let longest = secrets.first().map_or(0, |secret| secret.chars().count());
        // Cut first, so that a text of megabytes costs little; what the cut may have left of a
        // secret at the end goes too.
        let mut out: String = text.chars().take(MAX_READ).collect();
        let cut = out.len() < text.len();
        if cut {
            out = out.chars().take(MAX_READ.saturating_sub(longest)).collect();
        }
        for secret in secrets {
            out = out.replace(secret, "…");
        }
        let cut = cut || out.chars().count() > MAX_WORDS;
        let mut out: String =
            out.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect();
        if cut {
            out.push('…');
        }
        out
    }

    /// Parts of the address that may be keys, the longest first.
    fn secrets(&self) -> Vec<&str> {
        let query = self.url.query().unwrap_or_default();
        let mut parts: Vec<&str> = [self.url.path(), query, self.url.username()].into();
        parts.extend(self.url.password());
        parts.extend(self.url.path().split('/'));
        parts.extend(query.split(['&', '=']));
        parts.retain(|part| part.len() >= LEAST_SECRET);
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::http(url.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_name_holds_nothing_that_may_be_a_key() {
        let node =
            address("https://user:passphrase@node.example:8443/v3/0123456789abcdef?key=fedcba987");
        assert_eq!(node.name(), "https://node.example:8443");
        let socket = node.socket(&Socket::Derived).unwrap().unwrap();
        assert_eq!(socket.name(), "wss://node.example:8443");
        assert_eq!(socket.url().path(), "/v3/0123456789abcdef");
    }

    #[test]
    fn texts_from_outside_lose_keys_lines_and_length() {
        let node =
            address("https://user:passphrase@node.example/v3/0123456789abcdef?key=fedcba987");
        let said = "bad key 0123456789abcdef\r\nor fedcba987 or passphrase at /v3/0123456789abcdef";
        let clean = node.clean(said);
        for secret in ["0123456789abcdef", "fedcba987", "passphrase", "\n"] {
            assert!(!clean.contains(secret), "{clean:?}");
        }
        assert_eq!(node.clean(&"é".repeat(10_000)).chars().count(), MAX_WORDS + 1);
        assert_eq!(address("http://node.example").clean("plain words"), "plain words");
    }

    #[test]
    fn only_addresses_of_the_right_kind_are_taken() {
        for bad in ["ftp://node.example", "ws://node.example", "unix:/run/node"] {
            assert!(Address::http(bad.parse().unwrap()).is_err(), "{bad}");
        }
        let node = address("http://node.example/key");
        let bad = Socket::At("http://other.example/secretkey".parse().unwrap());
        let error = node.socket(&bad).unwrap_err().to_string();
        assert!(!error.contains("secretkey"), "{error}");
        assert!(node.socket(&Socket::Off).unwrap().is_none());
        let other = Socket::At("ws://other.example/heads".parse().unwrap());
        assert_eq!(node.socket(&other).unwrap().unwrap().name(), "ws://other.example");
    }
}
