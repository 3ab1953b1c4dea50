"""Every command says with --help what it does, and does nothing else."""

import re
import runpy
import sys

import pytest

from tests.paper.small import PROJECT

COMMANDS = sorted(
    f"{room}.{file.relative_to(PROJECT / room).with_suffix('').as_posix().replace('/', '.')}"
    for room in ("pipeline", "paper", "bench")
    for file in (PROJECT / room).rglob("*.py")
    if '__name__ == "__main__"' in file.read_text("utf-8")
)


def test_there_are_commands() -> None:
    assert {"pipeline.predict", "pipeline.params", "paper.collapse", "bench.seeds"} < set(COMMANDS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__")
    said = capsys.readouterr().out
    assert not ended.value.code
    assert said.startswith("usage: ")
    assert len(re.sub(r"usage: .*\n|options:|-h, --help +show this help message and exit", "", said).split()) >= 8
