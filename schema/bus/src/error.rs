//! What can go wrong at the bus.

/// An error of the bus. All of them may pass: the caller looks at the stream again and goes on from
/// what it holds.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The server cannot be reached or refuses the login.
    #[error("NATS: {0}")]
    Connect(String),
    /// The stream cannot be made, read or changed.
    #[error("NATS stream {stream}: {problem}")]
    Stream {
        /// The stream's name.
        stream: String,
        /// What the server said.
        problem: String,
    },
    /// A window of messages was not stored, none of it.
    #[error("NATS did not store a window of {messages} messages: {problem}")]
    Publish {
        /// Messages in the window.
        messages: usize,
        /// What the server said.
        problem: String,
    },
    /// A message in the stream was not put there by this program.
    #[error("NATS stream {stream}: message {sequence} has no {header} header")]
    Foreign {
        /// The stream's name.
        stream: String,
        /// The message's sequence in the stream.
        sequence: u64,
        /// The header it lacks.
        header: &'static str,
    },
}
