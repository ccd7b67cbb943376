//! Ports of 127.0.0.1 that are free now.
//!
//! A server takes its former port again when it can, so that clients reconnect after a restart.
//! Between the look and the server's bind another program may be faster: callers try a few times.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::ServerError;

/// How often a server is started anew when its port was taken in between.
pub(crate) const PORT_TRIES: u32 = 3;

const ANY_PORT: u16 = 0;

/// The port remembered in that file if it is still free, else any free one, which is remembered.
pub(crate) fn choose(memory: &Path) -> Result<u16, ServerError> {
    if let Some(port) = remembered(memory).filter(|port| bind(*port).is_ok()) {
        return Ok(port);
    }
    let port = bind(ANY_PORT).map_err(ServerError::io("find a free port for", memory))?;
    fs::write(memory, format!("{port}\n")).map_err(ServerError::io("write", memory))?;
    Ok(port)
}

/// The port that the server had last.
pub(crate) fn remembered(memory: &Path) -> Option<u16> {
    fs::read_to_string(memory).ok()?.trim().parse().ok()
}

/// Binds and lets go.
fn bind(port: u16) -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_kept_while_it_is_free() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let memory = dir.path().join("port");
        let port = choose(&memory)?;
        assert_eq!(choose(&memory)?, port);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        assert_ne!(choose(&memory)?, port);
        Ok(())
    }
}
