-- Who may write, and how far each has come. Everything here can be rebuilt from the log, leases aside.
CREATE TABLE lease (
    partition  text        NOT NULL PRIMARY KEY,
    epoch      bigint      NOT NULL,
    holder     text        NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE lease IS 'Who holds a partition; a writer states its epoch with every append and is refused when it is not this one';

CREATE TABLE chain_tip (
    chain_id         text    NOT NULL PRIMARY KEY,
    first_number     bigint  NOT NULL,
    block_number     bigint  NOT NULL,
    block_hash       bytea   NOT NULL CHECK (length(block_hash) = 32),
    branch_epoch     integer NOT NULL,
    seq              bigint  NOT NULL,
    finalized_number bigint,
    node_head        bigint,
    node_seen_at     timestamptz
);
COMMENT ON TABLE chain_tip IS 'The newest canonical block of each chain, as the follower left it';
COMMENT ON COLUMN chain_tip.branch_epoch IS 'reorganisations so far: the epoch of the next block applied';
COMMENT ON COLUMN chain_tip.node_head IS 'head height last heard from a node';
COMMENT ON COLUMN chain_tip.node_seen_at IS 'when it was last heard, to a few seconds';

CREATE TABLE cursor_position (
    partition text   NOT NULL PRIMARY KEY,
    seq       bigint NOT NULL
);
COMMENT ON TABLE cursor_position IS 'The last position of the log that a partition has dealt with';

CREATE TABLE relay_subject (
    chain_id text   NOT NULL,
    subject  text   NOT NULL,
    seq      bigint NOT NULL,
    PRIMARY KEY (chain_id, subject)
);
COMMENT ON TABLE relay_subject IS 'Position of the last message acknowledged on each subject, for the Obsqra-Prev header';

CREATE TABLE fold_snapshot (
    partition    text    NOT NULL,
    block_number bigint  NOT NULL,
    branch_epoch integer NOT NULL,
    seq          bigint  NOT NULL,
    version      text    NOT NULL,
    state        bytea   NOT NULL,
    PRIMARY KEY (partition, block_number, branch_epoch)
);
COMMENT ON TABLE fold_snapshot IS 'State of a fold after a block, so that a restart does not read the log from its start; may be emptied at any time';
COMMENT ON COLUMN fold_snapshot.seq IS 'last position that the state covers';

ALTER TABLE lease OWNER TO obsqra_owner;
ALTER TABLE chain_tip OWNER TO obsqra_owner;
ALTER TABLE cursor_position OWNER TO obsqra_owner;
ALTER TABLE relay_subject OWNER TO obsqra_owner;
ALTER TABLE fold_snapshot OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE ON lease, chain_tip TO obsqra_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON cursor_position, relay_subject, fold_snapshot TO obsqra_writer;
GRANT SELECT ON lease, chain_tip, cursor_position TO obsqra_reader;
