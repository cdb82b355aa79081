#!/bin/bash
# A copy of the primary at the first start; from then on the image as it is, which follows or has been promoted.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    chown -R postgres:postgres /var/lib/postgresql
    chmod 700 "$PGDATA"
    export PGPASSWORD="$REPLICATION_PASSWORD"
    gosu postgres pg_basebackup --pgdata "$PGDATA" --write-recovery-conf --wal-method stream --checkpoint fast \
        --dbname "host=$PRIMARY_HOST user=replicator application_name=homeroom_standby"
fi
exec docker-entrypoint.sh postgres
