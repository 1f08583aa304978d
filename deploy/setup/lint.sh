#!/usr/bin/env bash
# Makes $SIDEREUS_CACHE/lint: the tools that read what is under deploy/, from PyPI and Debian. Nothing of it is needed to build.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
python_environment "$SIDEREUS_CACHE/lint" deploy/setup/lint-requirements.txt "installing linters"
# promtool comes with Debian's prometheus; only the program is taken out of the package, and no server is installed.
if [ ! -x "$SIDEREUS_CACHE/lint/bin/promtool" ]; then
  folder="$(mktemp -d)"
  trap 'rm -rf "$folder"' EXIT
  if (cd "$folder" && apt-get download -qq prometheus >/dev/null 2>&1); then
    dpkg-deb -x "$folder"/prometheus_*.deb "$folder/prometheus"
    install -m 755 "$folder/prometheus/usr/bin/promtool" "$SIDEREUS_CACHE/lint/bin/promtool"
  else
    say "promtool could not be had; run apt-get update, then this again"
  fi
fi
