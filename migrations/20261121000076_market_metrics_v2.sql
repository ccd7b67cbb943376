-- Figures of `metrics-v2`. Rows of before have none of them; a rebuild of the read models fills them in.
ALTER TABLE market_metrics
    ADD COLUMN volatility_1d_bps      integer,
    ADD COLUMN volatility_30d_bps     integer,
    ADD COLUMN drawdown_bps           integer,
    ADD COLUMN supply_apy_bps         integer,
    ADD COLUMN opened_at              timestamptz,
    ADD COLUMN borrow_rate            numeric(78),
    ADD COLUMN supply_rate            numeric(78),
    ADD COLUMN supplied               numeric(78),
    ADD COLUMN borrowed               numeric(78),
    ADD COLUMN withdraw_headroom      numeric(78),
    ADD COLUMN exit_shock_bps         integer,
    ADD COLUMN suppliers              bigint,
    ADD COLUMN top1_bps               integer,
    ADD COLUMN top5_bps               integer,
    ADD COLUMN hhi_bps                integer,
    ADD COLUMN accumulator_excess_ppb bigint,
    ADD COLUMN volume_24h_usdc        numeric(78),
    ADD COLUMN fees_24h_usdc          numeric(78),
    ADD COLUMN depth_up_usdc          numeric(78),
    ADD COLUMN depth_down_usdc        numeric(78),
    ADD COLUMN oracle_price_usd       numeric(78);
COMMENT ON COLUMN market_metrics.drawdown_bps IS 'how far tvl_usdc is below its greatest in the log';
COMMENT ON COLUMN market_metrics.supply_apy_bps IS 'what suppliers earn in a year, not compounded';
COMMENT ON COLUMN market_metrics.borrow_rate IS 'share per year, scale 1e-18';
COMMENT ON COLUMN market_metrics.supply_rate IS 'share per year after the reserve factor, scale 1e-18';
COMMENT ON COLUMN market_metrics.supplied IS 'smallest unit of the asset';
COMMENT ON COLUMN market_metrics.borrowed IS 'smallest unit of the asset';
COMMENT ON COLUMN market_metrics.withdraw_headroom IS 'smallest unit of the asset';
COMMENT ON COLUMN market_metrics.exit_shock_bps IS 'utilization after the largest supplier leaves';
COMMENT ON COLUMN market_metrics.suppliers IS 'how many hold shares';
COMMENT ON COLUMN market_metrics.accumulator_excess_ppb IS 'growth of the lending accumulator beyond what the supply rate explains, scale 1e-9';
COMMENT ON COLUMN market_metrics.volume_24h_usdc IS 'USDC, scale 1e-6';
COMMENT ON COLUMN market_metrics.fees_24h_usdc IS 'USDC, scale 1e-6';
COMMENT ON COLUMN market_metrics.oracle_price_usd IS 'USD per whole token as the protocol''s events carry it, scale 1e-18';
COMMENT ON COLUMN market_metrics.depth_up_usdc IS 'USDC, scale 1e-6, that raises the price by 2 %';
COMMENT ON COLUMN market_metrics.depth_down_usdc IS 'USDC, scale 1e-6, that is paid out until the price is 2 % lower';
