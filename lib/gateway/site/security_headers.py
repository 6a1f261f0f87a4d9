"""Security headers for every answer: the policy that runs each widget and lets nothing leave the browser.

Remote images, fetches, sockets, inline scripts and frames are refused, so text of a model can't call home. The one
inline script of Streamlit's own page is allowed by its hash, computed when the process starts.
"""

import base64
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

_POLICY = (
    "default-src 'none'; script-src 'self' {hashes} 'wasm-unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; media-src 'self' blob:; frame-src 'self'; "
    "manifest-src 'self'; worker-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)


@cache
def build_security_headers() -> list[tuple[bytes, bytes]]:
    """Header lines, as ASGI wants them."""
    lines = {
        "content-security-policy": build_content_security_policy(),
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "cross-origin-opener-policy": "same-origin",
    }
    return [(name.encode(), value.encode()) for name, value in lines.items()]


def build_content_security_policy() -> str:
    """The policy, with the hashes of the inline scripts in Streamlit's page."""
    spec = importlib.util.find_spec("streamlit")
    page = Path(str(spec.origin if spec else "")).parent / "static" / "index.html"
    scripts = _list_inline_scripts(page.read_text(encoding="utf-8")) if page.exists() else []
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    return _POLICY.format(hashes=" ".join(f"'sha256-{digest}'" for digest in digests))


def _list_inline_scripts(page: str) -> list[str]:
    """The texts of the page's script elements that have no source of their own."""
    tags = [element.partition(">") for element in page.split("<script")[1:]]
    return [body.partition("</script>")[0] for tag, _, body in tags if "src=" not in tag]
