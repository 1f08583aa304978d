#!/bin/sh
# Puts a program into a folder that will be the root of an image, with the libraries that it loads and nothing else: no shell,
# no package manager. Its arguments are the program and the folder.
set -eu
program="$1"
root="$2"

install -D -m 755 "$program" "$root/usr/local/bin/$(basename "$program")"
# Each library as the loader finds it, at the same path; and the loader itself.
ldd "$program" | awk '/=> \//{print $3} /^[[:space:]]*\//{print $1}' | sort -u | while read -r library; do
  install -D -m 755 "$(readlink -f "$library")" "$root$library"
done
# Libraries lie where Debian's loader looks for them without a cache.
mkdir -p "$root/etc/ssl/certs" "$root/tmp" "$root/var/lib/sidereus" "$root/etc/sidereus"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
fi
printf 'sidereus:x:65532:65532::/var/lib/sidereus:/usr/sbin/nologin\n' > "$root/etc/passwd"
printf 'sidereus:x:65532:\n' > "$root/etc/group"
chmod 1777 "$root/tmp"
