-- What a revert of a block takes back: the derived facts as of exactly that block, in order of position,
-- and how far their retraction has come.
CREATE INDEX derived_key_block_idx ON derived_key (chain_id, block_number, branch_epoch, seq);
COMMENT ON TABLE derived_key IS 'One row for each derived fact; of a retraction (kind 90) the subject is the name of the retracted kind, a slash, and the subject of the fact';
