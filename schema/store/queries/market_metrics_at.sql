WITH RECURSIVE wanted AS (
    SELECT w.protocol, w.at_block
    FROM unnest($2::text[], $3::bigint[]) AS w (protocol, at_block)
),
market AS (
    SELECT w.protocol, w.at_block, first.market
    FROM wanted w
    CROSS JOIN LATERAL (
        SELECT m.market FROM market_metrics m
        WHERE m.chain_id = $1 AND m.protocol = w.protocol
        ORDER BY m.market
        LIMIT 1
    ) AS first
    UNION ALL
    SELECT s.protocol, s.at_block, next.market
    FROM market s
    CROSS JOIN LATERAL (
        SELECT m.market FROM market_metrics m
        WHERE m.chain_id = $1 AND m.protocol = s.protocol AND m.market > s.market
        ORDER BY m.market
        LIMIT 1
    ) AS next
)
SELECT s.protocol AS "protocol!", s.at_block AS "at_block!", s.market AS "market!",
       v.from_block, v.asset, v.asset_address, v.utilization_bps, v.turnover_bps,
       v.volatility_bps, v.liquidity_class, v.price_usdc::text, v.tvl_usdc::text,
       v.volatility_1d_bps, v.volatility_30d_bps, v.drawdown_bps, v.supply_apy_bps,
       v.opened_at, v.borrow_rate::text, v.supply_rate::text, v.supplied::text,
       v.borrowed::text, v.withdraw_headroom::text, v.exit_shock_bps, v.suppliers,
       v.top1_bps, v.top5_bps, v.hhi_bps, v.accumulator_excess_ppb,
       v.volume_24h_usdc::text, v.fees_24h_usdc::text, v.depth_up_usdc::text,
       v.depth_down_usdc::text, v.oracle_price_usd::text, v.absent, v.counted
FROM market s
CROSS JOIN LATERAL (
    SELECT m.from_block, m.asset, m.asset_address, m.utilization_bps, m.turnover_bps,
           m.volatility_bps, m.liquidity_class, m.price_usdc, m.tvl_usdc,
           m.volatility_1d_bps, m.volatility_30d_bps, m.drawdown_bps, m.supply_apy_bps,
           m.opened_at, m.borrow_rate, m.supply_rate, m.supplied, m.borrowed,
           m.withdraw_headroom, m.exit_shock_bps, m.suppliers, m.top1_bps, m.top5_bps,
           m.hhi_bps, m.accumulator_excess_ppb, m.volume_24h_usdc, m.fees_24h_usdc,
           m.depth_up_usdc, m.depth_down_usdc, m.oracle_price_usd, m.absent, m.counted
    FROM market_metrics m
    WHERE m.chain_id = $1 AND m.protocol = s.protocol AND m.market = s.market
      AND m.from_block <= s.at_block AND m.to_block > s.at_block
      AND m.from_seq <= $4 AND m.to_seq > $4
    ORDER BY m.from_block DESC, m.from_seq DESC
    LIMIT 1
) AS v
ORDER BY s.protocol, s.at_block, s.market COLLATE "C"
LIMIT $5
