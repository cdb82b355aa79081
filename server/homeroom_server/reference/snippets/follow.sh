#!/bin/sh
# Prints every record of a type that changes, from the cursor of first_load.sh on.   sh follow.sh School
# Enough for up to 5,000 changes at a time; it proves nothing by hashes, as the programs in other languages do.
set -eu
. "$(dirname "$0")/calling.sh"

cursor=$(cat "$1.cursor")
while :; do
    news=$(core POST /v1/is-data-available \
        "{\"waitSeconds\": 50, \"types\": [{\"notificationType\": \"$1\", \"maxCoreVersion\": $cursor}]}")
    listed=$(printf %s "$news" | sed -n 's/.*"records":\(\[{[^]]*\]\).*/\1/p')
    if [ -n "$listed" ]; then
        wanted=$(printf %s "$listed" | sed 's/"coreVersion"/"expectedVersion"/g')
        records=$(core POST "/v1/get/$1" "{\"records\": $wanted}")
        printf '%s\n' "$records"
        case $records in *'"stoppedAt":null'*) ;; *) continue ;; esac # changed again meanwhile: from the same cursor
    fi
    cursor=$(printf %s "$news" | sed -n 's/.*"maxCoreVersion":\([0-9]*\).*/\1/p')
    echo "$cursor" > "$1.cursor"
done
