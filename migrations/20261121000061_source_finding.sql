-- What sources were found out about: a row for each such entry, so that the same thing is said once, with the
-- answer that shows it. Answers are evidence, not history: the log has their digest, and goes on without them.
CREATE TABLE source_finding (
    chain_id     text   NOT NULL,
    block_number bigint NOT NULL CHECK (block_number >= 0),
    content_hash bytea  NOT NULL CHECK (length(content_hash) = 32),
    kind         smallint NOT NULL,
    node         text   NOT NULL,
    found_at     timestamptz NOT NULL DEFAULT now(),
    answer       bytea,
    PRIMARY KEY (chain_id, block_number, content_hash)
);
COMMENT ON TABLE source_finding IS 'Blocks of sources that contradict themselves or one another; not part of any derived number';
COMMENT ON COLUMN source_finding.kind IS '18 chain.mismatch_found, 19 chain.sources_disagreed, 20 chain.incomplete_found';
COMMENT ON COLUMN source_finding.node IS 'address of the node without what may be secret, or what else was found out';
COMMENT ON COLUMN source_finding.content_hash IS 'content hash of the entry in the log';
COMMENT ON COLUMN source_finding.answer IS 'what the node answered, as it came; null where there is nothing to keep';

ALTER TABLE source_finding OWNER TO obsqra_owner;
GRANT SELECT, INSERT ON source_finding TO obsqra_writer;
GRANT SELECT ON source_finding TO obsqra_reader;

COMMENT ON COLUMN log.kind IS '1 adopted, 10 chain.block_applied, 11 chain.event, 12 chain.block_attested, 13 chain.block_reverted, 14 chain.block_finalized, 15 chain.watch_widened, 16 chain.block_supplemented, 17 chain.watch_completed, 18 chain.mismatch_found, 19 chain.sources_disagreed, 20 chain.incomplete_found, 30 risk.scored, 31 risk.absent, 90 retracted';
