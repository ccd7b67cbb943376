-- Jobs: work that any process may do, in any order, shared through this table. What is order-bearing is not a
-- job: it has a partition (see lease).
CREATE TABLE job (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind             text        NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
    key              text        NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 200),
    payload_version  smallint    NOT NULL,
    payload          jsonb       NOT NULL,
    priority         smallint    NOT NULL,
    state            smallint    NOT NULL CHECK (state BETWEEN 0 AND 4),
    not_before       timestamptz NOT NULL,
    attempts         integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    max_attempts     integer     NOT NULL CHECK (max_attempts > 0),
    token            bigint      NOT NULL DEFAULT 0 CHECK (token >= 0),
    holder           text,
    lease_until      timestamptz,
    cancel_requested boolean     NOT NULL DEFAULT false,
    last_error       text        CHECK (length(last_error) <= 2000),
    traceparent      text,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (kind, key),
    CHECK ((state = 1) = (holder IS NOT NULL)),
    CHECK ((state = 1) = (lease_until IS NOT NULL))
);
COMMENT ON TABLE job IS 'Work shared between processes; one row for each thing to do, kept for a while after it is done';
COMMENT ON COLUMN job.key IS 'names the thing to do within its kind: enqueueing it again changes nothing';
COMMENT ON COLUMN job.payload_version IS 'layout of the payload; no hash covers it';
COMMENT ON COLUMN job.priority IS 'lower is taken first';
COMMENT ON COLUMN job.state IS '0 queued, 1 leased, 2 done, 3 dead (set aside with its reason in last_error), 4 cancelled';
COMMENT ON COLUMN job.not_before IS 'by this database''s clock: the only one that counts for jobs';
COMMENT ON COLUMN job.attempts IS 'counted when leased, so that a job that kills its worker runs out of them';
COMMENT ON COLUMN job.token IS 'strictly rising, one for each lease; a holder states it with each write and is refused when it is not the newest';
COMMENT ON COLUMN job.lease_until IS 'when another process may take the job; the token decides who may write';
COMMENT ON COLUMN job.cancel_requested IS 'the holder is told at its next renewal';
COMMENT ON COLUMN job.last_error IS 'why the last attempt failed or the job is dead; holds no secret';
COMMENT ON COLUMN job.traceparent IS 'W3C Trace Context of what enqueued it';

CREATE INDEX job_queued_idx ON job (priority, not_before, id) WHERE state = 0;
CREATE INDEX job_leased_idx ON job (lease_until) WHERE state = 1;
CREATE INDEX job_open_idx ON job (kind, state) WHERE state IN (0, 1, 3);
CREATE INDEX job_ended_idx ON job (updated_at) WHERE state IN (2, 4);

ALTER TABLE job OWNER TO obsqra_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON job TO obsqra_writer;
GRANT SELECT ON job TO obsqra_reader;
