-- Widening of the watched set: what was asked for, how far it has come, and which blocks gained events.
CREATE TABLE watch (
    chain_id         text        NOT NULL,
    digest           bytea       NOT NULL CHECK (length(digest) = 32),
    contracts        bytea[]     NOT NULL CHECK (cardinality(contracts) > 0),
    registry         bytea,
    registry_version text,
    requested_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    first_number     bigint,
    last_number      bigint,
    next_number      bigint,
    widened_seq      bigint,
    completed_seq    bigint,
    blocks           bigint      NOT NULL DEFAULT 0,
    events           bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (chain_id, digest),
    CHECK ((registry IS NULL) = (registry_version IS NULL)),
    CHECK (num_nulls(first_number, last_number, next_number, widened_seq) IN (0, 4))
);
COMMENT ON TABLE watch IS 'Contracts that joined the watched set after the log began; a request until the follower takes it up';
COMMENT ON COLUMN watch.digest IS 'names the request: SHA-256 over 0x02 and the contracts, ascending; with a registry over 0x03, that, and the registry''s SHA-256';
COMMENT ON COLUMN watch.registry IS 'registry to adopt once nothing is missing any more';
COMMENT ON COLUMN watch.widened_seq IS 'the chain.watch_widened entry; blocks applied after it carry the events';
COMMENT ON COLUMN watch.next_number IS 'blocks from first_number up to here, exclusive, are supplemented';
COMMENT ON COLUMN watch.completed_seq IS 'the chain.watch_completed entry';

CREATE TABLE supplement (
    chain_id       text    NOT NULL,
    block_number   bigint  NOT NULL,
    branch_epoch   integer NOT NULL,
    digest         bytea   NOT NULL,
    seq            bigint  NOT NULL,
    watched_events integer NOT NULL,
    PRIMARY KEY (chain_id, block_number, branch_epoch, digest)
);
COMMENT ON TABLE supplement IS 'Blocks that gained events of a widening; the events follow the chain.block_supplemented entry at seq';

COMMENT ON COLUMN log.kind IS '1 adopted, 10 chain.block_applied, 11 chain.event, 12 chain.block_attested, 13 chain.block_reverted, 14 chain.block_finalized, 15 chain.watch_widened, 16 chain.block_supplemented, 17 chain.watch_completed, 30 risk.scored, 31 risk.absent, 90 retracted';

ALTER TABLE watch OWNER TO obsqra_owner;
ALTER TABLE supplement OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE ON watch TO obsqra_writer;
GRANT SELECT, INSERT ON supplement TO obsqra_writer;
GRANT SELECT ON watch, supplement TO obsqra_reader;
