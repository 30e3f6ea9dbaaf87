"""What may be logged of an unforeseen exception."""

import traceback
from pathlib import Path


def without_text(error: BaseException) -> str:
    """Name an exception's type and where it came from.

    Its own text may quote a command with a reader's id, a profile or an article.
    """
    frames = traceback.extract_tb(error.__traceback__)
    path = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {path}"
