-- How far each read model is, and by which rules. A program that does not know one moves the position of the others
-- alone; the next one that does then sees that rows are missing. Rows by other rules, and rows of before, of which
-- nothing is known, are made anew.
ALTER TABLE projection_hash
    ADD COLUMN seq   bigint,
    ADD COLUMN rules text;
COMMENT ON COLUMN projection_hash.seq IS 'every entry up to here is applied to the read model';
COMMENT ON COLUMN projection_hash.rules IS 'version of the definitions by which its rows were made';
