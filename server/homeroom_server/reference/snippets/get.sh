#!/bin/sh
# A record by its id.   sh get.sh School 0982
set -eu
. "$(dirname "$0")/calling.sh"

core POST "/v1/get/$1" "{\"records\": [{\"id\": \"$2\"}]}"
