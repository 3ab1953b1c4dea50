"""The device that is chosen, or what is said instead; the driver and the cards are stand-ins."""

from collections.abc import Callable, Iterator

import pytest
import torch

import foundation.device
from foundation.device import device, device_type, runs_on, training_devices
from foundation.errors import UserError

GIB = 2**30
WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
"""What the wheel of torch 2.14.1 for CUDA 13.0 has code for."""

Machine = Callable[..., None]


@pytest.fixture(autouse=True)
def unknown() -> Iterator[None]:
    """Every test chooses anew."""
    foundation.device._chosen.cache_clear()
    yield
    foundation.device._chosen.cache_clear()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Sets up a machine: its driver, and the capability and the free memory of each card."""

    def make(driver: tuple[int, int] | None, cards: tuple = (), free: float = 10.0, wanted: str = "") -> None:
        foundation.device._chosen.cache_clear()
        monkeypatch.setattr(foundation.device, "_may_have_cuda", lambda: driver is not None)
        monkeypatch.setattr(foundation.device, "driver_version", lambda: driver)
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cards))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda card: cards[card])
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda card: f"card of {cards[card]}")
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: WHEEL)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda card: (int(free * GIB), 11 * GIB))
        monkeypatch.setenv("CMATH_DEVICE", wanted)

    return make


def test_without_a_driver_it_is_the_cpu_and_nothing_is_said(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine(None)
    assert (device(), device_type()) == (torch.device("cpu"), "cpu")
    assert caplog.text == ""


def test_the_first_card_is_taken_unless_another_is_named(machine: Machine) -> None:
    machine((13, 0), ((8, 6), (9, 0)))
    assert (device(), device_type()) == (torch.device("cuda"), "cuda")
    machine((13, 0), ((8, 6), (9, 0)), wanted="cuda:1")
    assert device() == torch.device("cuda:1")
    machine((13, 0), ((8, 6),), wanted="cpu")
    assert (device(), device_type()) == (torch.device("cpu"), "cpu")


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "0", "cpu:0 ", "mps"])
def test_a_name_that_is_no_device_is_refused_with_those_that_are(machine: Machine, name: str) -> None:
    machine((13, 0), ((8, 6),), wanted=name)
    for ask in (device, device_type):
        with pytest.raises(UserError, match=f"CMATH_DEVICE = '{name}': must be cpu, cuda, or cuda:1"):
            ask()


def test_a_card_that_is_not_there_is_refused_with_their_number(machine: Machine) -> None:
    machine((13, 0), ((8, 6), (8, 6)), wanted="cuda:2")
    with pytest.raises(UserError, match=r"CMATH_DEVICE = 'cuda:2': there are 2 cards, counted from cuda:0"):
        device()


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (None, "there is no NVIDIA driver"),
        ((12, 4), r"the NVIDIA driver is for CUDA 12\.4, and torch .* for CUDA 13\.0 \(580 or newer.*/whl/cu126"),
        ((13, 1), "the NVIDIA driver is there, and torch sees no card.* CUDA_VISIBLE_DEVICES may hide it"),
    ],
)  # fmt: skip
def test_cuda_that_cannot_be_had_is_an_error_if_it_is_asked_for(
    machine: Machine, driver: tuple[int, int] | None, said: str
) -> None:
    machine(driver, wanted="cuda")
    with pytest.raises(UserError, match="CMATH_DEVICE = 'cuda': " + said):
        device()
    with pytest.raises(UserError, match=said):
        device_type()


def test_an_old_driver_is_a_warning_if_no_card_is_asked_for(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine((12, 4))
    assert [device().type, device_type(), device().type] == ["cpu"] * 3
    (warning,) = caplog.messages
    assert "the NVIDIA driver is for CUDA 12.4" in warning
    assert "the CPU computes" in warning


def test_a_card_that_the_build_has_no_code_for_is_named_and_the_next_is_taken(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine((13, 0), ((7, 0), (8, 9)))
    assert device() == torch.device("cuda:1")
    (warning,) = caplog.messages
    assert "cuda:0 (card of (7, 0)) has capability 7.0" in warning
    assert "sm_75, sm_80" in warning
    assert "cuda:1 is used instead" in warning


def test_no_card_that_the_build_has_code_for_is_the_cpu_or_an_error(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine((13, 0), ((6, 1),))
    assert device().type == "cpu"
    assert "capability 6.1" in caplog.text
    machine((13, 0), ((6, 1),), wanted="cuda")
    with pytest.raises(UserError, match=r"CMATH_DEVICE = 'cuda': cuda:0 .* has capability 6\.1.*/whl/cu126"):
        device()


@pytest.mark.parametrize("wanted", ["", "cuda", "cuda:0"])
def test_a_card_without_memory_is_an_error(machine: Machine, wanted: str) -> None:
    machine((13, 0), ((8, 6),), free=0.4, wanted=wanted)
    with pytest.raises(UserError, match=r"cuda:0 \(card of .*\) has 0\.4 of 11 GiB free: `nvidia-smi`.*=cpu the CPU"):
        device()


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((7, 5), WHEEL, True), ((8, 9), WHEEL, True), ((12, 1), WHEEL, True), ((7, 0), WHEEL, False),
        ((11, 0), WHEEL, False), ((12, 0), ["sm_90"], False), ((12, 0), ["sm_90", "compute_90"], True),
        ((8, 0), ["sm_86"], False), ((8, 0), ["compute_86"], False), ((9, 0), ["sm_90a"], True), ((9, 0), [], False),
    ],
)  # fmt: skip
def test_code_runs_on_cards_of_its_major_number_that_are_not_older(
    capability: tuple[int, int], built_for: list[str], runs: bool
) -> None:
    assert runs_on(capability, built_for) is runs


def test_seeds_train_in_as_many_processes_as_there_are_workers_or_on_the_one_card(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMATH_WORKERS", "3")
    machine(None)
    assert training_devices() == ["cpu"] * 3
    machine((13, 0), ((8, 6), (8, 6)))
    assert training_devices() == ["cuda"]


def test_a_process_for_each_entry_of_the_devices_that_are_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine((13, 0), ((8, 6), (8, 6)))
    monkeypatch.setenv("CMATH_DEVICES", "cuda:1, cuda:0,cuda:0")
    assert training_devices() == ["cuda:1", "cuda:0", "cuda:0"]
    assert device() == torch.device("cuda:1")  # what is not spread is computed on the first
    monkeypatch.setenv("CMATH_DEVICES", "cpu,cpu")
    assert (training_devices(), device().type, device_type()) == (["cpu", "cpu"], "cpu", "cpu")
    for wrong in ("cuda:0,gpu", "cpu,cuda:0", "0,1"):
        monkeypatch.setenv("CMATH_DEVICES", wrong)
        for ask in (training_devices, device, device_type):
            with pytest.raises(UserError, match=f"CMATH_DEVICES = '{wrong}': must be cards, or cpu alone"):
                ask()
