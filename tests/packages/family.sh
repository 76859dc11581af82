#!/bin/sh
# The rules of other packages beside BPTT and dense references, each package in an environment of its own:
# sh tests/packages/family.sh. What it prints is told on the page docs/choosing.md. They want Python 3.12 or later.
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
for packages in "jaxpike==0.1.4" "braintrace==0.2.8 numba"; do
    place=$(mktemp -d)
    "${PYTHON:-python3}" -m venv "$place"
    # shellcheck disable=SC2086
    "$place/bin/pip" install --quiet $packages "$root"
    name=${packages%%==*}
    (cd "$here" && "$place/bin/python" "family_$name.py")
    rm -rf "$place"
done
