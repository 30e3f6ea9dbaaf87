"""Parquet files as rows; needs pyarrow, the extra `import`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from schemas.errors import ReadingSetError
from worker.importing.problems import Problems

_ROWS_PER_BATCH = 4096


class ParquetTable:
    """A Parquet file; a row group at a time is in memory, and only the columns asked for.

    Raises:
        ReadingSetError: when it cannot be read, or pyarrow is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrow, parquet = _pyarrow()
        try:
            self._file = parquet.ParquetFile(path)
        except (OSError, self._arrow.ArrowException) as error:
            raise ReadingSetError(f"{path}: cannot be read as Parquet") from error
        self.columns: list[str] = list(self._file.schema_arrow.names)
        self.description = "Parquet"

    def rows(self, columns: Sequence[str], problems: Problems) -> Iterator[tuple[int, list[Any]]]:  # noqa: ARG002
        """Yield the cells of these columns, as Python's values.

        Raises:
            ReadingSetError: when the file cannot be read on.
        """
        row = 0
        try:
            batches = self._file.iter_batches(_ROWS_PER_BATCH, columns=list(dict.fromkeys(columns)))
            for batch in batches:
                values = [self._values(batch.column(name)) for name in columns]
                for cells in zip(*values, strict=True):
                    row += 1
                    yield row, list(cells)
        except (OSError, ValueError, OverflowError, self._arrow.ArrowException) as error:
            # The error's own text may quote a value.
            raise ReadingSetError(f"{self.path}: cannot be read after row {row}") from error

    def _values(self, column: Any) -> list[Any]:
        arrow = self._arrow
        if arrow.types.is_timestamp(column.type) and column.type.unit == "ns":
            # Python's times have microseconds.
            column = column.cast(arrow.timestamp("us", column.type.tz), safe=False)
        values: list[Any] = column.to_pylist()
        return values


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ReadingSetError(
            "Parquet needs pyarrow: pip install 'frontpage[import]' (CSV does not)"
        ) from error
    return pyarrow, parquet
