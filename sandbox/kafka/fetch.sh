#!/bin/sh
# Copies Apache Kafka and what it depends on into $1/libs, by the coordinates in pom.xml beside this file.
set -eu
here=$(dirname "$0")
target=$1

missing() {
  echo "make kafka: $1" >&2
  echo "  Debian, Ubuntu: apt-get install openjdk-17-jre-headless maven    macOS: brew install openjdk maven" >&2
  echo "  Without it everything else works; only the tests on a real Kafka are skipped." >&2
  exit 1
}

command -v java >/dev/null || missing "Java 17 or newer is needed, and there is no java"
command -v mvn >/dev/null || missing "Maven is needed, and there is no mvn"
version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
[ "${version:-0}" -ge 17 ] || missing "Java 17 or newer is needed, and this is ${version:-unknown}"

echo "fetching Apache Kafka by Maven (45 MB, once)"
mkdir -p "$target"
target=$(cd "$target" && pwd)
rm -rf "$target/libs" "$target/libs.part"
mvn --quiet --batch-mode --file "$here/pom.xml" dependency:copy-dependencies \
  -DincludeScope=runtime "-DoutputDirectory=$target/libs.part"
mv "$target/libs.part" "$target/libs"
echo "Apache Kafka is in $target/libs"
