-- What analysts may read, and nothing else: views with columns that stay, over the read models. They are owned by
-- obsqra_owner and read with its rights, so that nobody who uses them needs a right on a table.
-- Roles belong to the whole cluster, so another database may have made this one already, even at this moment.
DO $$
BEGIN
    CREATE ROLE obsqra_analyst NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

CREATE SCHEMA analyst AUTHORIZATION obsqra_owner;
COMMENT ON SCHEMA analyst IS 'Read models for analysts; ops/docs/sql.md explains them';

CREATE VIEW analyst.position AS
SELECT chain_id, seq, block_number, branch_epoch, block_hash, occurred_at, finalized_number
FROM public.projection_state;
COMMENT ON VIEW analyst.position IS 'The position that all other views of a chain stand for';

CREATE VIEW analyst.block AS
SELECT chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, block_hash, parent_hash, occurred_at, event_count
FROM public.block;
COMMENT ON VIEW analyst.block IS 'Canonical blocks; from_block is the height';

CREATE VIEW analyst.event AS
SELECT chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, block_hash, occurred_at, protocol, name, contract,
       transaction_hash, event_index, keys, data, decoded
FROM public.event;
COMMENT ON VIEW analyst.event IS 'Watched events with their felts and what they were decoded to';

CREATE VIEW analyst.activity AS
SELECT chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, block_hash, occurred_at, protocol, kind, contract,
       wallet, counterparty, token, amount, counter_token, counter_amount, transaction_hash, event_index, ordinal, place
FROM public.activity;
COMMENT ON VIEW analyst.activity IS 'One row for each thing that a watched event says a wallet did';

CREATE VIEW analyst.market_metrics AS
SELECT chain_id, protocol, market, from_block, to_block, from_seq, to_seq, asset, asset_address, counted,
       utilization_bps, turnover_bps, volatility_1d_bps, volatility_bps, volatility_30d_bps, drawdown_bps,
       liquidity_class, price_usdc, oracle_price_usd, tvl_usdc, supply_apy_bps, opened_at, borrow_rate, supply_rate,
       supplied, borrowed, withdraw_headroom, exit_shock_bps, suppliers, top1_bps, top5_bps, hhi_bps,
       accumulator_excess_ppb, volume_24h_usdc, fees_24h_usdc, depth_up_usdc, depth_down_usdc, absent
FROM public.market_metrics;
COMMENT ON VIEW analyst.market_metrics IS 'Figures of each market, valid from the block at which they changed; null with a reason in absent where the log does not support one';

CREATE VIEW analyst.price AS
SELECT chain_id, token, symbol, source, from_block, to_block, from_seq, to_seq, price_usdc, protocol, market, reason
FROM public.price;
COMMENT ON VIEW analyst.price IS 'Price of each listed token by source, valid from the block at which it changed';

CREATE VIEW analyst.risk_score AS
SELECT chain_id, protocol, from_block, to_block, from_seq, to_seq, entry_seq, block_hash, occurred_at, formula, score,
       components, inputs, absent
FROM public.risk_score;
COMMENT ON VIEW analyst.risk_score IS 'Risk scores of protocols, and where score is null the reasons for its absence';

CREATE VIEW analyst.anomaly AS
SELECT chain_id, protocol, market, rule, from_block, to_block, from_seq, to_seq, entry_seq, block_hash, occurred_at,
       severity, phase, detail
FROM public.anomaly;
COMMENT ON VIEW analyst.anomaly IS 'Anomalies and violated conservation rules';

CREATE VIEW analyst.allocation_snapshot AS
SELECT chain_id, policy, version, rule, from_block, to_block, from_seq, to_seq, entry_seq, block_hash, occurred_at,
       protocols, shares_bps, failure
FROM public.allocation_snapshot;
COMMENT ON VIEW analyst.allocation_snapshot IS 'What each policy allocates from a block on, or why it allocates nothing';

CREATE VIEW analyst.privacy_pool AS
SELECT chain_id, protocol, chamber, token, bucket, from_block, to_block, from_seq, to_seq, deposits, withdrawals,
       deposited, withdrawn, anonymity_set
FROM public.privacy_pool;
COMMENT ON VIEW analyst.privacy_pool IS 'Transfers to and from the chamber of a privacy pool, summed up by decade of the amount';

