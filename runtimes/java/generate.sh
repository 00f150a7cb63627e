#!/bin/sh
# Compiles src into classes, or into the folder that is named. No debug tables: the class files then depend on little but the source.
set -e
cd "$(dirname "$0")"
out=${1:-classes}
all=$(mktemp -d)
trap 'rm -rf "$all"' EXIT
find src stubs -name '*.java' | LC_ALL=C sort | xargs "${JAVAC:-javac}" --release 11 -g:none -Xlint:all,-options,-serial -Werror -d "$all"
rm -rf "$out/thaw"
mkdir -p "$out"
cp -r "$all/thaw" "$out/"
# Other compilers may write other bytes: the test compares only with what the same one makes.
"${JAVAC:-javac}" -version 2>&1 | sed 's/^javac //; s/\..*//' > "$out/javac.txt"
