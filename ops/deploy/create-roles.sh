#!/bin/sh
# Run once by the database's container, when its volume is new: the login roles and their groups. The
# migrations grant to the groups.
set -eu

psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
SET log_min_error_statement = panic;
\set write_password `cat /run/secrets/write_password`
\set read_password `cat /run/secrets/read_password`
\set analyse_password `cat /run/secrets/analyse_password`
CREATE ROLE obsqra_owner NOLOGIN;
CREATE ROLE obsqra_writer NOLOGIN;
CREATE ROLE obsqra_reader NOLOGIN;
CREATE ROLE obsqra_analyst NOLOGIN;
CREATE ROLE obsqra_write LOGIN PASSWORD :'write_password' IN ROLE obsqra_writer;
CREATE ROLE obsqra_read LOGIN PASSWORD :'read_password' IN ROLE obsqra_reader;
CREATE ROLE obsqra_analyse LOGIN CONNECTION LIMIT 8 PASSWORD :'analyse_password' IN ROLE obsqra_analyst;
ALTER ROLE obsqra_analyse SET statement_timeout = '60s';
ALTER ROLE obsqra_analyse SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE obsqra_analyse SET work_mem = '32MB';
ALTER ROLE obsqra_analyse SET max_parallel_workers_per_gather = 0;
ALTER ROLE obsqra_analyse SET default_transaction_read_only = on;
ALTER ROLE obsqra_analyse SET search_path = analyst;
SQL
