"""The page: files as they lie in `page/`, without a build step."""

import re
from pathlib import Path

from aiohttp import hdrs, web

from worker.serve.problems import Kind, ProblemError

DIRECTORY = Path(__file__).parent / "page"
INDEX = "index.html"
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.(html|js|css|svg|png|ico|json|webmanifest)")


async def page_file(request: web.Request) -> web.StreamResponse:
    """Answer with a file of the page; it holds nothing of readers."""
    name = request.match_info.get("name") or INDEX
    path = DIRECTORY / name
    if not _NAME.fullmatch(name) or not path.is_file():
        raise ProblemError(Kind.NOT_FOUND)
    return web.FileResponse(path, headers={hdrs.CACHE_CONTROL: "no-cache"})
