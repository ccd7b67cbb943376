//! `POST /graphql`: one operation as `application/json`, nothing else.
//!
//! A body that is no GraphQL request is refused with a status of 400 or above before anything runs.
//! A request that is one gets status 200, errors included, unless the client accepts
//! `application/graphql-response+json`: there a request that did not run has status 400.

use async_graphql::{Request, Response as GraphqlResponse, ServerError, Variables};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request as HttpRequest, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::server::AppState;

const JSON: &str = "application/json";
const GRAPHQL_RESPONSE: &str = "application/graphql-response+json";

/// A request as the specification of GraphQL over HTTP lays it out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    query: String,
    operation_name: Option<String>,
    variables: Option<Map<String, Value>>,
    #[serde(rename = "extensions")]
    _extensions: Option<Map<String, Value>>,
}

/// Why a body is not run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the content type must be application/json")]
    ContentType,
    #[error("the body is larger than 64 KiB")]
    TooLarge,
    #[error("the body could not be read")]
    Unreadable,
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("batches are not accepted: send one operation a request")]
    Batch,
    #[error("the body is no GraphQL request: {0}")]
    NotARequest(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreadable | Self::NotJson(_) | Self::Batch | Self::NotARequest(_) => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

pub(super) async fn post(State(state): State<AppState>, request: HttpRequest) -> Response {
    let accepts_graphql = accepts_graphql_response(request.headers());
    match read(request).await {
        Ok(request) => answer(&state.api.execute(request).await, accepts_graphql),
        Err(refusal) => {
            let error = ServerError::new(refusal.to_string(), None);
            let body = GraphqlResponse::from_errors(vec![error]);
            respond(refusal.status(), &body, accepts_graphql)
        }
    }
}

async fn read(request: HttpRequest) -> Result<Request, Refusal> {
    if !is_json(request.headers()) {
        return Err(Refusal::ContentType);
    }
    let bytes =
        Bytes::from_request(request, &()).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
            _ => Refusal::Unreadable,
        })?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Request, Refusal> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Refusal::NotJson(error.to_string()))?;
    if value.is_array() {
        return Err(Refusal::Batch);
    }
    let body: Body =
        serde_json::from_value(value).map_err(|error| Refusal::NotARequest(error.to_string()))?;
    let variables = Value::Object(body.variables.unwrap_or_default());
    let mut request = Request::new(body.query).variables(Variables::from_json(variables));
    request.operation_name = body.operation_name;
    Ok(request)
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(JSON))
}

fn accepts_graphql_response(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|essence| essence.trim().eq_ignore_ascii_case(GRAPHQL_RESPONSE))
}

fn answer(response: &GraphqlResponse, accepts_graphql: bool) -> Response {
    // An error without a path arose before any field ran.
    let refused = response.errors.iter().any(|error| error.path.is_empty());
    let status = if refused && accepts_graphql { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    respond(status, response, accepts_graphql)
}

fn respond(status: StatusCode, body: &GraphqlResponse, accepts_graphql: bool) -> Response {
    let media_type = if accepts_graphql { GRAPHQL_RESPONSE } else { JSON };
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let content_type = format!("{media_type}; charset=utf-8");
            (status, [(CONTENT_TYPE, content_type)], bytes).into_response()
        }
        Err(error) => {
            tracing::error!(cause = %error, "a GraphQL response could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_well_formed_request_is_read() {
        let request =
            parse(br#"{"query":"{a}","operationName":null,"variables":{"n":1}}"#).unwrap();
        assert_eq!(request.query, "{a}");
        for (body, start) in [
            (&b"["[..], "the body is not JSON"),
            (b"[]", "batches"),
            (br#"{"variables":{}}"#, "the body is no GraphQL request"),
            (br#"{"query":1}"#, "the body is no GraphQL request"),
            (br#"{"query":"{a}","variables":"n"}"#, "the body is no GraphQL request"),
            (br#"{"query":"{a}","operationName":2}"#, "the body is no GraphQL request"),
            (br#"{"query":"{a}","extensions":[]}"#, "the body is no GraphQL request"),
        ] {
            let refusal = parse(body).err().unwrap();
            assert!(refusal.to_string().starts_with(start), "{refusal}");
            assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn only_json_is_accepted() {
        let with = |value: &str| HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
        assert!(is_json(&with("application/json; charset=utf-8")));
        assert!(!is_json(&with("text/plain")));
        assert!(!is_json(&with("application/x-www-form-urlencoded")));
        assert!(!is_json(&HeaderMap::new()));
    }
}
