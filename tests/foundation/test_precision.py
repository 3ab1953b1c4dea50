"""Precision by what a card does well; the card is a stand-in."""

from contextlib import suppress

import pytest
import torch

from foundation.precision import chosen_precision, lowered, tf32

CPU, CARD = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("wanted", ["auto", "float32", "tf32", "bfloat16", "float16"])
def test_a_cpu_computes_in_float32(wanted: str) -> None:
    assert chosen_precision(wanted, CPU, older="float16") == "float32"


@pytest.mark.parametrize(
    ("capability", "chosen"),
    [((7, 5), "float16"), ((7, 9), "float16"), ((8, 0), "bfloat16"), ((8, 6), "bfloat16"), ((12, 0), "bfloat16")],
)
def test_auto_is_bfloat16_on_cards_that_have_it(
    capability: tuple[int, int], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert chosen_precision("auto", CARD, older="float16") == chosen
    assert [chosen_precision(wanted, CARD, older="float16") for wanted in ("float32", "tf32", "bfloat16")] == [
        "float32", "tf32", "bfloat16"
    ]  # fmt: skip


def test_products_are_in_the_precision_that_was_chosen_and_only_inside_the_block() -> None:
    left = torch.ones(2, 2)
    for precision, dtype in (("float32", torch.float32), ("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        with lowered(precision, CPU):
            assert (left @ left).dtype == dtype
        assert (left @ left).dtype == torch.float32


@pytest.mark.parametrize("before", [False, True])
def test_tf32_is_as_it_was_after_the_block_also_after_an_error(before: bool) -> None:
    def flags() -> list[bool]:
        return [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]

    with tf32(before):
        for allowed in (True, False):
            with suppress(ZeroDivisionError), tf32(allowed):
                assert flags() == [allowed, allowed]
                raise ZeroDivisionError
            assert flags() == [before, before]
