#!/usr/bin/env bash
# Installs the Debian packages that the build needs; does nothing when all are there.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh

packages=(build-essential clang libclang-dev cmake pkg-config libopenblas-dev python3 python3-venv ca-certificates curl)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done

if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -eq 0 ]; then
    as_root=()
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
  else
    die "these Debian packages are missing and this user may not install them; ask an administrator to run: apt-get install ${missing[*]}"
  fi
  say "installing system packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

command -v cargo >/dev/null || [ -x "$HOME/.cargo/bin/cargo" ] || die "Rust is missing; install rustup (Debian package rustup, or the installer on Rust's site), then run this again"
grep -qw avx2 /proc/cpuinfo || die "this processor has no AVX2; Sidereus needs an x86-64-v3 processor"
