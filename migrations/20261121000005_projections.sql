-- Read models. Rows carry two half-open ranges: block range (what the chain was) and seq range (what
-- was known). Nothing is deleted: a change closes to_seq of the row it replaces. An upper bound of
-- 9223372036854775807 means open. Any of these tables can be dropped and rebuilt from the log.
CREATE TABLE projection_state (
    chain_id         text        NOT NULL PRIMARY KEY,
    seq              bigint      NOT NULL,
    block_number     bigint,
    branch_epoch     integer,
    block_hash       bytea,
    occurred_at      timestamptz,
    finalized_number bigint
);
COMMENT ON TABLE projection_state IS 'The position that all read models of a chain share';
COMMENT ON COLUMN projection_state.seq IS 'every entry up to here is applied';

CREATE TABLE projection_hash (
    chain_id   text  NOT NULL,
    read_model text  NOT NULL,
    canonical  bytea NOT NULL CHECK (length(canonical) = 32),
    full_sum   bytea NOT NULL CHECK (length(full_sum) = 32),
    PRIMARY KEY (chain_id, read_model)
);
COMMENT ON TABLE projection_hash IS 'Sums modulo 2^256 of SHA-256 of row bytes: canonical over rows open in seq without their seq columns, full_sum over all rows';

CREATE TABLE block (
    chain_id     text        NOT NULL,
    from_block   bigint      NOT NULL,
    to_block     bigint      NOT NULL,
    from_seq     bigint      NOT NULL,
    to_seq       bigint      NOT NULL,
    branch_epoch integer     NOT NULL,
    block_hash   bytea       NOT NULL,
    parent_hash  bytea       NOT NULL,
    occurred_at  timestamptz NOT NULL,
    event_count  integer     NOT NULL,
    PRIMARY KEY (chain_id, from_block, from_seq)
);
COMMENT ON TABLE block IS 'Canonical blocks; from_block is the height, from_seq the chain.block_applied entry';

CREATE TABLE event (
    chain_id         text        NOT NULL,
    from_block       bigint      NOT NULL,
    to_block         bigint      NOT NULL,
    from_seq         bigint      NOT NULL,
    to_seq           bigint      NOT NULL,
    branch_epoch     integer     NOT NULL,
    block_hash       bytea       NOT NULL,
    occurred_at      timestamptz NOT NULL,
    protocol         text        NOT NULL,
    name             text,
    contract         bytea       NOT NULL,
    transaction_hash bytea       NOT NULL,
    event_index      integer     NOT NULL,
    keys             bytea[]     NOT NULL,
    data             bytea[]     NOT NULL,
    decoded          jsonb,
    PRIMARY KEY (from_seq)
);
COMMENT ON TABLE event IS 'Watched events; from_seq is the chain.event entry, name is null where no layout fits';
CREATE INDEX event_protocol_idx ON event (chain_id, protocol, from_seq);
CREATE INDEX event_contract_idx ON event (chain_id, contract, from_seq);
CREATE INDEX event_block_idx ON event (chain_id, from_block);

CREATE TABLE market_metrics (
    chain_id        text     NOT NULL,
    protocol        text     NOT NULL,
    market          text     NOT NULL,
    from_block      bigint   NOT NULL,
    to_block        bigint   NOT NULL,
    from_seq        bigint   NOT NULL,
    to_seq          bigint   NOT NULL,
    asset           text     NOT NULL,
    asset_address   bytea    NOT NULL,
    utilization_bps integer,
    turnover_bps    integer,
    volatility_bps  integer,
    liquidity_class smallint,
    price_usdc      numeric(78),
    tvl_usdc        numeric(78),
    absent          jsonb    NOT NULL,
    PRIMARY KEY (chain_id, protocol, market, from_block, from_seq)
);
COMMENT ON TABLE market_metrics IS 'Metrics of each market, valid from the block at which they changed';
COMMENT ON COLUMN market_metrics.price_usdc IS 'USDC per whole token, scale 1e-18';
COMMENT ON COLUMN market_metrics.tvl_usdc IS 'USDC, scale 1e-6';
COMMENT ON COLUMN market_metrics.absent IS 'array of {field, reason, detail} for what the log does not support';
CREATE INDEX market_metrics_open_idx ON market_metrics (chain_id, protocol, market)
    WHERE to_seq = 9223372036854775807 AND to_block = 9223372036854775807;

-- What a revert of a block undoes: rows that begin or end at its height.
CREATE INDEX market_metrics_from_idx ON market_metrics (chain_id, from_block)
    WHERE to_seq = 9223372036854775807;
CREATE INDEX market_metrics_to_idx ON market_metrics (chain_id, to_block)
    WHERE to_seq = 9223372036854775807 AND to_block <> 9223372036854775807;

CREATE TABLE risk_score (
    chain_id        text        NOT NULL,
    protocol        text        NOT NULL,
    from_block      bigint      NOT NULL,
    to_block        bigint      NOT NULL,
    from_seq        bigint      NOT NULL,
    to_seq          bigint      NOT NULL,
    entry_seq       bigint      NOT NULL,
    block_hash      bytea       NOT NULL,
    occurred_at     timestamptz NOT NULL,
    formula         text        NOT NULL,
    score           smallint,
    components      integer[],
    inputs          integer[],
    absent          jsonb       NOT NULL,
    PRIMARY KEY (chain_id, protocol, from_block, from_seq)
);
COMMENT ON TABLE risk_score IS 'Risk scores, and where score is null the reasons for its absence; causes are in the log at entry_seq';
COMMENT ON COLUMN risk_score.components IS 'utilization, volatility, liquidity, audit, age';
COMMENT ON COLUMN risk_score.inputs IS 'utilization bps, volatility bps, liquidity class, audit score, age in days';
CREATE INDEX risk_score_from_idx ON risk_score (chain_id, from_block)
    WHERE to_seq = 9223372036854775807;
CREATE INDEX risk_score_to_idx ON risk_score (chain_id, to_block)
    WHERE to_seq = 9223372036854775807 AND to_block <> 9223372036854775807;
CREATE INDEX risk_score_entry_idx ON risk_score (chain_id, entry_seq);

ALTER TABLE projection_state OWNER TO obsqra_owner;
ALTER TABLE projection_hash OWNER TO obsqra_owner;
ALTER TABLE block OWNER TO obsqra_owner;
ALTER TABLE event OWNER TO obsqra_owner;
ALTER TABLE market_metrics OWNER TO obsqra_owner;
ALTER TABLE risk_score OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    projection_state, projection_hash, block, event, market_metrics, risk_score TO obsqra_writer;
GRANT SELECT ON
    projection_state, projection_hash, block, event, market_metrics, risk_score TO obsqra_reader;
