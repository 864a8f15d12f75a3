#!/bin/sh
# Installs Debian packages that `make` found missing: install-packages.sh PACKAGE...
# As root it does; for others it says what to type.
set -eu
if [ "$(id -u)" -ne 0 ]; then
    echo "missing: $*. As root: apt-get install $*" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get install --yes --no-install-recommends "$@" >/dev/null 2>&1 && exit 0
# A new machine has no package lists yet.
apt-get update >/dev/null
apt-get install --yes --no-install-recommends "$@" >/dev/null
