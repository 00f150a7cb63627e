#!/bin/sh
# Makes locale.tar.zst: C.utf8 and en_US.utf8 as localedef compiles them out of the GNU C Library's own sources, in which the Free Software Foundation
# claims no copyright. It needs localedef, zstd, and the i18n folder of the sources (Debian's package "locales"), which it takes as its argument.
# The files in the tree were made with those of 2.36.
set -e
cd "$(dirname "$0")"
export I18NPATH="${1:-/usr/share/i18n}"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
gzip -cd "$I18NPATH/charmaps/UTF-8.gz" > "$out/UTF-8"
for name in C en_US; do
	localedef -i "$name" -f "$out/UTF-8" --no-archive "$out/$name.utf8"
done
tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - C.utf8 en_US.utf8 | zstd -q -19 -f -o locale.tar.zst
