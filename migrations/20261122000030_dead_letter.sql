-- Messages that were given up: each is written here before the server is told that it is over, so that none is
-- lost without a word.
CREATE TABLE dead_letter (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream          text   NOT NULL,
    consumer        text   NOT NULL,
    stream_sequence bigint NOT NULL CHECK (stream_sequence > 0),
    taken_at        timestamptz NOT NULL,
    subject         text   NOT NULL,
    headers         jsonb  NOT NULL,
    body            bytea  NOT NULL,
    reason          text   NOT NULL,
    attempts        integer NOT NULL CHECK (attempts > 0),
    buried_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream, consumer, stream_sequence, taken_at)
);
COMMENT ON TABLE dead_letter IS 'Messages of the bus that were given up, as they came, with the reason; not part of any derived number';
COMMENT ON COLUMN dead_letter.stream_sequence IS 'number in the stream, which counts from 1 again when the stream was lost';
COMMENT ON COLUMN dead_letter.taken_at IS 'when the stream took it, by the NATS server''s clock';
COMMENT ON COLUMN dead_letter.attempts IS 'deliveries, the last one included';
COMMENT ON COLUMN dead_letter.reason IS 'why it was given up, without secrets';

ALTER TABLE dead_letter OWNER TO obsqra_owner;
GRANT SELECT, INSERT, DELETE ON dead_letter TO obsqra_writer;
GRANT SELECT ON dead_letter TO obsqra_reader;
