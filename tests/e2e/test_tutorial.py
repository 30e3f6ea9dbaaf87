"""The tutorial, command by command, on files that a newcomer could have."""

import os
import subprocess
from pathlib import Path

from schemas.reading_set import ReadingSet
from tests.commands_in_text import blocks
from tests.console_script import write_console_script
from tests.exported import export_csv

REPOSITORY = Path(__file__).parents[2]


def test_every_command_of_the_tutorial(newsroom: Path, tmp_path: Path) -> None:
    export_csv(newsroom, tmp_path / "my-data")
    write_console_script(tmp_path / "bin")
    text = (REPOSITORY / "docs" / "tutorial.md").read_text()
    commands = [block.text for block in blocks(text) if block.language == "sh"]
    assert len(commands) == 5
    env = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
    outputs = []
    for command in commands:
        result = subprocess.run(
            ["bash", "-euc", command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        outputs.append(result.stdout)
    imported, trained, evaluated, ranked, served = outputs
    # What was exported is what a model was trained on, measured on and served with.
    info = ReadingSet(newsroom).info
    assert f"{info.num_articles:,} articles, {info.num_clicks:,} clicks" in imported
    assert "not read" not in imported and "look:" not in imported
    assert "best epoch 1 of 1" in trained
    assert "gender" in evaluated and "constant" in evaluated
    assert "ndcg@10" in ranked.lower()
    assert served.count("READER") == 2 and "years" in served
