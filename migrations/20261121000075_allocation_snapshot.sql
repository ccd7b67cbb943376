-- Read model of `allocation.proposed` and `allocation.infeasible`.
CREATE TABLE allocation_snapshot (
    chain_id    text        NOT NULL,
    policy      text        NOT NULL,
    from_block  bigint      NOT NULL,
    to_block    bigint      NOT NULL,
    from_seq    bigint      NOT NULL,
    to_seq      bigint      NOT NULL,
    entry_seq   bigint      NOT NULL,
    block_hash  bytea       NOT NULL,
    occurred_at timestamptz NOT NULL,
    version     text        NOT NULL,
    rule        text        NOT NULL,
    protocols   text[],
    shares_bps  integer[],
    failure     text,
    PRIMARY KEY (chain_id, policy, from_block, from_seq),
    CHECK (num_nulls(protocols, shares_bps) IN (0, 2)),
    CHECK ((failure IS NULL) = (protocols IS NOT NULL))
);
COMMENT ON TABLE allocation_snapshot IS 'What each policy allocates from a block on; inputs, constraints and causes are in the log at entry_seq';
COMMENT ON COLUMN allocation_snapshot.shares_bps IS 'bps of each of the protocols, 10000 together; null where the policy is infeasible';
COMMENT ON COLUMN allocation_snapshot.failure IS 'why there is no allocation';
CREATE INDEX allocation_snapshot_from_idx ON allocation_snapshot (chain_id, from_block)
    WHERE to_seq = 9223372036854775807;
CREATE INDEX allocation_snapshot_to_idx ON allocation_snapshot (chain_id, to_block)
    WHERE to_seq = 9223372036854775807 AND to_block <> 9223372036854775807;
CREATE INDEX allocation_snapshot_entry_idx ON allocation_snapshot (chain_id, entry_seq);

ALTER TABLE allocation_snapshot OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON allocation_snapshot TO obsqra_writer;
GRANT SELECT ON allocation_snapshot TO obsqra_reader;
