//! The schema: queries, subscriptions and the types they return. Resolvers check arguments, call a
//! loader or a read, and convert; they hold no SQL.

mod arguments;
mod query;
mod subscription;
mod types;

use async_graphql::{EmptyMutation, Schema, SchemaBuilder};
use chrono::{DateTime, Utc};

use crate::limits::{MAX_COST, MAX_DEPTH, MAX_DIRECTIVES};

pub(crate) use query::Query;
pub(crate) use subscription::Subscription;

/// The schema as executed.
pub(crate) type ObsqraSchema = Schema<Query, EmptyMutation, Subscription>;

fn builder() -> SchemaBuilder<Query, EmptyMutation, Subscription> {
    Schema::build(Query, EmptyMutation, Subscription)
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
