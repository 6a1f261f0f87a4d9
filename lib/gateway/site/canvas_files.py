"""The script of the drawing of workflows, from our own address: named by its digest, it never changes."""

import gzip
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_FOLDER = Path(__file__).parents[2] / "ui" / "canvas" / "built"
_FOR_EVER = {"cache-control": "private, max-age=31536000, immutable", "vary": "accept-encoding"}


@cache
def _read(name: str, *, packed: bool) -> bytes | None:
    path = _FOLDER / name
    if path.name != name or path.suffix != ".js" or not path.is_file():
        return None
    data = path.read_bytes()
    return gzip.compress(data, 6) if packed else data


async def serve(request: Request) -> Response:
    """A built file by name; 404 for any other."""
    packed = "gzip" in request.headers.get("accept-encoding", "")
    data = _read(request.path_params["name"], packed=packed)
    if data is None:
        return Response("There is no such file.", 404, media_type="text/plain")
    headers = _FOR_EVER | ({"content-encoding": "gzip"} if packed else {})
    return Response(data, headers=headers, media_type="text/javascript")


routes: list[BaseRoute] = [Route("/canvas/{name}", serve, methods=["GET"])]
