-- Rebuilding read models beside the live ones. The tables beside have a schema of their own, so that the same statements
-- write to them with another search_path. Who may make them and put them in the place of the live ones: the writer, by
-- functions that run with the owner's rights, and only as the holder of the partition `rebuilder`.
--
-- The functions name every object with its schema and look nothing up where the caller could have put something.
-- SQLSTATE OB001: the partition is not held with that epoch. OB003: the tables beside have another form than the live
-- ones. 55P03 (lock_not_available): somebody still reads; another attempt may do.
CREATE SCHEMA rebuild AUTHORIZATION obsqra_owner;
COMMENT ON SCHEMA rebuild IS 'Read models that are being made anew; first in the search_path of who makes them';
GRANT USAGE ON SCHEMA rebuild TO obsqra_writer;

CREATE SCHEMA replaced AUTHORIZATION obsqra_owner;
COMMENT ON SCHEMA replaced IS 'Where replaced read models are between two statements of one transaction; always empty';

-- To move a table there, and to see how long other sessions have held their snapshots.
GRANT CREATE ON SCHEMA public TO obsqra_owner;
-- Another database of the cluster may grant it at this moment.
DO $$
BEGIN
    GRANT pg_read_all_stats TO obsqra_owner;
EXCEPTION
    WHEN unique_violation THEN NULL;
END
$$;

CREATE TABLE read_model (
    name text NOT NULL PRIMARY KEY
);
COMMENT ON TABLE read_model IS 'The tables that a rebuild may replace, and no others; each has a column chain_id';
INSERT INTO read_model (name) VALUES
    ('block'), ('event'), ('activity'), ('privacy_pool'), ('market_metrics'), ('price'), ('risk_score'), ('anomaly'),
    ('allocation_snapshot');
ALTER TABLE read_model OWNER TO obsqra_owner;
GRANT SELECT ON read_model TO obsqra_writer, obsqra_reader;

CREATE FUNCTION public.rebuild_check_holder(held_epoch bigint)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM public.lease l WHERE l.partition = 'rebuilder' AND l.epoch = held_epoch FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'rebuilder is not held with epoch %', held_epoch USING ERRCODE = 'OB001';
    END IF;
END
$$;
COMMENT ON FUNCTION public.rebuild_check_holder IS 'Locks the lease of rebuilds and refuses another epoch';

-- Index and constraint definitions name their table; the form must not depend on where it is.
CREATE FUNCTION public.rebuild_form(of_schema text, of_table text)
RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH t AS (SELECT to_regclass(format('%I.%I', of_schema, of_table)) AS oid)
    SELECT concat_ws(
        E'\n',
        (SELECT string_agg(
                    concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                              pg_get_expr(d.adbin, d.adrelid)),
                    ', ' ORDER BY a.attnum)
         FROM t
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum),
        (SELECT string_agg(
                    replace(pg_get_indexdef(i.indexrelid), format(' ON %I.', of_schema), ' ON '),
                    ', ' ORDER BY i.indexrelid::regclass::text)
         FROM t JOIN pg_index i ON i.indrelid = t.oid),
        (SELECT string_agg(c.conname || ' ' || pg_get_constraintdef(c.oid), ', ' ORDER BY c.conname)
         FROM t JOIN pg_constraint c ON c.conrelid = t.oid)
    )
$$;
COMMENT ON FUNCTION public.rebuild_form IS 'Columns, indexes and constraints of a table; equal for tables that may stand for each other';

CREATE FUNCTION public.rebuild_open(held_epoch bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    made      text;
    statement text;
BEGIN
    PERFORM public.rebuild_check_holder(held_epoch);
    FOR made IN
        SELECT m.name FROM public.read_model m UNION ALL VALUES ('projection_state'), ('projection_hash')
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS rebuild.%I', made);
        EXECUTE format('CREATE TABLE rebuild.%1$I (LIKE public.%1$I INCLUDING ALL EXCLUDING INDEXES)', made);
        -- Under the names that they have on the live table: later migrations know them by these.
        FOR statement IN
            SELECT format('ALTER TABLE rebuild.%I ADD CONSTRAINT %I %s', made, c.conname, pg_get_constraintdef(c.oid))
            FROM pg_constraint c
            WHERE c.conrelid = format('public.%I', made)::regclass AND c.contype IN ('p', 'u', 'x')
            UNION ALL
            SELECT replace(pg_get_indexdef(i.indexrelid), ' ON public.', ' ON rebuild.')
            FROM pg_index i
            WHERE i.indrelid = format('public.%I', made)::regclass
              AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid)
            UNION ALL
            SELECT format('GRANT %s ON rebuild.%I TO %s', a.privilege_type, made, a.grantee::regrole)
            FROM pg_class r CROSS JOIN aclexplode(r.relacl) a
            WHERE r.oid = format('public.%I', made)::regclass AND a.grantee <> r.relowner AND a.grantee <> 0
        LOOP
            EXECUTE statement;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION public.rebuild_open IS 'Makes empty tables in the form of the read models in the schema rebuild, with the same rights; what another rebuild left there is gone';

