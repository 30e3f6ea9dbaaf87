"""Bytes to responses: entity tags, 304, gzip; and request bodies to records."""

import asyncio
from hashlib import blake2b
from typing import TypeVar

import msgspec
from aiohttp import ETag, hdrs, web

from worker.serve.problems import Kind, ProblemError

WORTH_COMPRESSING_BYTES = 1024
BODY_S = 10.0
"""How long the body of a request may take to come."""

JSON = "application/json"
PRIVATE = "private, no-cache"
"""A browser may keep it, and asks before it shows it again; nobody in between may."""

Record = TypeVar("Record")


def digest(body: bytes) -> str:
    """Return a short hash of bytes.

    >>> digest(b"")
    'e4a6a0577479b2b4'
    """
    return blake2b(body, digest_size=8).hexdigest()


def json_response(request: web.Request, body: bytes) -> web.Response:
    """Return JSON with an entity tag of its bytes, or 304 where the client has them."""
    # Weak: the same tag whether it is compressed or not.
    tag = ETag(digest(body), is_weak=True)
    headers = {hdrs.CACHE_CONTROL: PRIVATE, hdrs.VARY: hdrs.ACCEPT_ENCODING}
    known = request.if_none_match or ()
    if any(each.value in (tag.value, "*") for each in known):
        response = web.Response(status=304, headers=headers)
    else:
        response = _compressed(request, web.Response(body=body, content_type=JSON, headers=headers))
    response.etag = tag
    return response


def once(request: web.Request, body: bytes) -> web.Response:
    """Return JSON that nobody keeps."""
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    return _compressed(request, web.Response(body=body, content_type=JSON, headers=headers))


def _compressed(request: web.Request, response: web.Response) -> web.Response:
    body = response.body
    assert isinstance(body, bytes)
    if len(body) >= WORTH_COMPRESSING_BYTES and accepts_gzip(request):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def accepts_gzip(request: web.Request) -> bool:
    """Tell whether the client takes gzip."""
    for part in request.headers.get(hdrs.ACCEPT_ENCODING, "").split(","):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def accepted(record: msgspec.Struct) -> web.Response:
    """Return 202 with a record."""
    return web.Response(
        status=202,
        body=msgspec.json.encode(record),
        content_type=JSON,
        headers={hdrs.CACHE_CONTROL: "no-store"},
    )


async def read_body(request: web.Request) -> bytes:
    """Return the body.

    Raises:
        ProblemError: when it does not come, or is larger than the server takes.
    """
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError as error:
        raise ProblemError(Kind.REQUEST_TIMEOUT) from error


async def read_record(request: web.Request, decoder: msgspec.json.Decoder[Record]) -> Record:
    """Return what the body holds.

    Raises:
        ProblemError: when it is not what it should be.
    """
    body = await read_body(request)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ProblemError(Kind.INVALID_REQUEST, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(Kind.INVALID_REQUEST, "not JSON in UTF-8") from error
