"""A reader's id on the command line."""

import click

from schemas.decode import check_id
from schemas.errors import InvalidMessageError


class ReaderId(click.ParamType):
    """A reader's id, as it may stand in a message."""

    name = "user"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id, if it can be one; what is wrong with it is said without quoting it."""
        try:
            if not value:
                raise InvalidMessageError("empty")
            check_id(value)
        except InvalidMessageError as error:
            self.fail(f"not a reader's id: {error}", param, ctx)
        return value
