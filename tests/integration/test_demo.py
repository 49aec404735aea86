"""The demo: it tells the truth about itself by its exit code."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.osh.story import STORY

ROOT = Path(__file__).parents[2]
SABOTAGED = """
from examples.osh import demo, story
from examples.osh.stage import step

@step("1.2")
def idle(stage, cast):
    \"\"\"Nothing happens.\"\"\"

# The consent is never withdrawn, so the next read is answered; and a step looks at nothing.
demo.STORY = (story.person_registers, story.next_read_is_refused, idle)
demo.main()
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("options", [[], ["--postgres"]], ids=["SQLite", "PostgreSQL"])
def test_the_whole_story_happens(options: list[str]) -> None:
    done = _run("-m", "examples.osh.demo", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(STORY)} of {len(STORY)} steps happened" in done.stdout
    assert "FAILED" not in done.stdout
    assert not done.stderr


def test_a_step_that_does_not_happen_fails_the_demo() -> None:
    """Neither a wrong answer nor a step that checks nothing passes for a success."""
    done = _run("-c", SABOTAGED)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 of 3 steps happened" in done.stdout
    assert "it was answered, where it should be refused" in done.stdout
    assert "nothing was checked" in done.stdout
