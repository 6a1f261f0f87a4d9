#!/bin/sh
# Finds a Chromium for the browser tests and prints its path: one that is installed, else Playwright's own, else
# Debian's (as root). With none, says what to do and fails.
python=.venv/bin/python
installed() {
    [ -n "$LLM_MANAGER_BROWSER" ] && { [ -x "$LLM_MANAGER_BROWSER" ] && echo "$LLM_MANAGER_BROWSER"; return; }
    for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
        command -v "$name" 2>/dev/null && return 0
    done
    for path in "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" /Applications/Chromium.app/Contents/MacOS/Chromium; do
        [ -x "$path" ] && echo "$path" && return 0
    done
    return 1
}
playwrights() {
    path=$("$python" -c 'from playwright.sync_api import sync_playwright as s
with s() as p: print(p.chromium.executable_path)' 2>/dev/null) && [ -x "$path" ] && echo "$path"
}
installed && exit 0
playwrights && exit 0
echo "No Chromium here; asking Playwright for one …" >&2
limit=$(command -v timeout >/dev/null && echo "timeout 600" || true)
$limit "$python" -m playwright install chromium >/dev/null 2>&1 && playwrights && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Playwright has none for this machine; asking Debian's packages …" >&2
    { apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1
    installed && exit 0
fi
echo "The browser tests need Chromium or Chrome and none could be installed." >&2
echo "Install one (Debian: apt-get install chromium), or name it: LLM_MANAGER_BROWSER=/path/to/chrome make test" >&2
exit 1
