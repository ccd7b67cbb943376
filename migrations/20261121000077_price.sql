-- Read model of token prices, one series for each source.
CREATE TABLE price (
    chain_id   text   NOT NULL,
    token      bytea  NOT NULL,
    source     text   NOT NULL,
    from_block bigint NOT NULL,
    to_block   bigint NOT NULL,
    from_seq   bigint NOT NULL,
    to_seq     bigint NOT NULL,
    symbol     text   NOT NULL,
    price_usdc numeric(78),
    protocol   text,
    market     text,
    reason     text,
    PRIMARY KEY (chain_id, token, source, from_block, from_seq),
    CHECK ((price_usdc IS NULL) = (reason IS NOT NULL))
);
COMMENT ON TABLE price IS 'Price of each listed token, valid from the block at which it changed';
COMMENT ON COLUMN price.source IS 'pools: the deepest pool with USDC; oracle/<protocol>: what that protocol''s events carry';
COMMENT ON COLUMN price.price_usdc IS 'USDC per whole token, of an oracle US dollars, scale 1e-18; null where there is none';
COMMENT ON COLUMN price.market IS 'the market that gives the price';
COMMENT ON COLUMN price.reason IS 'why there is no price';
CREATE INDEX price_open_idx ON price (chain_id, token, source)
    WHERE to_seq = 9223372036854775807 AND to_block = 9223372036854775807;
CREATE INDEX price_from_idx ON price (chain_id, from_block)
    WHERE to_seq = 9223372036854775807;
CREATE INDEX price_to_idx ON price (chain_id, to_block)
    WHERE to_seq = 9223372036854775807 AND to_block <> 9223372036854775807;

ALTER TABLE price OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON price TO obsqra_writer;
GRANT SELECT ON price TO obsqra_reader;
