#!/bin/sh
# Who am I, and for whom may I act?   sh hello.sh
set -eu
. "$(dirname "$0")/calling.sh"

core GET /v1/hello
