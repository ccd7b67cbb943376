-- How far each read model is. A program that does not know one moves the position of the others alone; the next
-- one that does then sees that rows are missing. Of rows of before it is not known, and they are made anew.
ALTER TABLE projection_hash ADD COLUMN seq bigint;
COMMENT ON COLUMN projection_hash.seq IS 'every entry up to here is applied to the read model';
