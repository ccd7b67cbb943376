-- Uniqueness. A hypertable's unique index needs its partition column, so keys live in plain tables.
CREATE TABLE block_key (
    chain_id       text    NOT NULL,
    block_number   bigint  NOT NULL,
    branch_epoch   integer NOT NULL,
    block_hash     bytea   NOT NULL CHECK (length(block_hash) = 32),
    parent_hash    bytea   NOT NULL CHECK (length(parent_hash) = 32),
    occurred_at    timestamptz NOT NULL,
    seq            bigint  NOT NULL,
    watched_events integer NOT NULL,
    content_hash   bytea   NOT NULL,
    PRIMARY KEY (chain_id, block_number, branch_epoch),
    UNIQUE (chain_id, block_hash, branch_epoch)
);
COMMENT ON TABLE block_key IS 'One row for each applied block; at each height up to the tip the highest branch_epoch is the canonical one';
COMMENT ON COLUMN block_key.seq IS 'position of the chain.block_applied entry; its watched events follow it directly';

CREATE UNIQUE INDEX block_key_seq_idx ON block_key (chain_id, seq);

CREATE TABLE derived_key (
    chain_id       text     NOT NULL,
    kind           smallint NOT NULL,
    schema_version smallint NOT NULL,
    subject        text     NOT NULL,
    block_number   bigint   NOT NULL,
    branch_epoch   integer  NOT NULL,
    seq            bigint   NOT NULL,
    content_hash   bytea    NOT NULL,
    PRIMARY KEY (chain_id, kind, schema_version, subject, block_number, branch_epoch)
);
COMMENT ON TABLE derived_key IS 'One row for each derived fact';

CREATE TABLE adopted_key (
    chain_id     text   NOT NULL,
    what         text   NOT NULL,
    seq          bigint NOT NULL,
    version      text   NOT NULL,
    bytes_hash   bytea  NOT NULL,
    content_hash bytea  NOT NULL,
    PRIMARY KEY (chain_id, what, seq)
);
COMMENT ON TABLE adopted_key IS 'What was adopted, newest last; the bytes are in the log at seq';

ALTER TABLE block_key OWNER TO obsqra_owner;
ALTER TABLE derived_key OWNER TO obsqra_owner;
ALTER TABLE adopted_key OWNER TO obsqra_owner;
GRANT SELECT, INSERT ON block_key, derived_key, adopted_key TO obsqra_writer;
GRANT SELECT ON block_key, derived_key, adopted_key TO obsqra_reader;
