#!/bin/sh
# Run once by the database's container, when its volume is new: the login roles and their groups. The
# migrations grant to the groups.
set -eu

psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
SET log_min_error_statement = panic;
\set write_password `cat /run/secrets/write_password`
\set read_password `cat /run/secrets/read_password`
CREATE ROLE obsqra_owner NOLOGIN;
CREATE ROLE obsqra_writer NOLOGIN;
CREATE ROLE obsqra_reader NOLOGIN;
CREATE ROLE obsqra_write LOGIN PASSWORD :'write_password' IN ROLE obsqra_writer;
CREATE ROLE obsqra_read LOGIN PASSWORD :'read_password' IN ROLE obsqra_reader;
SQL
