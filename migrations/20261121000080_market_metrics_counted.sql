-- Figures of `metrics-v3`: which markets count. Rows of before are made anew. The default is for a program that runs on
-- while this is applied; what it writes is made anew too.
ALTER TABLE market_metrics ADD COLUMN counted boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN market_metrics.counted IS 'whether it takes part in prices, and in the inputs and the yield of its protocol: opened by governance, or listed by the registry';
