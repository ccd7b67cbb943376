-- How the canonical chain was checked, as runs of blocks with the same verdict: what a person asks first, and
-- few rows however long the chain. Follows from chain.block_applied, chain.block_attested, chain.block_reverted
-- and chain.watch_widened, and is written in their transactions. A follower that finds rows missing, as in a log
-- that is there already, makes them anew from the log.
CREATE TABLE attested_range (
    chain_id    text     NOT NULL,
    first_block bigint   NOT NULL CHECK (first_block >= 0),
    last_block  bigint   NOT NULL CHECK (last_block >= first_block),
    verdict     smallint NOT NULL CHECK (verdict IN (0, 1, 2)),
    PRIMARY KEY (chain_id, first_block)
);
COMMENT ON TABLE attested_range IS 'Runs of canonical blocks by how they were checked; they neither overlap nor touch with the same verdict';
COMMENT ON COLUMN attested_range.verdict IS '0 verified, 1 unverifiable, 2 unchecked; the newest attestation of a block counts';
COMMENT ON COLUMN attested_range.last_block IS 'inclusive';

ALTER TABLE attested_range OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON attested_range TO obsqra_writer;
GRANT SELECT ON attested_range TO obsqra_reader;
