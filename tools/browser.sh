#!/bin/sh
# A Chromium for the tests in tests/browser: the system's, else Debian's package, else Playwright's own build.
set -eu
VENV="${VENV:-.venv}"

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core && exit 0
fi
"$VENV/bin/python" -m playwright install chromium && exit 0
echo "No Chromium could be installed; install one, or set LIMNER_TEST_CHROMIUM to its path." >&2
exit 1
