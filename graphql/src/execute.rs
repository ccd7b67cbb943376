//! Running operations: pinned at their start, errors in their outside form, the position added.

use std::sync::Arc;
use std::time::Instant;

use async_graphql::{Data, Executor, Request, Response};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::sync::Semaphore;

use crate::api::ObsqraSchema;
use crate::context::{RequestContext, Shared};
use crate::error;
use crate::limits::{MAX_OPERATIONS_A_WEBSOCKET, OPERATION_TIMEOUT};

/// The schema and what its requests share.
#[derive(Clone)]
pub(crate) struct Api {
    schema: ObsqraSchema,
    shared: Arc<Shared>,
}

impl Api {
    pub(crate) fn new(schema: ObsqraSchema, shared: Arc<Shared>) -> Self {
        Self { schema, shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs a query to its end or its time limit.
    pub(crate) async fn execute(&self, request: Request) -> Response {
        let started = Instant::now();
        let run = async {
            let context = RequestContext::pin(Arc::clone(&self.shared)).await;
            let mut response = self.schema.execute(request.data(Arc::clone(&context))).await;
            finish(&mut response, &context);
            response
        };
        let response = match tokio::time::timeout(OPERATION_TIMEOUT, run).await {
            Ok(response) => response,
            Err(_elapsed) => error::timed_out(),
        };
        let outcome = if response.is_ok() { "ok" } else { "error" };
        metrics::histogram!("obsqra_graphql_request_seconds", "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        response
    }
}

fn finish(response: &mut Response, context: &RequestContext) {
    error::present(response);
    context.sign(response);
}

/// Runs the operations of one WebSocket, a bounded number at a time.
#[derive(Clone)]
pub(crate) struct Connection {
    api: Api,
    free: Arc<Semaphore>,
}

impl Connection {
    pub(crate) fn new(api: Api) -> Self {
        Self { api, free: Arc::new(Semaphore::new(MAX_OPERATIONS_A_WEBSOCKET)) }
    }
}

impl Executor for Connection {
    async fn execute(&self, request: Request) -> Response {
        self.api.execute(request).await
    }

    fn execute_stream(
        &self,
        request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            return stream::once(async { error::too_many_operations() }).boxed();
        };
        let api = self.api.clone();
        async move {
            let context = RequestContext::pin(Arc::clone(&api.shared)).await;
            let request = request.data(Arc::clone(&context));
            let session = session.unwrap_or_default();
            let responses = api.schema.execute_stream_with_session_data(request, session);
            responses.map(move |mut response| {
                // Held as long as the operation's stream lives.
                let _open = &permit;
                finish(&mut response, &context);
                response
            })
        }
        .flatten_stream()
        .boxed()
    }
}
