"""What a probe is answered: a verdict as JSON."""

import json

from aiohttp import web

from worker.health_state import Verdict


def probe_answer(verdict: Verdict) -> web.Response:
    """Return 200 with the status of what is well; 503 with it, and why, of what is not."""
    body = {"status": verdict.status, **({"why": verdict.why} if verdict.why else {})}
    return web.json_response(
        body, status=200 if verdict.is_well else 503, dumps=lambda each: json.dumps(each) + "\n"
    )
