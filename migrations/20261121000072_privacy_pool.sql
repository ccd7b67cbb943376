-- What is visible of privacy pools whose chamber has no events of its own: transfers of tracked tokens to it
-- and from it, by size.
CREATE TABLE privacy_pool (
    chain_id      text        NOT NULL,
    protocol      text        NOT NULL,
    chamber       bytea       NOT NULL,
    token         bytea       NOT NULL,
    bucket        smallint    NOT NULL CHECK (bucket BETWEEN 0 AND 77),
    from_block    bigint      NOT NULL,
    to_block      bigint      NOT NULL,
    from_seq      bigint      NOT NULL,
    to_seq        bigint      NOT NULL,
    deposits      bigint      NOT NULL,
    withdrawals   bigint      NOT NULL,
    deposited     numeric(97) NOT NULL,
    withdrawn     numeric(97) NOT NULL,
    anonymity_set bigint      NOT NULL CHECK (anonymity_set = GREATEST(deposits - withdrawals, 0)),
    PRIMARY KEY (chain_id, chamber, token, bucket, from_block, from_seq)
);
COMMENT ON TABLE privacy_pool IS 'Transfers to and from a chamber, summed up from the first block of the log, valid from the block at which they changed';
COMMENT ON COLUMN privacy_pool.bucket IS 'decade of the amount: 10^bucket <= amount < 10^(bucket + 1), in the token''s smallest unit; a transfer of nothing is in none';
COMMENT ON COLUMN privacy_pool.deposits IS 'transfers to the chamber';
COMMENT ON COLUMN privacy_pool.withdrawals IS 'transfers from the chamber';
COMMENT ON COLUMN privacy_pool.deposited IS 'their sum in the token''s smallest unit; fewer than 2^63 amounts below 2^256 have at most 97 digits';
COMMENT ON COLUMN privacy_pool.withdrawn IS 'their sum in the token''s smallest unit';
COMMENT ON COLUMN privacy_pool.anonymity_set IS 'deposits less withdrawals of the bucket, not below 0: an upper bound of the deposits that a withdrawal may belong to';

CREATE INDEX privacy_pool_open_idx ON privacy_pool (chain_id)
    WHERE to_seq = 9223372036854775807 AND to_block = 9223372036854775807;
CREATE INDEX privacy_pool_block_idx ON privacy_pool (chain_id, chamber, token, from_block, bucket);
-- What a revert of a block undoes: rows that begin or end at its height.
CREATE INDEX privacy_pool_from_idx ON privacy_pool (chain_id, from_block)
    WHERE to_seq = 9223372036854775807;
CREATE INDEX privacy_pool_to_idx ON privacy_pool (chain_id, to_block)
    WHERE to_seq = 9223372036854775807 AND to_block <> 9223372036854775807;

ALTER TABLE privacy_pool OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON privacy_pool TO obsqra_writer;
GRANT SELECT ON privacy_pool TO obsqra_reader;
