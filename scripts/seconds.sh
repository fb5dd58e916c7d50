#!/usr/bin/env bash
# Prints a duration as people write it - 1h, 90m, 600s, 600 - in seconds.
set -euo pipefail
[[ ${1:-} =~ ^([0-9]+)([hms]?)$ ]] || { echo "a duration is 1h, 90m, 600s or 600, not '${1:-}'" >&2; exit 1; }
case ${BASH_REMATCH[2]} in
    h) echo $((BASH_REMATCH[1] * 3600)) ;;
    m) echo $((BASH_REMATCH[1] * 60)) ;;
    *) echo "${BASH_REMATCH[1]}" ;;
esac
