#!/bin/sh
# Deletes the version of a record that you saw; everybody who sees it is told.   sh delete.sh School 0982 102
set -eu
. "$(dirname "$0")/calling.sh"

key=$(uuidgen 2>/dev/null || cat /proc/sys/kernel/random/uuid)
core POST "/v1/submit/$1" \
    "{\"records\": [{\"id\": \"$2\", \"expectedVersion\": $3, \"deleted\": true}]}" \
    "Idempotency-Key: $key"