CREATE FUNCTION public.rebuild_analyze(held_epoch bigint)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made text;
BEGIN
    PERFORM public.rebuild_check_holder(held_epoch);
    FOR made IN SELECT m.name FROM public.read_model m LOOP
        EXECUTE format('ANALYZE rebuild.%I', made);
    END LOOP;
END
$$;
COMMENT ON FUNCTION public.rebuild_analyze IS 'Statistics of the tables beside, so that the first statements after the swap have the plans of those before';

CREATE FUNCTION public.rebuild_older_readers(filled_before xid8)
RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Without it nobody's snapshot is shown, which would look like no reader. Roles are not in a dump.
    IF NOT pg_has_role('pg_read_all_stats', 'USAGE') THEN
        RAISE EXCEPTION 'obsqra_owner does not see other sessions: GRANT pg_read_all_stats TO obsqra_owner'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN (
        SELECT count(*)
        FROM pg_stat_activity a
        WHERE a.datname = current_database()
          AND a.pid <> pg_backend_pid()
          AND a.backend_type = 'client backend'
          AND age(a.backend_xmin) > age(filled_before::xid)
    );
END
$$;
COMMENT ON FUNCTION public.rebuild_older_readers IS 'Sessions whose transaction sees the database as it was before a transaction id was given out: in tables filled since then they would see nothing';

CREATE FUNCTION public.rebuild_swap(held_epoch bigint, swapped text[], filled_before xid8, at_most interval)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    until timestamptz := clock_timestamp() + at_most;
    made  text;
    place text;
    views jsonb;
    v     record;
BEGIN
    PERFORM public.rebuild_check_holder(held_epoch);
    IF swapped = '{}' OR NOT swapped <@ (SELECT array_agg(m.name) FROM public.read_model m) THEN
        RAISE EXCEPTION 'not read models: %', swapped USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF public.rebuild_older_readers(filled_before) > 0 THEN
        RAISE EXCEPTION 'a transaction is open that began before the tables were filled' USING ERRCODE = 'lock_not_available';
    END IF;
    SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object(
               'place', format('%I.%I', n.nspname, c.relname),
               'options', array_to_string(c.reloptions, ', '),
               'definition', pg_get_viewdef(c.oid))), '[]')
    INTO views
    FROM unnest(swapped) s (name)
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = format('public.%I', s.name)::regclass
    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_class c ON c.oid = r.ev_class AND c.relkind = 'v'
    JOIN pg_namespace n ON n.oid = c.relnamespace;

    -- Views before tables, as a reader locks them. All locks together wait no longer than `at_most`: who waits behind
    -- one of them waits no longer than that either, and before the server looks for a deadlock this has given up.
    FOR place IN
        SELECT e.value ->> 'place' FROM jsonb_array_elements(views) e
        UNION ALL
        SELECT format('public.%I', s.name) FROM unnest(swapped) s (name)
    LOOP
        IF until <= clock_timestamp() THEN
            RAISE EXCEPTION '% was not to be had in time', place USING ERRCODE = 'lock_not_available';
        END IF;
        PERFORM set_config(
            'lock_timeout', ceil(extract(epoch FROM until - clock_timestamp()) * 1000)::text || 'ms', true);
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', place);
    END LOOP;

    FOREACH made IN ARRAY swapped LOOP
        IF public.rebuild_form('rebuild', made) IS DISTINCT FROM public.rebuild_form('public', made) THEN
            RAISE EXCEPTION 'rebuild.% has another form than public.%', made, made USING ERRCODE = 'OB003';
        END IF;
        EXECUTE format('ALTER TABLE public.%I SET SCHEMA replaced', made);
        EXECUTE format('ALTER TABLE rebuild.%I SET SCHEMA public', made);
    END LOOP;
    -- A view is bound to the table that it was made on: its text, taken before, finds the new one under the name.
    FOR v IN SELECT x.place, x.options, x.definition
             FROM jsonb_to_recordset(views) x (place text, options text, definition text)
    LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %s %s AS %s', v.place, 'WITH (' || nullif(v.options, '') || ')', v.definition);
    END LOOP;
    FOREACH made IN ARRAY swapped LOOP
        EXECUTE format('DROP TABLE replaced.%I', made);
    END LOOP;
END
$$;
COMMENT ON FUNCTION public.rebuild_swap IS 'Puts tables of the schema rebuild in the place of the live ones until the end of the transaction that commits it; refuses while anybody could see them empty, and waits for locks no longer than stated';

ALTER FUNCTION public.rebuild_check_holder OWNER TO obsqra_owner;
ALTER FUNCTION public.rebuild_form OWNER TO obsqra_owner;
ALTER FUNCTION public.rebuild_open OWNER TO obsqra_owner;
ALTER FUNCTION public.rebuild_analyze OWNER TO obsqra_owner;
ALTER FUNCTION public.rebuild_older_readers OWNER TO obsqra_owner;
ALTER FUNCTION public.rebuild_swap OWNER TO obsqra_owner;
REVOKE ALL ON FUNCTION
    public.rebuild_check_holder, public.rebuild_form, public.rebuild_open, public.rebuild_analyze,
    public.rebuild_older_readers, public.rebuild_swap
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    public.rebuild_open, public.rebuild_analyze, public.rebuild_older_readers, public.rebuild_swap
TO obsqra_writer;
