-- How entries get into the log. A role with INSERT on a hypertable can insert into its chunks too, past any
-- check; so the writer is to have these two functions instead. They run with the owner's rights and refuse what
-- does not follow from the last entry. Programs that insert by themselves go on working until the next migration.
--
-- Both name every object with its schema and look nothing up where the caller could have put something.
-- SQLSTATE OB001: the partition is not held with that epoch. OB002: the entries do not follow.
GRANT USAGE ON SCHEMA public TO obsqra_owner;

CREATE FUNCTION public.log_open(
    held_partition text,
    held_epoch     bigint,
    OUT head_seq   bigint,
    OUT head_hash  bytea,
    OUT head_at    timestamptz,
    OUT opened_at  timestamptz
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM public.lease l
    WHERE l.partition = held_partition AND l.epoch = held_epoch
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not held with epoch %', held_partition, held_epoch USING ERRCODE = 'OB001';
    END IF;
    SELECT h.seq, h.hash, h.recorded_at INTO STRICT head_seq, head_hash, head_at
    FROM public.log_head h
    FOR UPDATE;
    -- The clock is read after the lock was got, however long that took.
    opened_at := greatest(clock_timestamp(), head_at);
END
$$;
COMMENT ON FUNCTION public.log_open IS 'Locks the lease row and then the head row until the end of the transaction; the last entry, and the time that entries appended now are recorded at';

CREATE FUNCTION public.log_append(
    held_partition  text,
    held_epoch      bigint,
    previous_seq    bigint,
    previous_hash   bytea,
    appended_at     timestamptz,
    kinds           smallint[],
    schema_versions smallint[],
    chain_ids       text[],
    block_numbers   bigint[],
    branch_epochs   integer[],
    block_times     timestamptz[],
    payloads        bytea[],
    content_hashes  bytea[],
    hashes          bytea[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head    record;
    entries bigint := cardinality(hashes);
    -- As the hash has it: microseconds since 1970, 8 bytes, big-endian. The numbers are exact decimals.
    micros  bytea := int8send((extract(epoch FROM appended_at) * 1000000)::bigint);
    written bigint;
BEGIN
    SELECT o.head_seq, o.head_hash, o.head_at, o.opened_at INTO STRICT head
    FROM public.log_open(held_partition, held_epoch) o;
    -- A condition that is null is not met: hence IS NOT TRUE.
    IF (head.head_seq = previous_seq AND head.head_hash = previous_hash) IS NOT TRUE THEN
        RAISE EXCEPTION 'the last entry is % with hash %, not % with hash %',
            head.head_seq, encode(head.head_hash, 'hex'), previous_seq, encode(previous_hash, 'hex')
            USING ERRCODE = 'OB002';
    END IF;
    IF (appended_at >= head.head_at) IS NOT TRUE THEN
        RAISE EXCEPTION 'recorded_at % is before that of the last entry, %', appended_at, head.head_at
            USING ERRCODE = 'OB002';
    END IF;
    -- A clock that was set back since log_open leads here too: beginning again gets over that.
    IF appended_at > head.opened_at THEN
        RAISE EXCEPTION 'recorded_at % is in the future', appended_at USING ERRCODE = 'serialization_failure';
    END IF;

    -- Positions are counted here, so they are dense. An entry whose hash does not follow is left out, which the
    -- count then shows. `previous` is one longer than the others; its last row has no hash and falls out.
    INSERT INTO public.log (
        seq, kind, schema_version, chain_id, block_number, branch_epoch,
        occurred_at, recorded_at, payload, content_hash, hash
    )
    SELECT previous_seq + e.place, e.kind, e.schema_version, e.chain_id, e.block_number, e.branch_epoch,
           e.occurred_at, appended_at, e.payload, e.content_hash, e.hash
    FROM unnest(
        kinds, schema_versions, chain_ids, block_numbers, branch_epochs,
        block_times, payloads, content_hashes, hashes, array_prepend(previous_hash, hashes)
    ) WITH ORDINALITY AS e (
        kind, schema_version, chain_id, block_number, branch_epoch,
        occurred_at, payload, content_hash, hash, previous, place
    )
    WHERE e.hash = sha256('\x00'::bytea || int8send(previous_seq + e.place) || micros || e.content_hash || e.previous);
    GET DIAGNOSTICS written = ROW_COUNT;
    IF (written = entries AND entries > 0) IS NOT TRUE THEN
        RAISE EXCEPTION '% of % entries have a hash that follows from the entry before', written, entries
            USING ERRCODE = 'OB002';
    END IF;

    UPDATE public.log_head
    SET seq = previous_seq + entries, hash = hashes[array_upper(hashes, 1)], recorded_at = appended_at;
    -- The channel that readers of the log listen on.
    PERFORM pg_notify('obsqra_log', '');
END
$$;
COMMENT ON FUNCTION public.log_append IS 'Appends entries after the one that log_open told of, in the same transaction; refuses a stale epoch, another last entry, a time out of order and hashes that do not follow';

ALTER FUNCTION public.log_open OWNER TO obsqra_owner;
ALTER FUNCTION public.log_append OWNER TO obsqra_owner;
REVOKE ALL ON FUNCTION public.log_open, public.log_append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.log_open, public.log_append TO obsqra_writer;
