#!/bin/sh
# Steps of other packages as they are, each package in an environment of its own: sh tests/packages/run.sh [NAME...]
# Writes docs/packages.md; with names, the rows of these packages alone. A step whose gradient is called exact and is not
# stops it. The newest of them want Python 3.12. All together they take half an hour.
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
page=$root/docs/packages.md
rows=$(mktemp)
for package in spyx==1.0.0 flax==0.12.12 jaxley==0.14.0 memorax==1.0.1 jaxpike==0.1.4 brainstate==0.6.0 \
    brainpy==2.9.0; do
    name=${package%%==*}
    case " ${*:-$name} " in *" $name "*) ;; *)
        grep "^| $name " "$page" >> "$rows"
        continue
    esac
    place=$(mktemp -d)
    "${PYTHON:-python3}" -m venv "$place"
    "$place/bin/pip" install --quiet "$package" "$root"
    (cd "$here" && "$place/bin/python" "${name}_steps.py") >> "$rows"
    rm -rf "$place"
done
{ cat "$here/head.md"; cat "$rows"; } > "$page"
