-- The log: append-only, dense, hash-chained. The Apache edition of TimescaleDB suffices.
CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE log (
    seq            bigint      NOT NULL PRIMARY KEY CHECK (seq > 0),
    kind           smallint    NOT NULL,
    schema_version smallint    NOT NULL,
    chain_id       text        NOT NULL,
    block_number   bigint,
    branch_epoch   integer,
    occurred_at    timestamptz,
    recorded_at    timestamptz NOT NULL,
    payload        bytea       NOT NULL,
    content_hash   bytea       NOT NULL CHECK (length(content_hash) = 32),
    hash           bytea       NOT NULL CHECK (length(hash) = 32),
    CHECK (num_nulls(block_number, branch_epoch, occurred_at) IN (0, 3))
);
COMMENT ON TABLE log IS 'What was read from the chain and what was derived from it; never updated, never deleted';
COMMENT ON COLUMN log.kind IS '1 adopted, 10 chain.block_applied, 11 chain.event, 12 chain.block_attested, 13 chain.block_reverted, 14 chain.block_finalized, 30 risk.scored, 31 risk.absent';
COMMENT ON COLUMN log.block_number IS 'height; for a derived fact its as-of block';
COMMENT ON COLUMN log.branch_epoch IS 'reorganisations of the chain that the log holds before the block was applied';
COMMENT ON COLUMN log.payload IS 'deterministic CBOR: array of key and body';
COMMENT ON COLUMN log.content_hash IS 'SHA-256 of the canonical array [kind, version, chain, block, payload]';
COMMENT ON COLUMN log.hash IS 'SHA-256(0x00, seq, recorded_at, content_hash, hash of seq - 1)';

-- Two million entries a chunk: about 1 GiB with its indexes at 300-byte payloads.
SELECT create_hypertable('log', by_range('seq', 2000000), create_default_indexes => false);

CREATE INDEX log_block_number_idx ON log USING brin (block_number) WITH (autosummarize = on);

-- One row. Locking it is what makes seq dense and in commit order.
CREATE TABLE log_head (
    only_row    boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    seq         bigint      NOT NULL,
    hash        bytea       NOT NULL CHECK (length(hash) = 32),
    recorded_at timestamptz NOT NULL
);
COMMENT ON TABLE log_head IS 'Position and hash of the last entry; locked by every append until its commit';
INSERT INTO log_head (seq, hash, recorded_at)
VALUES (0, decode(repeat('00', 32), 'hex'), 'epoch');

-- Triggers are the second guard, after rights: they stop a mistake made with an owner's rights.
CREATE FUNCTION log_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER log_no_change BEFORE UPDATE OR DELETE ON log
    FOR EACH ROW EXECUTE FUNCTION log_refuse_change();
CREATE TRIGGER log_no_truncate BEFORE TRUNCATE ON log
    FOR EACH STATEMENT EXECUTE FUNCTION log_refuse_change();

ALTER TABLE log OWNER TO obsqra_owner;
ALTER TABLE log_head OWNER TO obsqra_owner;
GRANT SELECT, INSERT ON log TO obsqra_writer;
GRANT SELECT ON log TO obsqra_reader;
GRANT SELECT, UPDATE ON log_head TO obsqra_writer;
GRANT SELECT ON log_head TO obsqra_reader;
