"""The model card: what a model is for, how good it is and on whom, and what it cannot say.

Source: Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.evaluation.table import figure_name, interval, number
from schemas.bundle import CARD_DIRECTORY, Manifest
from schemas.errors import TrainingError

CARD_FILE = "model_card.md"

_USE = """\
## Intended use

Choosing and ordering news for a reader of the site the model was trained on, from the reader's own
clicks, and statistics about the readers as a whole. Every estimate comes with its uncertainty, and
with few clicks it stays near what is known of all readers.

## Limits

- An estimate says what readers with such clicks have often been. It does not say who this reader
  is: read the interval and the probability, never the guess alone.
- It is no ground for a decision about a person: not for prices, credit, insurance, work, housing,
  health, law enforcement or access to anything, nor for finding out about someone what they have
  not said.
- Gender is estimated as one of two, because the labels know two. Nobody has to be one of them.
- Income is a group, and of most sets a weak label; look at its log-loss beside the constant's
  before using it at all.
- Labels come from the readers who gave them. Readers who did not may differ, and so do readers of
  another site, country, language or year: measure again before using the model there.
- Errors are not the same for everybody: see the figures by group below. Estimates are drawn towards
  the middle, so the youngest and the oldest are hit worst.
- Estimates are personal data, and so are the clicks they are made from."""


def write_card(directory: Path, result: dict[str, Any], manifest: Manifest) -> Path:
    """Write the card with its plots to `directory`/card and return the path of its text.

    result: of `evaluate_data`; manifest: of the bundle it was measured on. The card holds figures
    of groups of readers only, no reader's id.

    Raises:
        TrainingError: when matplotlib is missing.
    """
    try:
        from export.card_plots import draw_plots
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"a model card needs {error.name}: pip install 'frontpage[train]'"
        ) from error
    out = directory / CARD_DIRECTORY
    out.mkdir(parents=True, exist_ok=True)
    plots = draw_plots(out, result)
    path = out / CARD_FILE
    path.write_text("\n\n".join(_sections(result, manifest, plots)) + "\n", encoding="utf-8")
    return path


def _sections(result: dict[str, Any], manifest: Manifest, plots: dict[str, str]) -> Iterator[str]:
    yield f"# Model card: {_plain(manifest.model_version)}"
    yield (
        "Estimates a reader's age, income group and gender from the news the reader clicked. "
        "Written by the training or evaluation that measured it; nothing in it was typed in."
    )
    yield _model(manifest)
    yield _data(result, manifest)
    yield _USE
    yield _figures(result)
    yield _clicks(result["by_num_clicks"])
    if "optimum" in result:
        yield _optimum(result["optimum"])
    yield "## Plots"
    for name, caption in plots.items():
        yield f"![{Path(name).stem.replace('_', ' ')}]({name})"
        yield caption


def _model(manifest: Manifest) -> str:
    facts = manifest.training
    size_mb = (
        sum(spec.size for name, spec in manifest.files.items() if name.endswith(".onnx")) / 1e6
    )
    rows = {
        "architecture": manifest.architecture,
        "encoder": facts.get("encoder"),
        "size of the graphs": f"{size_mb:.1f} MB",
        "parameters": facts.get("parameters"),
        "vocabulary": f"{manifest.vocabulary_size} pieces",
        "reads of an article": f"{'tags, ' if manifest.reads_tags else ''}title and body, "
        f"the first {manifest.article_tokens} tokens",
        "reads of a reader": f"the newest {manifest.max_clicks} clicks",
        "income groups": ", ".join(manifest.income_groups),
        "best epoch": facts.get("best_epoch"),
        "trained": manifest.created_at,
        **{name: facts.get(name) for name in ("seed", "torch")},
        **{f"option {name}": value for name, value in facts.get("options", {}).items()},
        **{f"loss weight {name}": value for name, value in facts.get("loss_weights", {}).items()},
        **{f"schedule {name}": value for name, value in facts.get("schedule", {}).items()},
    }
    lines = [
        f"| {_plain(name)} | {_plain(value)} |" for name, value in rows.items() if value is not None
    ]
    return "\n".join(["## Model", "", "| | |", "|---|---|", *lines])


def _data(result: dict[str, Any], manifest: Manifest) -> str:
    facts = manifest.training
    readers = facts.get("readers", {})
    trained = ", ".join(f"{count} {split}" for split, count in readers.items())
    return "\n".join(
        [
            "## Data",
            "",
            "| | trained on | measured on |",
            "|---|---|---|",
            f"| set | {_plain(facts.get('dataset'))} | {_plain(result['dataset'])}, "
            f"{result['split']} split |",
            f"| licence | {_plain(facts.get('licence'))} | {_plain(result.get('licence'))} |",
            f"| readers | {trained or '-'} | {result['readers']} |",
            f"| articles | {facts.get('articles', '-')} | |",
            f"| clicks | {facts.get('clicks', '-')} | |",
        ]
    )


def _figures(result: dict[str, Any]) -> str:
    lines = [
        "## Figures",
        "",
        "With bootstrap 95 % intervals. The baseline is a bag of words (TF-IDF, logistic and ridge "
        "regression) fitted on the readers of train and valid; the constant says the same of "
        "everyone: its accuracy is the majority's. "
        "ECE is the expected calibration error in ten bins, of the probability of being a woman "
        "and of the most probable income group; coverage80 is the share of ages inside the 80 % "
        "interval.",
        "",
        "| head | figure | model | 95 % interval | baseline | constant |",
        "|---|---|---|---|---|---|",
    ]
    for head, figures in result["model"].items():
        for name, figure in figures.items():
            others = " | ".join(
                number(result[other][head][name]["value"]) for other in ("baseline", "constant")
            )
            lines.append(
                f"| {head} | {figure_name(name)} | {number(figure['value'])} | {interval(figure)} "
                f"| {others} |"
            )
    return "\n".join(lines)


def _clicks(entries: dict[str, Any]) -> str:
    lines = [
        "## After few clicks",
        "",
        "On the first clicks of the readers who have so many.",
        "",
        "| head | figure | " + " | ".join(entries) + " |",
        "|---|---|" + "---|" * len(entries),
        "| | readers | " + " | ".join(str(entry["readers"]) for entry in entries.values()) + " |",
    ]
    for head in ("gender", "age", "income"):
        for name in next(iter(entries.values()))[head]:
            values = " | ".join(number(each[head][name]["value"]) for each in entries.values())
            lines.append(f"| {head} | {figure_name(name)} | {values} |")
    return "\n".join(lines)


def _optimum(entries: dict[str, Any]) -> str:
    lines = [
        "## Beside the optimum",
        "",
        "The readers of this set are generated, so the exact posterior is known: no model can be "
        "expected to do better on the same clicks.",
        "",
        "| clicks | readers | head | figure | model | optimum | ratio | 95 % interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for clicks, entry in entries.items():
        for head, figures in entry["ratio"].items():
            for name, ratio in figures.items():
                values = " | ".join(
                    number(entry[whose][head][name]["value"]) for whose in ("model", "optimum")
                )
                lines.append(
                    f"| {clicks} | {entry['readers']} | {head} | {figure_name(name)} | {values} "
                    f"| {number(ratio['value'])} | {interval(ratio)} |"
                )
    return "\n".join(lines)


def _plain(value: Any) -> str:
    """Write a value, which may be another's text, so that it stays in its cell."""
    return (
        "-" if value is None else re.sub(r"([\\|<>`*_\[\]])", r"\\\1", " ".join(str(value).split()))
    )
