"""What `make bench` runs goes through, on small shapes: its figures are only as good as its last run."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bench import memory, mutants, seeds, speaker, training


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The number of threads that the tests after this one expect."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_steps_of_cmath_and_of_baselines_are_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "DIALOGUES", 2)
    monkeypatch.setattr(training, "TURNS", 3)
    monkeypatch.setattr(training, "DIM", 20)
    monkeypatch.setattr(training, "SMALL", (1, 2, 10))
    monkeypatch.setattr("sys.argv", ["bench.training", "--models", "cmath", "scmm"])
    # Everything takes half a second here, and no ratio depends on what else the machine does.
    monkeypatch.setattr(training, "timed", lambda work, repeats=7: (work(), 0.5)[1])
    training.main()
    said = capsys.readouterr().out
    assert "CMATH, 2 x 3 turns, width 20" in said
    assert "CMATH, 1 x 2 turns, width 10" in said
    ratios = re.findall(r"^  ratio +([0-9.]+) to (.*)$", said, re.MULTILINE)
    assert [what for _, what in ratios] == ["the products alone", "its own products and the update"] * 2
    # The limit is the products and the update, of the time of one step; a step has the work of many single products.
    assert [both for both, _ in ratios[1::2]] == ["2.00", "2.00"]
    assert all(float(alone) > 10 for alone, _ in ratios[::2])
    assert re.search(r"^scmm +[0-9.]+ +[0-9.]+ s   -$", said, re.MULTILINE)


def test_a_seed_trains_for_the_epochs_of_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []
    fit = seeds.fit
    monkeypatch.setattr(seeds, "fit", lambda *given, **named: epochs.append(len(fit(*given, **named).history)))
    seeds.train(seeds.Shape("tiny", "meld", (("text", 4),), dialogues=3, turns=2, epochs=2), seed=0)
    assert epochs == [2]


def test_the_groups_of_mutants_name_files_that_there_are() -> None:
    named = [path for group in mutants.GROUPS.values() for path in (*group.modules, *group.tests)]
    assert [path for path in named if not list(mutants.PROJECT.glob(path))] == []


def test_the_bytes_of_tensors_are_counted_while_they_are_there() -> None:
    with memory.Alive() as alive:
        kept = torch.zeros(100)
        view = kept[:50]
        gone = torch.zeros(1000, dtype=torch.float64)
        del gone
        other = kept * 2
    assert alive.most == 100 * 4 + 1000 * 8
    assert alive.now == 2 * 100 * 4
    assert view.data_ptr() == kept.data_ptr() != other.data_ptr()


def test_memory_of_fine_tuning_is_that_of_weights_gradients_and_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import RobertaConfig, RobertaModel

    small = {"vocab_size": 3000, "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2}
    config = RobertaConfig(intermediate_size=128, **small)
    monkeypatch.setattr(memory, "LARGE", config)
    weights = 4 * sum(one.numel() for one in RobertaModel(config, add_pooling_layer=False).parameters()) / memory.GIB
    # Of one short utterance the backward pass keeps little. The update has intermediate values of its largest matrix.
    assert 4 * weights <= memory.peak(1, 2, "float32", False, 0) < 6 * weights
    assert weights < memory.peak(1, 2, "float32", True, 2) < 2 * weights


def test_the_quiet_part_of_a_talk_is_its_longest_and_not_a_short_one() -> None:
    pictures = [np.full((2, 2, 3), number, np.uint8) for number in range(50)]
    sound = np.repeat(np.where(np.isin(np.arange(50), [*range(8), *range(20, 24)]), 0.001, 0.5), 640)
    quiet = [int(picture[0, 0, 0]) for picture in speaker.Talk("a", pictures, sound.astype(np.float32)).quiet()]
    assert set(range(1, 7)) <= set(quiet) <= set(range(8))
    assert speaker.Talk("a", pictures, np.full(32_000, 0.5, np.float32)).quiet() == []
    assert [*speaker.to_and_fro(pictures[:3], 8)] == [pictures[place] for place in (0, 1, 2, 2, 1, 0, 0, 1)]


def test_a_share_of_pairs_has_the_interval_of_its_persons() -> None:
    """What one of five persons decides is less certain than its number of pairs says."""
    pairs = [(one, other) for one in "abcde" for other in "abcde" if one != other]
    assert speaker.rate([(*pair, True) for pair in pairs], 0) == (1, 1, 1)
    share, low, high = speaker.rate([(*pair, pair[0] != "a") for pair in pairs], 0)
    assert share == 0.8
    assert low < 0.8 - 1.96 * (0.8 * 0.2 / len(pairs)) ** 0.5 < 0.8 < high == 1
