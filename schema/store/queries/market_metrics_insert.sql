INSERT INTO market_metrics (
    chain_id, protocol, market, from_block, to_block, from_seq, to_seq, asset,
    asset_address, utilization_bps, turnover_bps, volatility_bps, liquidity_class,
    price_usdc, tvl_usdc, volatility_1d_bps, volatility_30d_bps, drawdown_bps,
    supply_apy_bps, opened_at, borrow_rate, supply_rate, supplied, borrowed,
    withdraw_headroom, exit_shock_bps, suppliers, top1_bps, top5_bps, hhi_bps,
    accumulator_excess_ppb, volume_24h_usdc, fees_24h_usdc, depth_up_usdc,
    depth_down_usdc, oracle_price_usd, absent, counted
)
SELECT u.chain_id, u.protocol, u.market, u.from_block, u.to_block, u.from_seq, u.to_seq,
       u.asset, u.asset_address, u.utilization_bps, u.turnover_bps, u.volatility_bps,
       u.liquidity_class, u.price_usdc::numeric, u.tvl_usdc::numeric,
       u.volatility_1d_bps, u.volatility_30d_bps, u.drawdown_bps, u.supply_apy_bps,
       u.opened_at, u.borrow_rate::numeric, u.supply_rate::numeric, u.supplied::numeric,
       u.borrowed::numeric, u.withdraw_headroom::numeric, u.exit_shock_bps, u.suppliers,
       u.top1_bps, u.top5_bps, u.hhi_bps, u.accumulator_excess_ppb,
       u.volume_24h_usdc::numeric, u.fees_24h_usdc::numeric, u.depth_up_usdc::numeric,
       u.depth_down_usdc::numeric, u.oracle_price_usd::numeric, u.absent, u.counted
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
    $7::bigint[], $8::text[], $9::bytea[], $10::integer[], $11::integer[],
    $12::integer[], $13::smallint[], $14::text[], $15::text[], $16::integer[],
    $17::integer[], $18::integer[], $19::integer[], $20::timestamptz[], $21::text[],
    $22::text[], $23::text[], $24::text[], $25::text[], $26::integer[], $27::bigint[],
    $28::integer[], $29::integer[], $30::integer[], $31::bigint[], $32::text[],
    $33::text[], $34::text[], $35::text[], $36::text[], $37::jsonb[], $38::boolean[]
) AS u (
    chain_id, protocol, market, from_block, to_block, from_seq, to_seq, asset,
    asset_address, utilization_bps, turnover_bps, volatility_bps, liquidity_class,
    price_usdc, tvl_usdc, volatility_1d_bps, volatility_30d_bps, drawdown_bps,
    supply_apy_bps, opened_at, borrow_rate, supply_rate, supplied, borrowed,
    withdraw_headroom, exit_shock_bps, suppliers, top1_bps, top5_bps, hhi_bps,
    accumulator_excess_ppb, volume_24h_usdc, fees_24h_usdc, depth_up_usdc,
    depth_down_usdc, oracle_price_usd, absent, counted
)
