#!/bin/sh
# All records of a type, one a line, into School.ndjson.   sh first_load.sh School
set -eu
. "$(dirname "$0")/calling.sh"

while :; do
    core GET "/v1/snapshot/$1" > "$1.ndjson" || [ $? -ne 22 ] # refused for good: nothing else to do
    cursor=$(sed -n '$s/^{"bookmark":\([0-9]*\)}$/\1/p' "$1.ndjson")
    [ -n "$cursor" ] && break
    sleep 1 # a stream without its bookmark was cut; the programs in other languages resume it
done
sed -e 1d -e '$d' "$1.ndjson" > "$1.ndjson.new" && mv "$1.ndjson.new" "$1.ndjson"
echo "$cursor" > "$1.cursor"
echo "$(wc -l < "$1.ndjson" | tr -d ' ') records, cursor $cursor"
