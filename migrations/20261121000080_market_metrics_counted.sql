-- Figures of `metrics-v3`: which markets count. Rows of before are made anew.
ALTER TABLE market_metrics ADD COLUMN counted boolean NOT NULL DEFAULT false;
ALTER TABLE market_metrics ALTER COLUMN counted DROP DEFAULT;
COMMENT ON COLUMN market_metrics.counted IS 'whether it takes part in prices, and in the inputs and the yield of its protocol: opened by governance, or listed by the registry';
