-- What a finished UTC day of a chain came to, a row a protocol. Every block of it is final, so nothing takes a row
-- back; it can be made again from the log by enqueueing its job anew.
CREATE TABLE daily_report (
    chain_id           text     NOT NULL,
    day                date     NOT NULL,
    protocol           text     NOT NULL,
    first_block        bigint   NOT NULL,
    last_block         bigint   NOT NULL CHECK (last_block >= first_block),
    is_whole           boolean  NOT NULL,
    from_seq           bigint   NOT NULL,
    known_at           bigint   NOT NULL CHECK (known_at > from_seq),
    blocks             bigint   NOT NULL CHECK (blocks > 0),
    events             bigint   NOT NULL CHECK (events >= 0),
    score_end          smallint,
    score_end_seq      bigint,
    score_min          smallint,
    score_min_seq      bigint,
    score_max          smallint,
    score_max_seq      bigint,
    anomalies_info     bigint   NOT NULL CHECK (anomalies_info >= 0),
    anomalies_warning  bigint   NOT NULL CHECK (anomalies_warning >= 0),
    anomalies_critical bigint   NOT NULL CHECK (anomalies_critical >= 0),
    absent             jsonb    NOT NULL,
    PRIMARY KEY (chain_id, day, protocol),
    CHECK ((score_min IS NULL) = (score_min_seq IS NULL)),
    CHECK ((score_max IS NULL) = (score_max_seq IS NULL)),
    CHECK (num_nulls(score_min, score_max) IN (0, 2))
);
COMMENT ON TABLE daily_report IS 'Figures of a UTC day by block timestamps, made from the entries from_seq to known_at';
COMMENT ON COLUMN daily_report.is_whole IS 'false where the log begins within the day';
COMMENT ON COLUMN daily_report.from_seq IS 'the chain.block_applied entry of the day''s first block';
COMMENT ON COLUMN daily_report.known_at IS 'the position that the read models were read at; it lies behind every fact about the day';
COMMENT ON COLUMN daily_report.blocks IS 'canonical blocks of the chain in the day, the same for all protocols';
COMMENT ON COLUMN daily_report.events IS 'watched events of the protocol in them';
COMMENT ON COLUMN daily_report.score_end IS 'score as of the last block; null where there is none, for the reasons in absent';
COMMENT ON COLUMN daily_report.score_end_seq IS 'the entry that states the score, or its absence, as of the last block';
COMMENT ON COLUMN daily_report.score_min IS 'lowest score that stood at any block of the day, the one carried into it included';
COMMENT ON COLUMN daily_report.anomalies_info IS 'anomalies that are over at once or begin, as of a block of the day, by severity';
COMMENT ON COLUMN daily_report.absent IS 'array of {field, reason, detail} for score_end';

ALTER TABLE daily_report OWNER TO obsqra_owner;
GRANT SELECT, INSERT ON daily_report TO obsqra_writer;
GRANT SELECT ON daily_report TO obsqra_reader;
