"""How a command ends: what a user can correct is one line, and all else keeps its traceback."""

import numpy as np
import pytest
import torch

from foundation.errors import UserError
from pipeline.stage import command


def ending(error: BaseException) -> str:
    def work() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        command(work)
    return str(ended.value)


def test_what_a_user_can_correct_is_one_line() -> None:
    assert ending(UserError("params.yaml: a = 1: must be 2")) == "error: params.yaml: a = 1: must be 2"


def test_a_level_that_is_none_is_refused_and_an_empty_one_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_LOG", "foo")
    assert ending(UserError("not reached")) == (
        "error: CMATH_LOG = 'foo': must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL; unset it for INFO"
    )
    for level in ("", "warning"):
        monkeypatch.setenv("CMATH_LOG", level)
        assert ending(UserError("reached")) == "error: reached"


def test_an_interruption_says_that_the_same_command_goes_on() -> None:
    assert ending(KeyboardInterrupt()) == (
        "interrupted; what was finished is kept: the same command goes on from there"
    )


def test_a_card_without_memory_is_one_line_with_the_remedy() -> None:
    said = ending(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 1 GiB"))
    assert said.startswith("error: the card's memory is used up; what was finished is kept")
    assert "smaller `batch` in params.yaml" in said
    assert "CMATH_DEVICE=cpu" in said
    assert said.endswith("(CUDA out of memory)")


@pytest.mark.parametrize("shape", [(2**46,), (10**6, 10**9)])
def test_a_machine_without_memory_is_one_line_with_the_remedy(shape: tuple[int, ...]) -> None:
    refused = []
    for make in (torch.empty, np.empty):
        with pytest.raises((RuntimeError, MemoryError)) as error:
            make(shape)
        refused.append(error.value)
    for reason in (*refused, MemoryError()):
        said = ending(reason)
        assert said.startswith("error: this machine's memory is used up; what was finished is kept")
        assert "CMATH_WORKERS=1" in said
        assert "\n" not in said
        assert len(said) < 500


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    def work() -> None:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        command(work)
