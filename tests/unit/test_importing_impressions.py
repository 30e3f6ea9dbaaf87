"""`frontpage import` of a table of impressions: one row for each article that was shown."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from schemas.errors import ReadingSetError
from schemas.reading_set import ReadingSet
from schemas.records import MAX_IMPRESSION_ARTICLES, MAX_MESSAGE_BYTES, Impression
from tests.exported import export_csv, write_csv
from worker.importing.cells import clicked_of
from worker.importing.command import import_command
from worker.importing.options import Options, read_map
from worker.importing.problems import UnreadableError
from worker.importing.run import Report, import_set
from worker.stream_evaluation.protocol import load_stream

NOON = 1_767_268_800  # epoch seconds, 2026-01-01T12:00:00Z
MINUTE = 60

ARTICLES = "article_id,title\na1,One\na2,Two\na3,Three\n"
CLICKS = f"user_id,article_id,timestamp\nu1,a2,{NOON}\nu9,a1,{NOON + 300 * MINUTE}\n"
HEADER = "impression_id,user_id,timestamp,article_id,clicked,position\n"


def write_source(tmp_path: Path, impressions: str, clicks: str = CLICKS) -> Path:
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    for name, text in (
        ("articles", ARTICLES), ("clicks", clicks), ("impressions", impressions),
    ):  # fmt: skip
        (source / f"{name}.csv").write_text(text)
    return source


def imported(source: Path, **options: Any) -> tuple[list[Impression], Report]:
    out = source.parent / "set"
    report = import_set(source, out, Options(**options))
    found = ReadingSet(out)
    impressions = list(found.impressions())
    assert (found.info.num_impressions or 0) == report.written.impressions == len(impressions)
    return impressions, report


def told(impressions: list[Impression]) -> list[tuple[str | None, str, list[str], list[str]]]:
    return [(each.impression_id, each.user_id, each.candidates, each.clicked)
            for each in impressions]  # fmt: skip


def test_rows_become_impressions_in_time_order_and_by_position(tmp_path: Path) -> None:
    rows = [
        f"i2,u2,{NOON + 60},a1,0,2",
        f"i1,u1,{NOON + 1},a1,no,3",
        f"i2,u2,{NOON + 60},a3,1,1",
        f"i1,u1,{NOON},a2,TRUE,1",
        f"i1,u1,{NOON},a3,0,2",
        f"i1,u3,{NOON},a3,0,1",  # the same id of another reader
    ]
    source = write_source(tmp_path, HEADER + "\n".join(rows) + "\n")
    impressions, report = imported(source)
    assert told(impressions) == [
        ("i1", "u1", ["a2", "a3", "a1"], ["a2"]),
        ("i1", "u3", ["a3"], []),
        ("i2", "u2", ["a3", "a1"], ["a3"]),
    ]
    assert [each.timestamp for each in impressions] == [
        NOON * 1000, NOON * 1000, (NOON + 60) * 1000,
    ]  # fmt: skip
    assert not report.unread and not report.left_out and not report.noticed
    # In any order: where there are positions, the same bytes.
    path = source.parent / "set" / "impressions.jsonl.gz"
    before = path.read_bytes()
    write_source(tmp_path, HEADER + "\n".join(reversed(rows)) + "\n")
    imported(source)
    assert path.read_bytes() == before


def test_clicks_come_from_the_clicks_alone(tmp_path: Path) -> None:
    source = write_source(tmp_path, HEADER + f"i1,u1,{NOON},a3,1,1\ni1,u1,{NOON},a1,0,2\n")
    imported(source)
    clicks = [(each.user_id, each.article_id) for each in ReadingSet(tmp_path / "set").clicks()]
    assert clicks == [("u1", "a2"), ("u9", "a1")]


def test_without_an_id_a_reader_and_a_time_are_an_impression(tmp_path: Path) -> None:
    rows = (
        f"u1,{NOON},a3,y\nu1,{NOON + 1},a3,n\nu2,{NOON},a1,f\nu1,{NOON},a1,0\n"
        f"u1,{NOON},a3,0\nu1,{NOON},a1,0\n"
    )
    source = write_source(tmp_path, "user_id,ts,item_id,label\n" + rows)
    impressions, report = imported(source)
    assert told(impressions) == [
        (None, "u1", ["a3", "a1"], ["a3"]),
        (None, "u2", ["a1"], []),
        (None, "u1", ["a3"], []),
    ]
    assert report.left_out == {"repeated rows of impressions": 2}
    # A cell without an id, where others have one.
    source = write_source(tmp_path, HEADER + f",u1,{NOON},a1,0,1\nx,u1,{NOON},a1,0,1\n")
    assert {each.impression_id for each in imported(source)[0]} == {None, "x"}


def test_the_set_is_what_evaluate_stream_reads(tmp_path: Path) -> None:
    source = write_source(
        tmp_path, HEADER + f"i1,u1,{NOON},a1,0,2\ni1,u1,{NOON},a2,1,1\ni2,u7,{NOON},a3,0,1\n"
    )
    imported(source)
    stream = load_stream(ReadingSet(tmp_path / "set"))
    assert [
        (stream.user_ids[each.user], each.time_ms, each.articles, each.clicked)
        for each in stream.impressions
    ] == [("u1", NOON * 1000, (1, 0), (1,)), ("u7", NOON * 1000, (2,), ())]


def test_what_cannot_be_read_is_counted_by_line_and_never_quoted(tmp_path: Path) -> None:
    rows = (
        f"i1,u1,{NOON},a1,0,1\n"
        f"i1,u1,{NOON},secret,,2\n"
        f"i1,u1,{NOON},secret,maybe,2\n"
        f"i1,,{NOON},secret,0,2\n"
        f"i1,u1,,secret,0,2\n"
        "i1,u1,2999-01-01T00:00:00Z,secret,0,2\n"
        "i1,u1,-5,secret,0,2\n"
        f"i1,u1,{NOON},,0,2\n"
        f"{'secret' * 100},u1,{NOON},a1,0,2\n"
        f"i1,u1,{NOON},{'secret' * 100},0,2\n"
        f"i1,u1,{NOON}\n"
        f"i1,u1,{NOON},a2,1,secret\n"
    )
    source = write_source(tmp_path, HEADER + rows)
    impressions, report = imported(source)
    assert told(impressions) == [("i1", "u1", ["a1", "a2"], ["a2"])]
    assert {each.reason: each.lines for each in report.unread} == {
        "clicked is neither yes nor no": [3, 4],
        "no user_id": [5],
        "no timestamp": [6],
        "time more than a day ahead": [7],
        "time before 1970 or after 9999": [8],
        "no article_id": [9],
        "id too long, or not valid Unicode": [10, 11],
        "more or fewer cells than columns": [12],
        "position left empty: not a number": [13],
    }
    arguments = [str(source), str(tmp_path / "set")]
    output = CliRunner().invoke(import_command, arguments).output
    assert "impressions.csv: clicked is neither yes nor no: 2 (line 3, 4)" in output
    assert "1 impressions" in output and "secret" not in output


def test_without_a_column_the_clicks_say_what_was_clicked(tmp_path: Path) -> None:
    clicks = (
        "user_id,article_id,timestamp\n"
        f"u0,a1,{NOON}\n"
        f"u1,a1,{NOON + 9 * MINUTE}\n"
        f"u1,a2,{NOON + 50 * MINUTE}\n"  # too late
        f"u2,a1,{NOON + MINUTE}\n"  # another reader
        f"u3,a3,{NOON - MINUTE}\n"  # before it was shown
        f"u4,a3,{NOON}\n"  # at the same time
        f"u9,a1,{NOON + 100 * MINUTE}\n"
    )
    rows = (
        f"A,u1,{NOON},a1\nA,u1,{NOON},a2\n"
        f"B,u1,{NOON + 5 * MINUTE},a1\n"  # shown again: the later showing was clicked
        f"C,u3,{NOON},a3\n"
        f"D,u4,{NOON},a3\nD,u4,{NOON},a1\n"
        f"E,u1,{NOON + 10 * MINUTE},a1\n"
        f"F,u1,{NOON - 60 * MINUTE},a1\n"
        f"G,u1,{NOON + 101 * MINUTE},a1\n"
        f"H,u0,{NOON - 20 * MINUTE},a1\n"  # before the first click, which it led to
    )
    source = write_source(tmp_path, "imp_id,user_id,time,article_id\n" + rows, clicks)
    impressions, report = imported(source)
    assert {each.impression_id: each.clicked for each in impressions} == {
        "A": [], "B": ["a1"], "C": [], "D": ["a3"], "E": [], "H": ["a1"],
    }  # fmt: skip
    assert report.left_out == {"impressions at a time of which there are no clicks": 2}
    impressions, report = imported(source, click_window_minutes=50)
    assert {each.impression_id: each.clicked for each in impressions}["A"] == ["a2"]
    # A column that is not to be believed is left out by hand.
    write_source(
        tmp_path,
        "imp_id,user_id,time,article_id,clicked\n" + rows.replace("\n", ",1\n"),
        clicks,
    )
    arguments = [str(source), str(tmp_path / "set"), "--column", "impressions.clicked="]
    result = CliRunner().invoke(import_command, [*arguments, "--click-window", "50"])
    assert "what was clicked follows from the clicks" in result.stderr
    assert list(ReadingSet(tmp_path / "set").impressions()) == impressions


def test_what_no_record_can_hold_or_nobody_agreed_to_is_left_out(tmp_path: Path) -> None:
    most = [("most", f"n{number}", 0, None) for number in range(MAX_IMPRESSION_ARTICLES)]
    more = [("more", f"n{number}", 0, None) for number in range(MAX_IMPRESSION_ARTICLES + 5)]
    # Ids of control characters, of which JSON makes six each.
    long = [("long", f"{number:03}" + "\x01" * 300, 1, None) for number in range(600)]
    refused = [("refused", "a1", 0, "no"), ("refused", "a2", 0, None)]
    source = write_source(tmp_path, "")
    write_csv(
        source / "impressions.csv",
        ["impression_id", "article_id", "clicked", "consent", "user_id", "timestamp"],
        ((*row, "u1", NOON) for row in [*most, *more, *long, *refused]),
    )
    impressions, report = imported(source)
    assert [(each.impression_id, len(each.candidates)) for each in impressions] == [
        ("most", MAX_IMPRESSION_ARTICLES)
    ]
    assert impressions[0].candidates[:2] == ["n0", "n1"]  # without positions, as in the table
    assert report.left_out == {
        "impressions without consent": 1,
        f"impressions of more than {MAX_IMPRESSION_ARTICLES:,}": 1,
        f"impressions longer than {MAX_MESSAGE_BYTES:,} bytes": 1,
    }
    assert report.noticed == {
        "articles shown that the set does not hold": MAX_IMPRESSION_ARTICLES,
        "impressions, and nothing was clicked in any": 1,
    }


def test_an_id_that_was_given_twice_is_noticed(tmp_path: Path) -> None:
    rows = f"i1,u1,{NOON},a1,0,1\ni1,u1,{NOON + 61 * MINUTE},a2,1,2\n"
    impressions, report = imported(write_source(tmp_path, HEADER + rows))
    assert impressions[0].timestamp == NOON * 1000
    assert report.noticed == {"impressions with rows of more than an hour apart": 1}


@pytest.mark.parametrize("says_clicked", [True, False])
def test_the_same_bytes_whatever_fits_into_memory(
    newsroom: Path, tmp_path: Path, says_clicked: bool
) -> None:
    export_csv(newsroom, tmp_path / "source")
    chance = random.Random(7)
    articles = [each.article_id for each in ReadingSet(newsroom).articles()]
    expected, rows = {}, []
    for number, click in enumerate(ReadingSet(newsroom).clicks()):
        others = chance.sample(articles, 4)
        shown = list(dict.fromkeys([*others, click.article_id]))
        chance.shuffle(shown)
        expected[f"i{number}"] = shown
        rows += [
            [f"i{number}", click.user_id, click.timestamp, article_id, place,
             int(article_id == click.article_id)][: 6 if says_clicked else 5]
            for place, article_id in enumerate(shown)
        ]  # fmt: skip
    chance.shuffle(rows)
    header = ["impression_id", "user_id", "timestamp", "article_id", "position", "clicked"]
    write_csv(tmp_path / "source" / "impressions.csv", header[: 6 if says_clicked else 5], rows)
    import_set(tmp_path / "source", tmp_path / "set", Options())
    import_set(tmp_path / "source", tmp_path / "again" / "set", Options(), chunk_size=100)
    for path in (tmp_path / "set").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "set" / path.name).read_bytes()
    found = {each.impression_id: each for each in ReadingSet(tmp_path / "set").impressions()}
    assert {name: each.candidates for name, each in found.items()} == expected
    for number, click in enumerate(ReadingSet(newsroom).clicks()):
        # By the clicks, others of those shown may have been read within the half hour.
        clicked = found[f"i{number}"].clicked
        assert clicked == [click.article_id] if says_clicked else click.article_id in clicked


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    source = write_source(tmp_path, "")
    (source / "impressions.csv").unlink()
    (source / "shown").mkdir()
    for part, clicked in enumerate(
        (pa.array([True, None, False]), pa.array([1.0, 0.0, None], pa.float64()))
    ):
        columns = {
            "requestId": pa.array([part, part, part]),
            "reader": ["u1", "u1", "u1"],
            "shownAt": pa.array([NOON * 1_000_000_000 + 5] * 3, pa.timestamp("ns", "UTC")),
            "newsId": ["a2", "a1", "a3"],
            "clicked": clicked,
            "rank": pa.array([2.0, None, 1.0]),
        }
        parquet.write_table(pa.table(columns), source / "shown" / f"part-{part}.parquet")
    impressions, report = imported(source, files={"impressions": Path("shown")})
    assert told(impressions) == [
        ("0", "u1", ["a3", "a2"], ["a2"]),
        ("1", "u1", ["a2", "a1"], ["a2"]),
    ]
    assert [(each.file, each.reason, each.lines) for each in report.unread] == [
        ("part-0.parquet", "clicked is neither yes nor no", [2]),
        ("part-1.parquet", "clicked is neither yes nor no", [3]),
    ]


def test_columns_can_be_told(tmp_path: Path) -> None:
    source = write_source(tmp_path, "")
    (source / "impressions.csv").unlink()
    (source / "views.csv").write_text(f"who;when;what;hit;page\nu1;{NOON};a1;ja;1\n")
    mapping = tmp_path / "map.toml"
    mapping.write_text('[impressions]\nuser_id = "who"\ntimestamp = "when"\narticle_id = "what"\n')
    arguments = [
        str(source), str(tmp_path / "set"), "--impressions", "views.csv", "--map", str(mapping),
        "--column", "impressions.impression_id=page",
    ]  # fmt: skip
    result = CliRunner().invoke(import_command, arguments)
    assert result.exit_code == 0, result.output
    assert "impression_id = page, user_id = who" in result.stderr
    assert "not used: hit" in result.stderr
    assert [each.impression_id for each in ReadingSet(tmp_path / "set").impressions()] == ["1"]
    assert read_map(mapping)[0]["impressions"] == {
        "user_id": ["who"], "timestamp": ["when"], "article_id": ["what"],
    }  # fmt: skip
    result = CliRunner().invoke(import_command, [*arguments, "--column", "impressions.hit=hit"])
    assert result.exit_code == 2 and "impressions.hit: no such field" in result.output


def test_a_row_id_is_not_taken_for_that_of_an_impression(tmp_path: Path) -> None:
    rows = f"1,u1,{NOON},a1,0\n2,u1,{NOON},a2,1\n"
    source = write_source(tmp_path, "id,user_id,timestamp,article_id,clicked\n" + rows)
    assert told(imported(source)[0]) == [(None, "u1", ["a1", "a2"], ["a2"])]


def test_a_mind_folder_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "news.tsv").touch()
    (tmp_path / "behaviors.tsv").touch()
    with pytest.raises(ReadingSetError, match="are its own"):
        import_set(
            tmp_path, tmp_path / "set", Options(files={"impressions": Path("impressions.csv")})
        )


@pytest.mark.parametrize("value", [None, "", " ", "2", 7, -1, "maybe", 0.5, float("nan")])
def test_what_does_not_say_whether_it_was_clicked(value: Any) -> None:
    with pytest.raises(UnreadableError):
        clicked_of(value)
