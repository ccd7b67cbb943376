-- Read model of `anomaly.found`: the newest that each rule says of each market.
CREATE TABLE anomaly (
    chain_id    text        NOT NULL,
    protocol    text        NOT NULL,
    market      text        NOT NULL,
    rule        text        NOT NULL,
    from_block  bigint      NOT NULL,
    to_block    bigint      NOT NULL,
    from_seq    bigint      NOT NULL,
    to_seq      bigint      NOT NULL,
    entry_seq   bigint      NOT NULL,
    block_hash  bytea       NOT NULL,
    occurred_at timestamptz NOT NULL,
    severity    text        NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    phase       text        NOT NULL CHECK (phase IN ('point', 'opened', 'closed')),
    detail      text        NOT NULL,
    PRIMARY KEY (chain_id, protocol, market, rule, from_block, from_seq)
);
COMMENT ON TABLE anomaly IS 'Anomalies and violated conservation rules; causes are in the log at entry_seq';
COMMENT ON COLUMN anomaly.market IS 'empty where the anomaly is about the protocol';
COMMENT ON COLUMN anomaly.phase IS 'point: in the block from_block alone; opened: lasts from from_block to to_block; closed: says that it is over';
CREATE INDEX anomaly_open_idx ON anomaly (chain_id, protocol, market, rule)
    WHERE to_seq = 9223372036854775807 AND to_block = 9223372036854775807;
CREATE INDEX anomaly_from_idx ON anomaly (chain_id, from_block)
    WHERE to_seq = 9223372036854775807;
CREATE INDEX anomaly_to_idx ON anomaly (chain_id, to_block)
    WHERE to_seq = 9223372036854775807 AND to_block <> 9223372036854775807;
CREATE INDEX anomaly_entry_idx ON anomaly (chain_id, entry_seq);

ALTER TABLE anomaly OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON anomaly TO obsqra_writer;
GRANT SELECT ON anomaly TO obsqra_reader;

COMMENT ON COLUMN log.kind IS '1 adopted, 10 chain.block_applied, 11 chain.event, 12 chain.block_attested, 13 chain.block_reverted, 14 chain.block_finalized, 15 chain.watch_widened, 16 chain.block_supplemented, 17 chain.watch_completed, 18 chain.mismatch_found, 19 chain.sources_disagreed, 20 chain.incomplete_found, 30 risk.scored, 31 risk.absent, 40 allocation.proposed, 41 allocation.infeasible, 50 anomaly.found, 90 retracted';
