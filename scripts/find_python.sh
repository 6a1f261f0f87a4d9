#!/bin/sh
# Prints the Python that makes the environment: the first that is 3.11 or newer, runs, and can make virtual
# environments. 3.11 is tried first because the pinned versions were resolved and tested on it.
# PYTHON=/path/to/python overrides the search. With none, says what to install and fails.
found=""
for name in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
    path=$(command -v "$name" 2>/dev/null) || continue
    "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
    found="$path"
    if "$path" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        echo "$path"
        exit 0
    fi
done
if [ -n "$found" ]; then
    version=$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "$found can't make virtual environments: its module venv or ensurepip is missing." >&2
    echo "On Debian and Ubuntu: apt-get install python$version-venv. Then run make again." >&2
else
    echo "LLM Manager needs Python 3.11 or newer${PYTHON:+; PYTHON=$PYTHON is none}. None was found on this machine." >&2
    echo "Install one from python.org or your system's packages (Debian: apt-get install python3 python3-venv)," >&2
    echo "or name it: make run PYTHON=/path/to/python3" >&2
fi
exit 1
