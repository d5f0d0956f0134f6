#!/usr/bin/env bash
# Runs all findings, or those named, one after another, and prints a table of what became of them.
#   findings/run.sh [NAME...]       NEWEST=1 findings/run.sh      PYTHON=python3.12 findings/run.sh
# Ends with 1 where one changed, else with 3 where one could not run, else with 0.
set -euo pipefail
cd "$(dirname "$0")"

if [ $# -gt 0 ]; then
    names=("${@%.sh}")
else
    mapfile -t names < <(ls -- *.sh | sed 's/\.sh$//' | grep -vx -e lib -e run)
fi

logs="$(mktemp -d)"
ENVIRONMENTS="$(mktemp -d)"
export ENVIRONMENTS
trap 'rm -rf "$logs" "$ENVIRONMENTS"' EXIT
table=()
held=0 changed=0 unable=0
for name in "${names[@]}"; do
    began=$SECONDS
    status=0
    bash "$name.sh" >"$logs/$name" 2>&1 || status=$?
    case $status in
        0) word=held held=$((held + 1)) ;;
        1) word=changed changed=$((changed + 1)) ;;
        *) word="could not run" unable=$((unable + 1)) ;;
    esac
    table+=("$(printf '%-46s %-14s %4d s' "$name" "$word" $((SECONDS - began)))")
    echo "${table[-1]}"
    if [ $status -ne 0 ] || [ -n "${VERBOSE:-}" ]; then
        sed 's/^/    /' "$logs/$name"
    fi
done

echo
echo "$held held, $changed changed, $unable could not run"
if [ $changed -gt 0 ]; then
    echo "What changed since it was written:"
    for name in "${names[@]}"; do
        grep -h ': changed: ' "$logs/$name" | sed 's/^/    /' || true
    done
    exit 1
fi
[ $unable -eq 0 ] || exit 3
