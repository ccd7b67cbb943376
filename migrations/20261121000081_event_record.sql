-- A row of `event` as one value: many of them go over in one parameter, and felts arrive as arrays. A type of its own,
-- so that a column added to the table leaves the statements of a running program as they are.
CREATE TYPE event_record AS (
    chain_id         text,
    from_block       bigint,
    to_block         bigint,
    from_seq         bigint,
    to_seq           bigint,
    branch_epoch     integer,
    block_hash       bytea,
    occurred_at      timestamptz,
    protocol         text,
    name             text,
    contract         bytea,
    transaction_hash bytea,
    event_index      integer,
    keys             bytea[],
    data             bytea[],
    decoded          jsonb
);
ALTER TYPE event_record OWNER TO obsqra_owner;
