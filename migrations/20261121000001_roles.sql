-- Group roles. Nobody logs in as one of them; login roles are made members.
--   obsqra_owner   owns every table, cannot log in
--   obsqra_writer  what followers, workers, projectors and the relay may do
--   obsqra_reader  what the GraphQL server may do
-- Roles belong to the whole cluster, so another database may have made them already, even at this moment.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['obsqra_owner', 'obsqra_writer', 'obsqra_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO obsqra_writer, obsqra_reader;
