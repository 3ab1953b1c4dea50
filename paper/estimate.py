"""Estimate of the time and disk space for the whole report on a GPU, from counted operations; nothing is measured.

python -m paper.estimate

The estimate uses the current params.yaml and paper/params.yaml, for each corpus of the report that the paper has too
(`report.published` says under which name).
The corpus files are not needed: random dialogues have the number and the mean length that the paper's Table 1 prints.
The time of a step is the larger of two values: the time of its floating-point operations (matrix products, forward and
backward) at a fraction of the GPU's peak, and the time to launch its kernels, which dominates for small models. Every
training is assumed to use all its epochs, and the batch with which its model's search begins. With several GPUs
(`python -m paper.ahead`), trainings run side by side, one on each; but the points of a search follow one another, and
CMATH's studies follow its search, so the report takes at least as long as the longest such chain. Extraction and
fine-tuning of encoders are not included; see docs/paper.md.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from extractors.hub import folder_here
from extractors.settings import FUNCTIONALS
from foundation.files import read_file
from model.batching import NOBODY, Batch
from model.registry import make_model
from paper.params import NO_CORPUS, Report, changed, load_report
from paper.published import published_statistics
from paper.search import at_point, search_jobs, walk_of
from paper.studies import STUDIES, settings
from paper.words import duration
from pipeline.params import MODALITIES, Params, ParamsError, load_params
from pipeline.training.store import NOT_OF_MODEL, context_of

TEXT, VISUAL = 1024, 342
"""Feature widths of RoBERTa-Large and of the DenseNet."""
LARGE = 1024
"""Width that is assumed of an encoder that is not here: that of most large ones."""
SPEAKERS = {"iemocap": 2, "meld": 9}
"""Largest number of speakers in a dialogue."""
HELD_OUT = {"iemocap": 0.2, "meld": 0.1}
"""Fraction of the train and validation dialogues that are used for validation."""
NO_KERNEL = frozenset({"_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})
"""Operations that are no views and do nothing on a GPU either."""
BATCHES = 3
"""Number of batches counted per model; their dialogues have different lengths."""


@dataclass(frozen=True, slots=True)
class Step:
    """Cost of a training step, mean over some batches."""

    operations: float
    kernels: float
    parameters: int

    def seconds(self, rate: float, launch: float) -> float:
        """Time of the step, for `rate` operations per second and `launch` seconds per kernel."""
        return max(self.operations / rate, self.kernels * launch)


class Kernels(TorchDispatchMode):
    """Counter of the operations that launch a kernel on a GPU: all but views and allocations."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = function.overloadpacket.__name__
        self.number += not (function.is_view or name in NO_KERNEL)
        return function(*args, **(kwargs or {}))


def form(corpus: str, params: Params, paper: str) -> dict:
    """Configuration of the model, as `model_config` of pipeline/training/store.py makes it from the features.

    `paper` is the name by which the paper has the corpus.
    """
    audio, visual = params.audio[corpus], params.visual[corpus]
    of_audio = FUNCTIONALS[audio.set] if audio.encoder == "opensmile" else width(audio.encoder, audio.pooling)
    widths = {
        "text": TEXT,
        "audio": of_audio if audio.reduce == "none" else min(audio.dim, of_audio),
        "visual": width(visual.encoder, visual.pooling),
    }
    printed = published_statistics(paper)
    assert printed
    used = {*params.model.modalities} & {*params.index[corpus].modalities}
    found = {"dims": {name: widths[name] for name in MODALITIES if name in used}, "speakers": SPEAKERS[paper],
              "classes": int(printed[6])}  # fmt: skip
    found |= context_of(params)
    if params.model.name != "cmath":
        return found | params.baselines[params.model.name].model_dump()
    weights = {"gamma1": params.train[corpus].gamma1, "gamma2": params.train[corpus].gamma2}
    return found | weights | params.model.model_dump(exclude=set(NOT_OF_MODEL))


def used_modalities(corpus: str, params: Params) -> set[str]:
    return {str(name) for name in params.model.modalities if name in params.index[corpus].modalities}


def width(encoder: str, pooling: str) -> int:
    """Width of the vectors of an encoder of sound or pictures; LARGE if it is no folder that says so."""
    known, folder = VISUAL if encoder == "denseface" else LARGE, folder_here(encoder)
    if folder:
        config = json.loads(read_file(folder / "config.json"))
        of_pictures = config.get("vision_config") or config
        # A network of pictures and texts projects both to one width, if it says so.
        widths = (config.get("projection_dim"), of_pictures.get("hidden_size"), of_pictures.get("d_model"))
        known = next((int(one) for one in widths if one), known)
    return known * (2 if pooling == "mean_std" else 1)


def random_batch(config: dict, dialogues: int, mean: float, seed: int) -> Batch:
    """Make a batch of random dialogues, whose lengths are uniform between 1 and twice the mean."""
    torch.manual_seed(seed)
    lengths = torch.randint(1, round(2 * mean), (dialogues,))
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    values = {name: torch.randn(*mask.shape, width) * mask[..., None] for name, width in config["dims"].items()}
    label = torch.where(mask, torch.randint(config["classes"], mask.shape), -1)
    speaker = torch.randint(config["speakers"], mask.shape) * mask
    return Batch(values, dict.fromkeys(values, mask), speaker, mask, label, torch.where(mask, speaker, NOBODY))


