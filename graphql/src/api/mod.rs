//! The schema: queries, subscriptions and the types they return. Resolvers check arguments, call a
//! loader or a read, and convert; they hold no SQL.

mod arguments;
mod findings;
mod prices;
mod query;
mod subscription;
mod types;

use async_graphql::{EmptyMutation, MergedObject, Schema, SchemaBuilder};
use chrono::{DateTime, Utc};

use crate::limits::{MAX_COST, MAX_DEPTH, MAX_DIRECTIVES};

use findings::Findings;
use prices::Prices;
use query::Readings;
pub(crate) use subscription::Subscription;

/// What can be read. Each request is answered as of one position of the log, which the response
/// names in `extensions.position`.
#[derive(MergedObject, Default)]
pub(crate) struct Query(Readings, Prices, Findings);

/// The schema as executed.
pub(crate) type ObsqraSchema = Schema<Query, EmptyMutation, Subscription>;

fn builder() -> SchemaBuilder<Query, EmptyMutation, Subscription> {
    Schema::build(Query::default(), EmptyMutation, Subscription)
        .override_output_type_description::<DateTime<Utc>>(
            "An instant in RFC 3339 form. Answers are in UTC.",
        )
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COST)
        .limit_directives(MAX_DIRECTIVES)
}

/// The schema with its limits.
pub(crate) fn schema() -> ObsqraSchema {
    builder().finish()
}

/// The schema in GraphQL's schema definition language, as committed in `graphql/schema.graphql`.
#[must_use]
pub fn schema_sdl() -> String {
    schema().sdl()
}
