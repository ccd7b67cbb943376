-- Children of factories: contracts that an event of a watched factory says were created. Follows from the log, and is
-- written in the transactions that append the blocks, and where a widening of the watched set begins. A row says that
-- the child's events behind its creating event are kept.
CREATE TABLE child_contract (
    chain_id     text    NOT NULL,
    address      bytea   NOT NULL CHECK (length(address) = 32),
    block_number bigint  NOT NULL CHECK (block_number >= 0),
    branch_epoch integer NOT NULL,
    event_index  bigint  NOT NULL CHECK (event_index >= 0),
    seq          bigint  NOT NULL,
    PRIMARY KEY (chain_id, address, block_number, branch_epoch)
);
COMMENT ON TABLE child_contract IS 'Contracts created by watched factories, one row for each block that says so; a row counts while its block is canonical, of several the lowest';
COMMENT ON COLUMN child_contract.event_index IS 'place of the first creating event in its block; events of the child before it are not kept';
COMMENT ON COLUMN child_contract.seq IS 'position of the creating event''s chain.event entry';

CREATE TABLE child_following (
    chain_id  text   PRIMARY KEY,
    after_seq bigint NOT NULL,
    children  bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE child_following IS 'Since when children are followed; without a row the follower has not begun to';
COMMENT ON COLUMN child_following.after_seq IS 'children whose creating event lies at or before are followed only where a widening brought them';
COMMENT ON COLUMN child_following.children IS 'how many rows child_contract has of the chain; where it has another number they are made anew from the log';

ALTER TABLE child_contract OWNER TO obsqra_owner;
ALTER TABLE child_following OWNER TO obsqra_owner;
GRANT SELECT, INSERT, DELETE ON child_contract TO obsqra_writer;
GRANT SELECT, INSERT, UPDATE ON child_following TO obsqra_writer;
GRANT SELECT ON child_contract, child_following TO obsqra_reader;