def counted(corpus: str, params: Params, paper: str) -> Step:
    """Count the cost of a training step of the model that `params` name; see `form`."""
    config, mean = form(corpus, params, paper), (published_statistics(paper) or [0.0] * 5)[4]
    model = make_model(params.model.name, config).train()
    model.begin_epoch(1)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    operations, kernels = 0, 0
    for seed in range(BATCHES):
        batch = random_batch(config, params.train[corpus].batch, mean, seed)
        with FlopCounterMode(display=False) as flops, Kernels() as made:
            losses = model(batch, None).losses
            sum(model.loss_weights[name] * value for name, value in losses.items()).backward()
            optimizer.step()
            optimizer.zero_grad()
        operations, kernels = operations + flops.get_total_flops(), kernels + made.number
    return Step(operations / BATCHES, kernels / BATCHES, parameters(corpus, params, paper))


def parameters(corpus: str, params: Params, paper: str) -> int:
    return sum(value.numel() for value in make_model(params.model.name, form(corpus, params, paper)).parameters())


def lines(corpus: str, params: Params, report: Report, rate: float, launch: float, cards: int) -> Iterator[str]:
    """Yield one line per model, one for the studies, and one for the sum on one GPU and on `cards` of them."""
    paper = report.printed(corpus)
    printed = published_statistics(paper)
    if printed is None:
        yield f"{corpus}: the paper does not have it: nothing to go by"
        return
    total_seconds, total_bytes, whole, longest = 0.0, 0.0, 0.0, 0.0
    for name in report.models:
        walk = walk_of(params, corpus, name, report)
        at = at_point(params, corpus, name, report, walk.start)
        epochs = at.train[corpus].epochs
        steps = printed[0] * (1 - HELD_OUT[paper]) / at.train[corpus].batch
        step = counted(corpus, at, paper)
        tried = [job.params.train[corpus].epochs for job in search_jobs(params, corpus, name, report, walk.start)]
        searched = walk.most * sum(tried)
        one = steps * step.seconds(rate, launch)
        seconds, kept = one * (searched + len(report.seeds) * epochs), 4 * step.parameters * len(report.seeds)
        yield (f"{corpus}, {name}: {step.parameters / 1e6:.1f} M parameters, {step.operations / 1e9:.0f} GFLOP and "
               f"{step.kernels:.0f} kernels a step, {steps:.0f} steps an epoch: {duration(seconds)}, "
               f"{kept / 1e9:.1f} GB")  # fmt: skip
        total_seconds, total_bytes = total_seconds + seconds, total_bytes + kept
        chain = one * (walk.most * max(tried) + epochs)
        if name == "cmath":
            whole = one * epochs
            chain += whole
        longest = max(longest, chain)
    base = at_point(params, corpus, "cmath", report, walk_of(params, corpus, "cmath", report).start)
    number, kept = 0, 0
    for study in STUDIES:
        seeds = len(report.studies.gamma_seeds if study == "gammas" else report.seeds)
        for changes in settings(study, corpus, report, used_modalities(corpus, params)).values():
            if (other := changed(base, changes)) != base:  # otherwise the comparison has trained it already
                number, kept = number + seeds, kept + 4 * seeds * parameters(corpus, other, paper)
    yield f"{corpus}, studies: {number} trainings of CMATH: {duration(number * whole)}, {kept / 1e9:.1f} GB"
    total_seconds += number * whole
    together = max(longest, total_seconds / cards)
    yield (f"{corpus}: about {duration(total_seconds)} of training at most, {duration(together)} on {cards} GPUs, "
           f"and {(total_bytes + kept) / 1e9:.0f} GB in .cache/trainings: an estimate")  # fmt: skip


def not_negative(text: str) -> float:
    """A number of at least 0, for the command line."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number of at least 0")
    return value


def positive(text: str) -> float:
    """A number above 0, for the command line."""
    if not not_negative(text):
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return float(text)


def share(text: str) -> float:
    """A number above 0 and at most 1, for the command line."""
    if positive(text) > 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at most 1")
    return float(text)


def count(text: str) -> int:
    """A whole number above 0, for the command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return int(text)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--teraflops", type=positive, default=19.5,
                           help="the GPU's peak in float32, in 10^12 operations a second (an A100: 19.5)")  # fmt: skip
    arguments.add_argument("--share", type=share, default=0.3, help="of the peak that is reached (0.3)")
    arguments.add_argument(
        "--launch",
        type=not_negative,
        default=10.0,
        help="microseconds that it takes to launch a kernel (10; an H200 with a slow processor: 34)",
    )
    arguments.add_argument("--cards", type=count, default=4, help="number of GPUs of the second estimate (4)")
    args = arguments.parse_args()
    try:
        params, report = load_params(), load_report()
    except ParamsError as error:
        raise SystemExit(f"error: {error}") from None
    if not report.corpora:
        print(NO_CORPUS)
    rate, launch = args.share * args.teraflops * 1e12, args.launch * 1e-6
    for corpus in report.corpora:
        for line in lines(corpus, params, report, rate, launch, args.cards):
            print(line, flush=True)


if __name__ == "__main__":
    main()
