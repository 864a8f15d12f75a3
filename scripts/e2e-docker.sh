#!/bin/sh
# make e2e-docker: the calls of tests/e2e against FreeSWITCH, fsroute and PostgreSQL in containers. Needs Docker with
# compose 2. What FreeSWITCH and the tests wrote, and after a failure the containers' logs, are in build/e2e.
set -eu
cd "$(dirname "$0")/.."
work=build/e2e

if ! { docker compose version && docker info; } >/dev/null 2>&1; then
    echo "e2e-docker: needs a running Docker engine and its compose plugin" >&2
    exit 1
fi

# Whose files these are: the containers that share them run as the user who reads them afterwards.
E2E_USER="$(id -u):$(id -g)"
SWITCH_EVENT_SOCKET_PASSWORD=e2e
export E2E_USER SWITCH_EVENT_SOCKET_PASSWORD

rm -rf "$work"
mkdir -p "$work/log" "$work/state"
cp -R freeswitch "$work/conf"

compose() {
    docker compose --project-name fsroute-e2e --file freeswitch/compose.yaml --file freeswitch/compose.e2e.yaml "$@"
}

finish() {
    status=$?
    trap - EXIT
    if [ "$status" -ne 0 ]; then
        compose ps --all >"$work/containers.txt" 2>&1 || true
        compose logs --no-color --timestamps >"$work/containers.log" 2>&1 || true
        echo "e2e-docker: failed; logs are in $work" >&2
    fi
    compose down --volumes --remove-orphans || true
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

compose build
compose run --rm owner init
compose run --rm --volume "$PWD/scripts:/scripts:ro" loader load /scripts/demo.sql
compose up --detach --wait --wait-timeout 120 freeswitch fsroute
compose run --rm peers
