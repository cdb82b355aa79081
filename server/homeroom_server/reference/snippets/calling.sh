# Every call goes through here:  core METHOD PATH [BODY [HEADER]]
# curl waits for Retry-After and tries again where that helps; what is refused for good is printed, with code 22.
core() {
    core_answer=$(mktemp) core_code=0
    curl --silent --show-error --fail-with-body --speed-limit 1 --speed-time 90 \
        --retry 8 --retry-connrefused --retry-max-time 300 --output "$core_answer" \
        --request "$1" --header "Authorization: Bearer $HOMEROOM_KEY" --header "Content-Type: application/json" \
        ${HOMEROOM_ORGANIZATION:+--header "Organization: $HOMEROOM_ORGANIZATION"} \
        ${3:+--data "$3"} ${4:+--header "$4"} "$HOMEROOM_URL$2" || core_code=$?
    case $core_code in
        0) cat "$core_answer" ;;
        22) cat "$core_answer" >&2 ;;
    esac
    rm -f "$core_answer"
    return "$core_code"
}
