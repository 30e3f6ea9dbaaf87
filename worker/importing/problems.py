"""What could not be read: how often, why and where, but never what it said."""

import msgspec

FIRST_LINES = 5
"""Lines that are named of each reason."""


class Unread(msgspec.Struct, kw_only=True):
    """Rows of one file that share a reason."""

    file: str
    reason: str
    count: int = 0
    lines: list[int] = []
    """The first few, counted from 1; of Parquet, rows."""


class UnreadableError(Exception):
    """Say why a row or a cell cannot be used; the reason never quotes it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Problems:
    """Collect them, in the order in which they were first met."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Unread] = {}

    def add(self, file: str, reason: str, line: int) -> None:
        """Count a row, or a cell, that could not be read.

        >>> problems = Problems()
        >>> problems.add("clicks.csv", "no user_id", 7)
        >>> problems.list()[0].lines
        [7]
        """
        unread = self._found.get((file, reason))
        if unread is None:
            unread = self._found[file, reason] = Unread(file=file, reason=reason)
        unread.count += 1
        if len(unread.lines) < FIRST_LINES:
            unread.lines.append(line)

    def list(self) -> list[Unread]:
        """Return all of them."""
        return list(self._found.values())
