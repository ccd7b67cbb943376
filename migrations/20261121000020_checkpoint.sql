-- Checkpoints: signed Merkle roots over the log up to a position. Not entries, and not needed to fold the log.
CREATE TABLE checkpoint (
    seq         bigint      NOT NULL PRIMARY KEY CHECK (seq > 0),
    head        bytea       NOT NULL CHECK (length(head) = 32),
    root        bytea       NOT NULL CHECK (length(root) = 32),
    recorded_at timestamptz NOT NULL,
    previous    bytea       NOT NULL CHECK (length(previous) = 32),
    key_id      bytea       NOT NULL CHECK (length(key_id) = 8),
    signature   bytea       NOT NULL CHECK (length(signature) = 64),
    frontier    bytea       NOT NULL
);
COMMENT ON TABLE checkpoint IS 'Signed Merkle roots over the log; never updated, never deleted. The checkpoint file holds the same lines outside the database';
COMMENT ON COLUMN checkpoint.seq IS 'the last entry covered, and so the number of leaves';
COMMENT ON COLUMN checkpoint.head IS 'hash of the entry at seq';
COMMENT ON COLUMN checkpoint.root IS 'Merkle root (RFC 6962) over the hashes of entries 1 to seq';
COMMENT ON COLUMN checkpoint.recorded_at IS 'recorded_at of the entry at seq';
COMMENT ON COLUMN checkpoint.previous IS 'SHA-256 of the signed bytes of the checkpoint before, zeros for the first';
COMMENT ON COLUMN checkpoint.key_id IS 'first 8 bytes of SHA-256 of the public key';
COMMENT ON COLUMN checkpoint.signature IS 'Ed25519 over the canonical array [domain, seq, head, root, recorded_at, previous]';
COMMENT ON COLUMN checkpoint.frontier IS 'seq as 8 bytes and the roots of the perfect subtrees, so that the next root needs no older entry';

CREATE TRIGGER checkpoint_no_change BEFORE UPDATE OR DELETE ON checkpoint
    FOR EACH ROW EXECUTE FUNCTION log_refuse_change();
CREATE TRIGGER checkpoint_no_truncate BEFORE TRUNCATE ON checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION log_refuse_change();

ALTER TABLE checkpoint OWNER TO obsqra_owner;
GRANT SELECT, INSERT ON checkpoint TO obsqra_writer;
GRANT SELECT ON checkpoint TO obsqra_reader;
