"""A server of tools at an address that wants people to sign in, with its authorization server, over real HTTP.

It knows registration, codes with PKCE bound to a resource, tokens that end, and refresh tokens that count once. Its one
tool says whose token it was called with.
"""

import base64
import hashlib
import json
import secrets
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit


class SignInServer(ThreadingHTTPServer):
    """What was issued to whom; `requests` are the paths with the tokens that came to them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.issuer = f"{self.url}/as"
        self.codes: dict[str, dict[str, str]] = {}
        self.access: dict[str, str] = {}  # person by token
        self.refresh: dict[str, str] = {}
        self.issued = list[str]()
        self.requests = list[tuple[str, str]]()
        self.refreshes = 0
        self.registrations = 0
        self.lifetime_s = 3600
        self.is_away = False
        self.client = ("client-1", "")  # whom it knows; a secret is wanted as Basic authentication
        self.registers = True
        self.token_endpoint = f"{self.issuer}/token"
        self.looks = list[str]()  # paths that were read

    def sign_in(self, address: str, person: str) -> dict[str, str]:
        """Be the browser of a person who agrees: go to the address; what comes back to the callback."""
        request = urllib.request.Request(address, headers={"x-person": person})
        try:
            _no_redirects.open(request)
        except HTTPError as answer:
            place = urlsplit(answer.headers["location"])
            return {name: values[0] for name, values in parse_qs(place.query).items()}
        raise AssertionError("it did not send the browser back")

    def issue(self, person: str) -> dict[str, Any]:
        """New tokens of a person."""
        token, renewing = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self.access[token] = person
        self.refresh[renewing] = person
        self.issued += [token, renewing]
        return {
            "access_token": token,
            "token_type": "bearer",
            "refresh_token": renewing,
            "expires_in": self.lifetime_s,
            "scope": "tools",
        }


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_no_redirects = urllib.request.build_opener(_Stay)


class _Door(BaseHTTPRequestHandler):
    server: SignInServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        self.server.looks.append(place.path)
        url, issuer = self.server.url, self.server.issuer
        match place.path:
            case "/.well-known/oauth-protected-resource/mcp":
                self._say({"resource": f"{url}/mcp", "authorization_servers": [issuer], "scopes_supported": ["tools"]})
            case "/.well-known/oauth-authorization-server/as":
                registration = {"registration_endpoint": f"{issuer}/register"} if self.server.registers else {}
                self._say(
                    {
                        "issuer": issuer,
                        "authorization_endpoint": f"{issuer}/authorize",
                        "token_endpoint": self.server.token_endpoint,
                        **registration,
                        "response_types_supported": ["code"],
                        "code_challenge_methods_supported": ["S256"],
                        "authorization_response_iss_parameter_supported": True,
                    }
                )
            case "/as/authorize":
                self._authorize({name: values[0] for name, values in parse_qs(place.query).items()})
            case _:
                self._say({}, 405 if place.path == "/mcp" else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.server.requests.append((self.path, token))
        match self.path:
            case "/as/register":
                self.server.registrations += 1
                self._say({**json.loads(body), "client_id": "client-1"}, 201)
            case "/as/token":
                self._give_tokens({name: values[0] for name, values in parse_qs(body.decode()).items()})
            case "/mcp":
                self._serve_tools(json.loads(body), self.server.access.get(token))
            case _:
                self._say({}, 404)

    def _authorize(self, fields: dict[str, str]) -> None:
        assert fields["resource"].endswith("/mcp")
        client_id = self.server.client[0]
        assert (fields["code_challenge_method"], fields["client_id"], fields["scope"]) == ("S256", client_id, "tools")
        code = secrets.token_urlsafe(8)
        self.server.codes[code] = {**fields, "person": self.headers["x-person"]}
        answer = {"code": code, "state": fields["state"], "iss": self.server.issuer}
        self._say({}, 302, location=f"{fields['redirect_uri']}?{urlencode(answer)}")

    def _give_tokens(self, form: dict[str, str]) -> None:
        if self.server.is_away:
            self._say({}, 503)
        elif not self._is_client():
            self._say({"error": "invalid_client"}, 401)
        elif form["grant_type"] == "refresh_token":
            self.server.refreshes += 1
            person = self.server.refresh.pop(form["refresh_token"], None)
            self._answer_tokens(person)
        else:
            code = self.server.codes.pop(form["code"], {})
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            is_proved = base64.urlsafe_b64encode(digest).decode().rstrip("=") == code.get("code_challenge")
            is_bound = all(form[name] == code.get(name) for name in ("resource", "redirect_uri", "client_id"))
            self._answer_tokens(code["person"] if is_proved and is_bound else None)

    def _is_client(self) -> bool:
        """Whether the request is of the client that is known, by its secret where it has one."""
        pair = base64.b64encode(":".join(self.server.client).encode()).decode()
        wanted = f"Basic {pair}" if self.server.client[1] else ""
        return self.headers.get("authorization", "") == wanted

    def _answer_tokens(self, person: str | None) -> None:
        if person is None:
            self._say({"error": "invalid_grant", "error_description": "It does not count."}, 400)
        else:
            self._say(self.server.issue(person))

    def _serve_tools(self, message: dict[str, Any], person: str | None) -> None:
        if person is None:
            place = f"{self.server.url}/.well-known/oauth-protected-resource/mcp"
            challenge = f'Bearer resource_metadata="{place}", scope="tools"'
            self._say({}, 401, **{"www-authenticate": challenge})
            return
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "cloud", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "whoami", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": person}]},
        }
        result = results.get(message["method"])
        if "id" not in message:
            self._say({}, 202)
        elif result is None:
            error = {"code": -32601, "message": "Method not found"}
            self._say({"jsonrpc": "2.0", "id": message["id"], "error": error})
        else:
            self._say({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _say(self, document: Any, status: int = 200, **headers: str) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def run_sign_in_server() -> Iterator[SignInServer]:
    """The server in a thread."""
    server = SignInServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
