"""What `evaluate-stream --live` refuses before it starts anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.errors import FrontpageError
from tests.tiny_sets import write_reading_set
from tests.tiny_streams import stream_of
from worker.stream_evaluation.command import evaluate_stream
from worker.stream_evaluation.live import check_times


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--live"], "--bundle"),
        (["--live", "--bundle", ".", "--protocol", "last-click"], "prequential"),
        (["--live", "--bundle", ".", "--protocol", "time-split"], "prequential"),
        (["--live", "--bundle", ".", "--ablations"], "--ablations"),
        (["--configured-kafka"], "--live"),
    ],
)
def test_what_live_cannot_do_is_wrong_usage(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    directory = write_reading_set(tmp_path / "set", articles=[], users=[], clicks=[])
    done = CliRunner().invoke(evaluate_stream, [str(directory), *arguments])
    assert done.exit_code == 2 and message in done.stderr


@pytest.mark.parametrize("time_ms", [0, 32_000_000_000_000])
def test_clicks_that_a_worker_would_refuse_are_refused_at_once(time_ms: int) -> None:
    check_times(stream_of([(0, 0, 1_700_000_000_000)], num_articles=1))
    with pytest.raises(FrontpageError, match="after 1970 and before now"):
        check_times(stream_of([(0, 0, time_ms)], num_articles=1))
