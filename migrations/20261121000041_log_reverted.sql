-- Where blocks were reverted. The retractor looks for these few entries alone; an append of anything else
-- only evaluates the condition. On a log that is there already the index is made by one scan, during
-- which appends wait.
CREATE INDEX log_reverted_idx ON log (chain_id, seq) WHERE kind = 13;
