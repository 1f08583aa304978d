#!/usr/bin/env bash
# Checks the unit with systemd's own tool, with a stand-in where the program will be, and shows how exposed the service is.
set -euo pipefail
cd "$(dirname "$0")"
command -v systemd-analyze >/dev/null || { echo "FAIL systemd-analyze is not installed (Debian: systemd)"; exit 1; }
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
sed 's|^ExecStart=/usr/local/bin/sidereus|ExecStart=/bin/true|' sidereus.service > "$folder/sidereus.service"
systemd-analyze verify --man=no "$folder/sidereus.service"
echo "ok   systemd-analyze verify"
# 10 is everything, 0 is nothing; what is below 3 systemd itself calls OK.
systemd-analyze security --offline=true --threshold=25 --no-pager "$folder/sidereus.service" | tail -1
