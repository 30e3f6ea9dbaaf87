"""A frame as lines of text for a terminal of any size, from 80 by 24 on; pure.

frontpage  …                     what runs
ALL WELL                         or what wants attention, and how badly
clicks …                         the stream as a whole
TOPIC …         | WORKER …       side by side where there is room
STAGE …  TROUBLE … | TAGS …
"""

import shutil
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from worker.show import fit
from worker.top.state import Frame, duration

WIDE = 110
"""Columns from which on blocks are set side by side."""

MANY_WAITING = 1000
"""Messages; so many are marked, whether or not they are done soon."""

BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
STYLES = {"": "", "bold": "1", "dim": "2", "good": "32", "bad": "1;31", "warn": "33", "head": "36"}


class Span(NamedTuple):
    """Some text of a line in one style, a key of `STYLES`."""

    text: str
    style: str = ""


Line: TypeAlias = list[Span]
Block: TypeAlias = list[Line]


class Look(NamedTuple):
    """How a terminal is written to. colours: whether styles are. unicode: whether bars are."""

    width: int
    height: int
    colours: bool
    unicode: bool


def render(frame: Frame, look: Look) -> list[str]:
    """Return the lines of a frame, none wider and not more than there is room for."""
    top = [_header(frame), *_verdict(frame), _stream(frame, look)]
    if look.width >= WIDE:
        left = look.width // 2 - 2
        right = look.width - left
        body = beside(
            _spaced([_topics(frame, left), _stages(frame, look)]),
            _spaced([_workers(frame), _troubles(frame), _tags(frame, look, right)]),
            left,
        )
        lines = [*top, [], *body]
    else:
        pair = beside(_stages(frame, look), _troubles(frame), look.width // 2 + 2)
        blocks = [_topics(frame, look.width), _workers(frame), pair, _tags(frame, look, look.width)]
        lines = [*top, [], *_spaced(blocks)]
        if len(lines) > look.height:
            lines = [*top, *(line for block in blocks for line in block)]
    if len(lines) > look.height:
        lines = [*lines[: look.height - 1], [Span("… make the window higher", "dim")]]
    return [paint(line, look) for line in lines]


def paint(line: Line, look: Look) -> str:
    """Return a line as it is written, cut to the width.

    >>> paint([Span("ab", "bad"), Span("新闻")], Look(4, 24, True, True))
    '\\x1b[1;31mab\\x1b[0m…'
    """
    left, painted = look.width, ""
    for text, style in line:
        clean = "".join(each if each.isprintable() else "?" for each in text)
        cut = fit(clean, left).rstrip() if columns(clean) > left else clean
        is_whole = cut == clean
        left -= columns(cut)
        if not look.unicode:
            cut = cut.translate(_ASCII).encode("ascii", "replace").decode()
        code = STYLES[style] if look.colours else ""
        painted += f"\x1b[{code}m{cut}\x1b[0m" if code and cut else cut
        if not is_whole:
            break
    return painted if look.colours else painted.rstrip()


_ASCII = str.maketrans({"…": "~", "·": "-", "▲": "^", "▼": "v", "█": "#", "–": "-"})


def columns(text: str) -> int:
    """Return how many columns a text takes.

    >>> columns("新闻ab")
    6
    """
    width = 2 * len(text)
    return width - (len(fit(text, width)) - len(text))


def beside(left: Block, right: Block, width: int) -> Block:
    """Set two blocks side by side; the left one has so many columns."""
    lines: Block = []
    for number in range(max(len(left), len(right))):
        own = left[number] if number < len(left) else []
        other = right[number] if number < len(right) else []
        taken = sum(columns(span.text) for span in own)
        if taken > width - 1:
            own, taken = [Span(fit("".join(span.text for span in own), width - 1))], width - 1
        lines.append([*own, Span(" " * (width - taken)), *other])
    return lines


def _spaced(blocks: Sequence[Block]) -> Block:
    lines: Block = []
    for block in blocks:
        if block:
            lines += [[], *block] if lines else block
    return lines


def _header(frame: Frame) -> Line:
    total = frame.total
    num = sum(worker.figures is not None for worker in frame.workers)
    model = total.models[0] if len(total.models) == 1 else f"{len(total.models)} models"
    clock = datetime.fromtimestamp(frame.time_ms / 1000).astimezone().strftime("%H:%M:%S")
    parts = [clock, f"{num} of {len(frame.workers)} workers"]
    if total.models:
        parts.append(f"model {model}" if len(total.models) == 1 else model)
    redis = frame.redis
    if not redis.problem:
        parts.append(f"Redis {_bytes(redis.memory_bytes)} {redis.commands_per_s:,}/s")
    return [Span("frontpage ", "bold"), Span(" · ".join(parts))]


def _verdict(frame: Frame) -> Block:
    if frame.attention:
        more = len(frame.attention) - 4
        lines = [[Span(f"! {text}", "bad")] for text in frame.attention[:4]]
        return [*lines, [Span(f"! and {more} more", "bad")]] if more > 0 else lines
    idle = not frame.total.clicks_per_s
    return [[Span("all well" + (", no clicks" if idle else ""), "good")]]


def _stream(frame: Frame, look: Look) -> Line:
    total, size = frame.total, max(6, min(30, (look.width - 66) // 2))
    return [
        *(Span("clicks "), Span(f"{_number(total.clicks_per_s)}/s ", "bold")),
        Span(sparkline(frame.clicks_per_s[-size:], look), "head"),
        *(Span("  pages "), Span(f"{_number(total.pages_per_s)}/s", "bold")),
        *(Span("  waiting "), Span(f"{_number(total.num_waiting)} ", "bold")),
        Span(sparkline(frame.waiting[-size:], look), "head"),
        *(Span("  articles "), Span(_number(total.articles), "bold")),
    ]


def sparkline(values: Sequence[float], look: Look) -> str:
    """Draw values as bars, the largest of them the highest.

    >>> sparkline([0, 1, 2, 4], Look(80, 24, False, True))
    '▁▃▅█'
    """
    bars, most = BARS if look.unicode else ASCII_BARS, max(values, default=0)
    last = len(bars) - 1
    return "".join(bars[round(value / most * last) if most else 0] for value in values)


def _topics(frame: Frame, width: int) -> Block:
    num_places = max(1, (width - 46) // 10)
    head = f"{'TOPIC':<13}{'msgs/s':>8}{'waiting':>8}{'batch':>7}{'age':>8}  most behind"
    lines: Block = [[Span(head, "head")]]
    unused = []
    for name, topic in frame.total.topics.items():
        if not topic.messages and not topic.num_waiting:
            unused.append(name)
            continue
        is_quiet = not topic.messages_per_s and not topic.num_waiting
        style = "dim" if is_quiet else ""
        behind = sorted(topic.waiting.items(), key=lambda each: -each[1])[:num_places]
        places = " ".join(f"[{partition}] {_number(num)}" for partition, num in behind if num)
        end = f"{_number(topic.batch_messages):>7}{_seconds(topic.age_s):>8}  {places}"
        lines.append(
            [
                Span(f"{_cut(name, 13)}{_number(topic.messages_per_s):>8}", style),
                Span(f"{_number(topic.num_waiting):>8}", _waiting_style(topic.num_waiting, style)),
                Span(end, style),
            ]
        )
    return [*lines, [Span(f"nothing yet: {', '.join(unused)}", "dim")]] if unused else lines


def _waiting_style(num: int, style: str) -> str:
    return "warn" if num >= MANY_WAITING else style


def _workers(frame: Frame) -> Block:
    lines: Block = [
        [Span(f"{'WORKER':<22}{'clicks/s':>9}{'waiting':>9}{'memory':>8}{'CPU':>6} state", "head")]
    ]
    for worker in sorted(frame.workers, key=lambda each: each.figures is not None):
        address = _cut(worker.url.removeprefix("http://"), 22)
        found = worker.figures
        if found is None:
            lines.append([Span(address), Span(f"  {worker.status}", "bad")])
            continue
        cpu = "-" if found.cpu is None else f"{found.cpu:.0%}"
        memory = "-" if found.memory_bytes is None else _bytes(found.memory_bytes)
        text = f"{address}{_number(found.clicks_per_s):>9}{_number(found.num_waiting):>9}"
        text += f"{memory:>8}{cpu:>6}"
        style = "good" if worker.status == "ready" else "bad"
        lines.append([Span(text), Span(f" {worker.status}", style)])
    return lines


def _stages(frame: Frame, look: Look) -> Block:
    lines: Block = [[Span(f"{'STAGE':<9}{'mean':>9}  share of time", "head")]]
    for name, stage in frame.total.stages.items():
        share = min(1.0, stage.share or 0.0)
        bar = ("█" if look.unicode else "#") * round(share * 16)
        percent = "-" if stage.share is None else f"{share:.0%}"
        lines.append(
            [Span(f"{name:<9}{_seconds(stage.mean_s):>9} {percent:>5} "), Span(bar, "head")]
        )
    return lines


def _troubles(frame: Frame) -> Block:
    total = frame.total
    rows = [(f"{name} retries", counted) for name, counted in total.errors.items()]
    rows += [("not delivered", total.undelivered), ("bundles refused", total.bundles_refused)]
    letters = [each for each in total.dead_letters.items() if each[1].total]
    num_letters = sum(each.total for _, each in letters)
    lines: Block = [[Span(f"{'TROUBLE':<17}{'1 min':>7}{'ever':>8}", "head")]]
    if not num_letters:
        lines.append([Span(f"{'dead letters':<17}{0:>7}{0:>8}", "dim")])
    rows = [(f"dead: {reason}", counted) for reason, counted in letters] + [
        each for each in rows if each[1].total or each[0] in ("redis retries", "kafka retries")
    ]
    for name, counted in rows:
        style = "bad" if counted.last_minute else "" if counted.total else "dim"
        lines.append([Span(f"{_cut(name, 17)}{counted.last_minute:>7,}{counted.total:>8,}", style)])
    return lines


def _tags(frame: Frame, look: Look, width: int) -> Block:
    title = "HOT TAGS  share of clicks now (of all clicks ever)"
    lines: Block = [[Span(fit(title, min(width, 78)).rstrip(), "head")]]
    if frame.trends is None:
        return [*lines, [Span("nothing counted yet", "dim")]]
    cell = 26
    per_line = max(1, width // cell)
    room = 2 if width < WIDE and look.width < WIDE and look.height < 40 else 6
    cells = []
    for each in frame.trends.tags[: per_line * room]:
        mark = (
            "▲" if each.share > 1.25 * each.usual else "▼" if each.share < 0.8 * each.usual else " "
        )
        style = {"▲": "good", "▼": "dim", " ": ""}[mark]
        cells.append(
            Span(f"{_cut(each.tag, 12)}{each.share:>4.0%} ({each.usual:.0%}) {mark}", style)
        )
    for start in range(0, len(cells), per_line):
        row = cells[start : start + per_line]
        lines.append([Span(fit(span.text, cell), span.style) for span in row])
    return lines


def _cut(text: str, width: int) -> str:
    """Return a name in a column of this width, with a space behind it."""
    return fit(text, width - 1) + " "


def _number(value: float | None) -> str:
    """Return a number in six columns or so.

    >>> [_number(each) for each in (None, 0, 2.34, 12_345, 1_234_567, 123_456_789)]
    ['-', '0', '2.3', '12,345', '1.2M', '123M']
    """
    if value is None:
        return "-"
    if value >= 1e6:
        return f"{value / 1e6:.1f}M" if value < 1e7 else f"{value / 1e6:,.0f}M"
    return f"{value:,.1f}" if value < 9.95 and value % 1 else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else duration(value)


def _bytes(num: int) -> str:
    """Return a size.

    >>> _bytes(412_000_000), _bytes(12_400_000_000)
    ('412 MB', '12.4 GB')
    """
    return f"{num / 1e9:.1f} GB" if num >= 1e9 else f"{num / 1e6:.0f} MB"


def look_of(size: tuple[int, int] | None, *, colours: bool, encoding: str) -> Look:
    """Return how to write. size: columns and lines; the terminal's by default."""
    width, height = size or shutil.get_terminal_size((80, 24))
    return Look(max(40, width), max(10, height), colours, encoding.lower().startswith("utf"))
