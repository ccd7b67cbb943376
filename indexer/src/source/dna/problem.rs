//! What a gRPC status means for who follows the chain. A server's words go into errors cut short and
//! without the token.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use apibara_dna_sdk::DataStreamError;
use tonic::{Code, Status};

use super::DnaStart;
use crate::source::{Secret, SourceError};

/// Longest text of a server that is kept, in characters.
const MAX_WORDS: usize = 300;
/// How deep an error's causes are followed.
const MAX_CAUSES: usize = 4;

/// The server as errors name it.
#[derive(Clone)]
pub(super) struct Peer {
    name: Arc<str>,
    token: Option<Secret>,
}

impl Peer {
    pub(super) fn new(name: String, token: Option<Secret>) -> Self {
        Self { name: name.into(), token }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn node(&self) -> String {
        self.name.to_string()
    }

    pub(super) fn unreachable(&self, what: &str, problem: &str) -> SourceError {
        let (what, problem) = (what.to_owned(), self.clean(problem));
        SourceError::Unreachable { node: self.node(), what, problem }
    }

    pub(super) fn unusable(&self, what: &str, problem: String) -> SourceError {
        SourceError::Unusable { node: self.node(), what: what.to_owned(), problem }
    }

    /// What the server's refusal of a start means.
    pub(super) fn start_refused(&self, start: DnaStart, status: &Status) -> SourceError {
        let about_cursor = status.message().to_ascii_lowercase().contains("cursor");
        match (status.code(), start) {
            // Everything else in the request is the same for each start, and refused for another reason.
            (Code::InvalidArgument, DnaStart::After(block)) if about_cursor => {
                SourceError::UnknownCursor { node: self.node(), block }
            }
            (Code::OutOfRange, start) => {
                let block = match start {
                    DnaStart::At(number) => number,
                    DnaStart::After(block) => block.number,
                };
                SourceError::Ahead { node: self.node(), block }
            }
            _ => self.refused("stream", status),
        }
    }

    /// What a refusal means, whatever was asked.
    pub(super) fn refused(&self, what: &str, status: &Status) -> SourceError {
        let words = self.clean(status.message());
        let (node, what) = (self.node(), what.to_owned());
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => {
                SourceError::Unauthorized { node, words }
            }
            Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition => {
                SourceError::Refused { node, what, words }
            }
            Code::ResourceExhausted => {
                SourceError::Busy { node, what, status: words, retry_after: None }
            }
            // The client says OUT_OF_RANGE of a message beyond its own bound, and INTERNAL of one that is
            // no protobuf message: both will be the same next time.
            Code::OutOfRange => SourceError::Unusable { node, what, problem: words },
            Code::Internal if words.starts_with("failed to decode Protobuf message") => {
                SourceError::Unusable { node, what, problem: words }
            }
            code => {
                let problem = format!("{}: {words}{}", code.description(), causes(status));
                SourceError::Unreachable { node, what, problem }
            }
        }
    }

    /// What ends a stream that had begun.
    pub(super) fn broken(&self, error: DataStreamError, silence: Duration) -> SourceError {
        match error {
            DataStreamError::Tonic { source } => self.refused("stream", &source),
            DataStreamError::Timeout { .. } => {
                SourceError::Silent { node: self.node(), limit: silence }
            }
            DataStreamError::EmptyMessageInResponse => {
                self.unusable("stream", "a message of no known kind".to_owned())
            }
        }
    }

    fn clean(&self, words: &str) -> String {
        let words = match &self.token {
            Some(token) => token.taken_out_of(words),
            None => words.to_owned(),
        };
        let shown = words.chars().map(|char| if char.is_control() { ' ' } else { char });
        shown.take(MAX_WORDS).collect()
    }
}

/// An error and its causes in one line.
pub(super) fn whole_story(error: &dyn Error) -> String {
    format!("{error}{}", causes(error))
}

fn causes(error: &dyn Error) -> String {
    let mut story = String::new();
    let mut cause = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(error) = cause else { break };
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}
