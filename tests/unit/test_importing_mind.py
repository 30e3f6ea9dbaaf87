"""`frontpage import` of a MIND-format folder; all of it made up here."""

from pathlib import Path

from click.testing import CliRunner

from schemas.reading_set import ReadingSet
from schemas.timestamps import to_ms
from worker.importing.command import import_command
from worker.importing.options import Options
from worker.importing.run import Report, import_set

NOON = 1_767_268_800_000  # 1/1/2026 12:00:00 PM UTC
HOUR = 3_600_000

NEWS = (
    'N1\tsports\tcup\tThe "final\tIt was close\thttps://example.org/1\t[]\t[]\n'
    "N2\tfinance\tfinance\tRates fall\t\thttps://example.org/2\t[]\t[]\n"
    "N3\tweather\t\tRain\tAgain\n"
    "N4\tnever shown\n"
)
BEHAVIORS = (
    "1\tU1\t1/1/2026 1:00:00 PM\tN2 N3\tN1-1 N2-0\n"
    "2\tU1\t1/1/2026 12:00:00 PM\tN3 N2\tN2-0 N1-0\n"
    "3\tU2\t1/1/2026 12:00:00 AM\t\tN2-1 N3-1\n"
    "4\tU2\t13/1/2026 12:00:00 AM\t\tN2-1\n"
    "5\tU2\t1/1/2026 13:00:00 PM\t\tN2-1\n"
    "6\tU3\t1/1/2026 12:00:00 PM\tN1\tN2 N3\n"
    "7\tU3\t1/1/2026 12:00:00 PM\t\t\n"
    "8\tU3\n"
)


def write_mind(tmp_path: Path) -> Path:
    source = tmp_path / "mind"
    source.mkdir()
    (source / "news.tsv").write_text(NEWS)
    (source / "behaviors.tsv").write_text(BEHAVIORS)
    return source


def imported(tmp_path: Path, **options: bool) -> tuple[ReadingSet, Report]:
    out = tmp_path / "set"
    report = import_set(write_mind(tmp_path), out, Options(**options))  # type: ignore[arg-type]
    return ReadingSet(out), report


def test_clicks_come_from_impressions_which_are_kept(tmp_path: Path) -> None:
    found, report = imported(tmp_path)
    clicks = [(each.user_id, each.article_id, each.timestamp) for each in found.clicks()]
    midnight = NOON - 12 * HOUR
    assert clicks == [("U2", "N2", midnight), ("U2", "N3", midnight), ("U1", "N1", NOON + HOUR)]
    shown = [(each.impression_id, each.candidates, each.clicked) for each in found.impressions()]
    assert shown == [
        ("3", ["N2", "N3"], ["N2", "N3"]),
        ("2", ["N2", "N1"], []),
        ("1", ["N1", "N2"], ["N1"]),
    ]
    assert found.info.num_impressions == 3
    assert [(each.reason, each.lines) for each in report.unread] == [
        ("time not understood", [4, 5]),
        ("impression that does not mark what was clicked", [6]),
        ("impression of nothing", [7]),
        ("more or fewer cells than the format has", [8]),
        ("more or fewer cells than the format has", [4]),
    ]


def test_news_count_as_published_when_they_were_first_shown(tmp_path: Path) -> None:
    first, second, third = imported(tmp_path)[0].articles()
    assert (first.title, first.body, first.tags) == (
        'The "final',
        "It was close",
        ["sports", "cup"],
    )
    assert (second.tags, second.body, third.tags) == (["finance"], None, ["weather"])
    published = [to_ms(each.published_at or 0) for each in (first, second, third)]
    assert published == [NOON, NOON - 12 * HOUR, NOON - 12 * HOUR]


def test_the_first_history_of_a_reader_goes_before_the_first_impression(tmp_path: Path) -> None:
    found, _ = imported(tmp_path, with_history=True)
    history = [each for each in found.clicks() if each.event_id is not None]
    assert [(each.user_id, each.article_id, each.timestamp, each.event_id) for each in history] == [
        ("U1", "N3", NOON - 120_000, "history-0"),
        ("U1", "N2", NOON - 60_000, "history-1"),
    ]
    assert "made up" in (found.info.timestamps or "")


def test_a_time_zone_can_be_given_and_labels_may_lie_beside(tmp_path: Path) -> None:
    source, out = write_mind(tmp_path), tmp_path / "set"
    (source / "users.csv").write_text("user_id,age\nU1,40\n")
    arguments = [str(source), str(out), "--time-zone", "Asia/Shanghai", "--language", "en"]
    result = CliRunner().invoke(import_command, arguments)
    assert result.exit_code == 0, result.output
    found = ReadingSet(out)
    assert next(found.clicks()).timestamp == NOON - 20 * HOUR
    assert [(each.user_id, each.age) for each in found.readers()] == [("U1", 40.0)]
    assert next(found.articles()).language == "en"
    assert "3 impressions" in result.stdout and "line 4, 5" in result.stdout