CREATE FUNCTION analyst.felt(hexadecimal text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT decode(
        CASE WHEN hexadecimal ~ '^(0x)?[0-9a-fA-F]{1,64}$' THEN lpad(regexp_replace(hexadecimal, '^0x', ''), 64, '0')
             ELSE 'not a felt: ' || hexadecimal END,
        'hex')
$$;
COMMENT ON FUNCTION analyst.felt IS 'A felt as the views hold it, 32 bytes, from hexadecimal digits with or without 0x';

CREATE FUNCTION analyst.hex(felt bytea) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '0x' || coalesce(nullif(ltrim(encode(felt, 'hex'), '0'), ''), '0')
$$;
COMMENT ON FUNCTION analyst.hex IS 'A felt of the views as hexadecimal digits with 0x, without leading zeros';

-- Comments of columns: those of the table, else those that say the same on every view.
DO $$
DECLARE
    shared  jsonb := jsonb_build_object(
        'chain_id', 'the chain',
        'seq', 'every log entry up to here is applied',
        'from_block', 'first height that the row holds for',
        'to_block', 'the height from which it holds no more; 9223372036854775807 while it does',
        'from_seq', 'log entry that made the row known',
        'to_seq', 'log entry that replaced it, or reverted its block; 9223372036854775807 while it stands',
        'block_number', 'height of the newest block',
        'finalized_number', 'highest block accepted on L1',
        'branch_epoch', 'reorganisations of the chain that the log held before the block',
        'block_hash', 'hash of the block, a felt',
        'parent_hash', 'hash of the block below, a felt',
        'occurred_at', 'timestamp of the block''s header',
        'event_count', 'watched events of the block',
        'protocol', 'id of the protocol in the registry',
        'market', 'id of the market within the protocol',
        'name', 'what the event is called; null where no layout fits',
        'contract', 'the contract that emitted it, a felt',
        'transaction_hash', 'a felt',
        'event_index', 'place among all events of the block, from 0',
        'keys', 'felts; keys[1] is the selector',
        'data', 'felts',
        'decoded', 'members by name; null where no layout fits',
        'asset', 'symbol of the market''s asset',
        'asset_address', 'its token contract, a felt',
        'utilization_bps', 'borrowed over supplied, 1e-4',
        'turnover_bps', 'volume of 24 h over value, 1e-4',
        'volatility_1d_bps', 'annualised from the last day, 1e-4',
        'volatility_bps', 'annualised from the last seven days, 1e-4',
        'volatility_30d_bps', 'annualised from the last thirty days, 1e-4',
        'liquidity_class', 'class of tvl_usdc, 0 to 3: from 0, 1, 10 and 50 million USDC',
        'opened_at', 'timestamp of the block that opened the market',
        'top1_bps', 'share of the largest supplier, 1e-4',
        'top5_bps', 'share of the five largest suppliers, 1e-4',
        'hhi_bps', 'sum of the squares of all suppliers'' shares, 1e-4',
        'token', 'token contract, a felt',
        'symbol', 'the token''s symbol',
        'entry_seq', 'log entry that states the fact and its causes',
        'formula', 'name and version of the formula',
        'score', '0 to 100; null where an input is absent',
        'absent', 'array of {field, reason, detail} for what the log does not support',
        'rule', 'name of the rule',
        'severity', 'info, warning, critical',
        'detail', 'what was found, for people',
        'policy', 'id of the policy',
        'version', 'version of the policy',
        'protocols', 'ids of the protocols, in the order of shares_bps',
        'chamber', 'the pool''s contract, a felt'
    ) || jsonb_build_object(
        'counter_token', 'of a swap, the token that came out, a felt'
    );
    v       record;
    comment text;
BEGIN
    FOR v IN
        SELECT c.relname AS view, a.attname AS column,
               col_description(to_regclass(
                   'public.' || CASE c.relname WHEN 'position' THEN 'projection_state' ELSE c.relname END), b.attnum) AS own
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attribute b
          ON b.attname = a.attname
         AND b.attrelid = to_regclass(
                 'public.' || CASE c.relname WHEN 'position' THEN 'projection_state' ELSE c.relname END)
        WHERE c.relnamespace = 'analyst'::regnamespace AND c.relkind = 'v'
    LOOP
        comment := coalesce(v.own, shared ->> v.column);
        IF comment IS NULL THEN
            RAISE EXCEPTION 'analyst.%.% has no comment', v.view, v.column;
        END IF;
        EXECUTE format('COMMENT ON COLUMN analyst.%I.%I IS %L', v.view, v.column, comment);
    END LOOP;
    FOR v IN SELECT c.relname AS view FROM pg_class c
             WHERE c.relnamespace = 'analyst'::regnamespace AND c.relkind = 'v'
    LOOP
        EXECUTE format('ALTER VIEW analyst.%I OWNER TO obsqra_owner', v.view);
        EXECUTE format('ALTER VIEW analyst.%I SET (security_barrier = true)', v.view);
        EXECUTE format('GRANT SELECT ON analyst.%I TO obsqra_analyst', v.view);
    END LOOP;
    -- Everybody may make temporary tables, unless it is taken away; verification makes them as the writer.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO obsqra_writer', current_database());
END
$$;
ALTER FUNCTION analyst.felt OWNER TO obsqra_owner;
ALTER FUNCTION analyst.hex OWNER TO obsqra_owner;
REVOKE ALL ON FUNCTION analyst.felt, analyst.hex FROM PUBLIC;
GRANT USAGE ON SCHEMA analyst TO obsqra_analyst;
GRANT EXECUTE ON FUNCTION analyst.felt, analyst.hex TO obsqra_analyst;

-- Large objects are tables that everybody may write, unless that is taken away. Nothing here uses them.
REVOKE EXECUTE ON FUNCTION
    pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid), pg_catalog.lo_from_bytea(oid, bytea)
FROM PUBLIC;
