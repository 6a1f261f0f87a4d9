"""`POST /hooks/{id}`: a program outside begins a workflow's run by a webhook's secret, not by an API key.

The answer comes at once, 202 with the run's id; 200 with the run of the first time where a delivery comes again.
"""

import asyncio

from starlette.exceptions import HTTPException

from lib import services as service_root
from lib.gateway.http.exchange import Exchange
from lib.workflows.triggers.deliveries import LONGEST_BODY
from lib.workflows.triggers.webhooks import PATH

FOLDER = PATH
_LONGEST_ID = 64


async def answer(exchange: Exchange, method: str) -> None:
    """Answer a delivery; whatever it can't be taken for is raised."""
    webhook_id = exchange.path.removeprefix(FOLDER)
    if not webhook_id or "/" in webhook_id or len(webhook_id) > _LONGEST_ID:
        raise HTTPException(404, "There is no webhook at this address.")
    if method != "POST":
        raise HTTPException(405, headers={"allow": "POST"})
    exchange.largest_body = LONGEST_BODY
    body = await exchange.body()
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers.items()}
    webhooks = service_root.current().workflows.webhooks
    run, was_begun = await asyncio.to_thread(webhooks.receive, webhook_id, headers, body)
    document = {"run_id": run.id, "state": str(run.state), "repeated": was_begun}
    await exchange.answer_json(200 if was_begun else 202, document, {"cache-control": "no-store"})
