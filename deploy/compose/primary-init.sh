#!/bin/bash
# Run once by the image, on a new data directory, before anybody else can connect.
set -euo pipefail

psql -v ON_ERROR_STOP=1 --username postgres \
    -v homeroom="$DATABASE_PASSWORD" -v replication="$REPLICATION_PASSWORD" <<'SQL'
create role homeroom login password :'homeroom';
create database homeroom owner homeroom;
create role replicator login replication password :'replication';
-- What pg_rewind calls on the new primary, so that an old one can come back without a superuser's password.
grant execute on function pg_ls_dir(text, boolean, boolean) to replicator;
grant execute on function pg_stat_file(text, boolean) to replicator;
grant execute on function pg_read_binary_file(text) to replicator;
grant execute on function pg_read_binary_file(text, bigint, bigint, boolean) to replicator;
SQL

cat >> "$PGDATA/pg_hba.conf" <<'HBA'
host homeroom    homeroom   10.77.0.0/24 scram-sha-256
host replication replicator 10.77.0.0/24 scram-sha-256
host postgres    replicator 10.77.0.0/24 scram-sha-256
HBA
# The standby's file too: after a fail-over this is the standby. A base backup takes these lines along.
printf "include '/etc/homeroom/primary.conf'\ninclude '/etc/homeroom/standby.conf'\n" >> "$PGDATA/postgresql.conf"
