//! What a resolver can fail with, and how a failure looks from outside.
//!
//! Resolvers return [`ApiError`]. A user's mistake is answered in full with a code and the argument's
//! name; anything else is logged once under an id, and the answer holds nothing but that id. An error
//! of a type that this module does not know is treated as internal.

use std::sync::Arc;

use async_graphql::{ErrorExtensionValues, Response, ServerError};
use obsqra_events::FactError;
use obsqra_protocols::RegistryError;
use obsqra_store::StoreError;
use obsqra_types::Seq;

/// What went wrong in a resolver.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The client can do better.
    #[error("`{argument}`: {problem}")]
    BadUserInput { argument: &'static str, problem: String },
    /// There is nothing to answer from yet.
    #[error("no block is indexed yet: ask again once the first one is")]
    NotReady,
    /// The database failed.
    #[error("reading the store failed")]
    Store(#[source] Arc<StoreError>),
    /// An adopted registry is not one.
    #[error("the registry adopted at {seq} cannot be read")]
    Registry {
        seq: Seq,
        #[source]
        source: Arc<RegistryError>,
    },
    /// A log entry is not what the read model says it is.
    #[error("log entry {seq} cannot be read")]
    Entry {
        seq: Seq,
        #[source]
        source: Arc<FactError>,
    },
    /// A log entry is missing or of another kind.
    #[error("log entry {seq} is not the {expected} it should be")]
    UnexpectedEntry { seq: Seq, expected: &'static str },
    /// A number does not fit its GraphQL type.
    #[error("{0} does not fit its GraphQL type")]
    Range(&'static str),
    /// The request was started without its context.
    #[error("the request has no context")]
    NoContext,
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl ApiError {
    pub(crate) fn bad_input(argument: &'static str, problem: impl Into<String>) -> Self {
        Self::BadUserInput { argument, problem: problem.into() }
    }

    pub(crate) fn entry(seq: Seq, error: FactError) -> Self {
        Self::Entry { seq, source: Arc::new(error) }
    }
}

/// Codes of errors that are answered in full. The rest is `INTERNAL`.
const BAD_USER_INPUT: &str = "BAD_USER_INPUT";
const NOT_READY: &str = "NOT_READY";
const VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";
const INTERNAL: &str = "INTERNAL";
const TIMEOUT: &str = "TIMEOUT";
const TOO_MANY_OPERATIONS: &str = "TOO_MANY_OPERATIONS";

/// Gives every error of a response its outside form.
pub(crate) fn present(response: &mut Response) {
    for error in &mut response.errors {
        present_one(error);
    }
}

/// The response to an operation that ran out of time.
pub(crate) fn timed_out() -> Response {
    refusal("the operation took too long and was stopped", TIMEOUT)
}

/// The response to an operation beyond those that a WebSocket may have open.
pub(crate) fn too_many_operations() -> Response {
    refusal(
        "too many operations are open on this connection: complete one first",
        TOO_MANY_OPERATIONS,
    )
}

fn refusal(message: &str, code: &str) -> Response {
    let mut error = ServerError::new(message, None);
    set_code(&mut error, code);
    Response::from_errors(vec![error])
}

fn present_one(error: &mut ServerError) {
    match (&error.source, error.source::<ApiError>()) {
        (_, Some(ApiError::BadUserInput { argument, .. })) => {
            let argument = *argument;
            set_code(error, BAD_USER_INPUT);
            extensions(error).set("argument", argument);
        }
        (_, Some(ApiError::NotReady)) => set_code(error, NOT_READY),
        (_, Some(internal)) => {
            let cause = chain(internal);
            mask(error, &cause);
        }
        (Some(_), None) => {
            let cause = error.message.clone();
            mask(error, &cause);
        }
        // Without a source the message is async-graphql's own, about the query: before execution if
        // it has no path, about an argument's value if it has one.
        (None, None) if error.extensions.is_some() => {}
        (None, None) if error.path.is_empty() => set_code(error, VALIDATION_FAILED),
        (None, None) => set_code(error, BAD_USER_INPUT),
    }
}

fn mask(error: &mut ServerError, cause: &str) {
    let id = format!("{:016x}", rand::random::<u64>());
    let path = error.path.iter().map(segment).collect::<Vec<_>>().join(".");
    tracing::error!(error_id = %id, %path, %cause, "a GraphQL request failed");
    error.message = format!("internal error ({id})");
    error.source = None;
    error.extensions = None;
    set_code(error, INTERNAL);
    extensions(error).set("id", id);
}

fn segment(segment: &async_graphql::PathSegment) -> String {
    match segment {
        async_graphql::PathSegment::Field(name) => name.clone(),
        async_graphql::PathSegment::Index(index) => index.to_string(),
    }
}

/// An error and its sources, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let message = source.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = source.source();
    }
    text
}

fn set_code(error: &mut ServerError, code: &str) {
    extensions(error).set("code", code);
}

fn extensions(error: &mut ServerError) -> &mut ErrorExtensionValues {
    error.extensions.get_or_insert_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(error: async_graphql::Error) -> ServerError {
        let mut response =
            Response::from_errors(vec![error.into_server_error(async_graphql::Pos::default())]);
        present(&mut response);
        response.errors.remove(0)
    }

    fn code(error: &ServerError) -> String {
        error.extensions.as_ref().and_then(|e| e.get("code")).unwrap().to_string()
    }

    #[test]
    fn a_mistake_is_named_with_its_argument() {
        let error = presented(ApiError::bad_input("first", "at most 100").into());
        assert_eq!(error.message, "`first`: at most 100");
        assert_eq!(code(&error), "\"BAD_USER_INPUT\"");
        let argument = error.extensions.as_ref().and_then(|e| e.get("argument")).unwrap();
        assert_eq!(argument.to_string(), "\"first\"");
        assert_eq!(code(&presented(ApiError::NotReady.into())), "\"NOT_READY\"");
    }

    #[test]
    fn what_is_internal_is_not_told() {
        let secret = StoreError::Corrupt { seq: Seq(7), problem: "secret".into() };
        for error in [
            async_graphql::Error::from(ApiError::from(secret)),
            async_graphql::Error::from(ApiError::Range("secret")),
            async_graphql::Error::new_with_source(std::io::Error::other("secret")),
        ] {
            let shown = presented(error);
            assert!(!format!("{shown:?}").contains("secret"), "{shown:?}");
            assert!(shown.message.starts_with("internal error ("), "{}", shown.message);
            assert_eq!(code(&shown), "\"INTERNAL\"");
        }
    }

    #[test]
    fn a_source_is_named_once() {
        let error = ApiError::from(StoreError::Range("seq"));
        assert_eq!(chain(&error), "reading the store failed: seq is out of range");
    }
}
