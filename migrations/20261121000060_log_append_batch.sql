-- A cheaper way to append what log_append does, for entries of one chain: hashes and payloads come end to end in one
-- value each, and the other columns once for each run of entries that have them in common. What is refused, and
-- with which SQLSTATE, is the same. log_append stays for programs that call it.
CREATE FUNCTION public.log_append_batch(
    held_partition  text,
    held_epoch      bigint,
    previous_seq    bigint,
    appended_at     timestamptz,
    batch_chain_id  text,
    run_firsts      integer[],
    run_lasts       integer[],
    kinds           smallint[],
    schema_versions smallint[],
    block_numbers   bigint[],
    branch_epochs   integer[],
    block_times     timestamptz[],
    payload_starts  integer[],
    payloads        bytea,
    content_hashes  bytea,
    hashes          bytea
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head          record;
    entries       integer := octet_length(content_hashes) / 32;
    previous_hash bytea := substring(hashes FROM 1 FOR 32);
    -- As the hash has it: microseconds since 1970, 8 bytes, big-endian. The numbers are exact decimals.
    micros        bytea := int8send((extract(epoch FROM appended_at) * 1000000)::bigint);
    written       bigint;
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
    -- 32 bytes an entry, and before them those of the last entry: a hash too few or too many shows here.
    IF (octet_length(content_hashes) = 32 * entries AND octet_length(hashes) = 32 * (entries + 1)) IS NOT TRUE THEN
        RAISE EXCEPTION '% bytes of content hashes do not go with % bytes of hashes',
            octet_length(content_hashes), octet_length(hashes)
            USING ERRCODE = 'OB002';
    END IF;

    -- Positions are counted here. An entry whose hash does not follow is left out, as is one beyond the hashes, which
    -- the count then shows; one that is in two runs has a position that is taken. So what is written is dense. A column
    -- that is too short ends in nulls, which the table refuses.
    INSERT INTO public.log (
        seq, kind, schema_version, chain_id, block_number, branch_epoch,
        occurred_at, recorded_at, payload, content_hash, hash
    )
    SELECT previous_seq + e.place, e.kind, e.schema_version, batch_chain_id, e.block_number, e.branch_epoch,
           e.occurred_at, appended_at,
           substring(
               payloads FROM payload_starts[e.place]
               FOR payload_starts[e.place + 1] - payload_starts[e.place]
           ),
           substring(content_hashes FROM 32 * e.place - 31 FOR 32), substring(hashes FROM 32 * e.place + 1 FOR 32)
    FROM (
        SELECT r.kind, r.schema_version, r.block_number, r.branch_epoch, r.occurred_at,
               generate_series(r.first_place, r.last_place) AS place
        FROM (
            -- Side by side in the select list: in FROM each column would be kept in a store of its own.
            SELECT unnest(run_firsts) AS first_place,
                   unnest(run_lasts) AS last_place,
                   unnest(kinds) AS kind,
                   unnest(schema_versions) AS schema_version,
                   unnest(block_numbers) AS block_number,
                   unnest(branch_epochs) AS branch_epoch,
                   unnest(block_times) AS occurred_at
        ) AS r
    ) AS e
    WHERE substring(hashes FROM 32 * e.place + 1 FOR 32) = sha256(
        '\x00'::bytea || int8send(previous_seq + e.place) || micros
        || substring(content_hashes FROM 32 * e.place - 31 FOR 32)
        || substring(hashes FROM 32 * e.place - 31 FOR 32)
    );
    GET DIAGNOSTICS written = ROW_COUNT;
    IF (written = entries AND entries > 0) IS NOT TRUE THEN
        RAISE EXCEPTION '% of % entries have a hash that follows from the entry before', written, entries
            USING ERRCODE = 'OB002';
    END IF;

    UPDATE public.log_head
    SET seq = previous_seq + entries,
        hash = substring(hashes FROM 32 * entries + 1 FOR 32),
        recorded_at = appended_at;
    -- The channel that readers of the log listen on.
    PERFORM pg_notify('obsqra_log', '');
END
$$;
COMMENT ON FUNCTION public.log_append_batch IS 'Appends entries of one chain after the one that log_open told of, in the same transaction; refuses a stale epoch, another last entry, a time out of order and hashes that do not follow. A run is the places, from 1, of its first and last entry; payload_starts counts bytes from 1 and ends with the end; hashes begins with that of the last entry';

ALTER FUNCTION public.log_append_batch OWNER TO obsqra_owner;
REVOKE ALL ON FUNCTION public.log_append_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.log_append_batch TO obsqra_writer;
