"""Speed of extraction. Each figure is a ratio of two measurements in one run, for machines differ and have other work.

    make bench

On the development corpus `../shared/data/meld_mini` where it is, else on the synthetic one. What extractors are
compared with runs in this process, in turns with them, and medians are taken; starting worker processes is not counted
there. What a user waits for (a run on an unchanged corpus, on one changed clip) is timed as commands in a project of
its own, which is thrown away. Prints a Markdown table, and to the standard error what it is at.
"""

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
import transformers as hf
from ruamel.yaml import YAML
from torch.utils.flop_counter import FlopCounterMode

from extractors.audio.extractor import AudioExtractor, functionals
from extractors.audio.speech_encoder import SpeechEncoder
from extractors.media import RATE, MediaError, joined_pictures, joined_sound
from extractors.result import clip_of
from extractors.settings import AudioSettings, ContextSettings, TextSettings
from extractors.text.encoder import batches
from extractors.text.extractor import TextExtractor
from extractors.text.window import windows_of
from extractors.utterance import Utterance, parts_of
from extractors.visual.colour import Pictures, jpeg, pictures_of_clip
from extractors.visual.colour import prepare as prepare_colour
from extractors.visual.denseface import DenseFace
from extractors.visual.extractor import GROUP, VisualExtractor
from extractors.visual.faces import EDGE, Faces, crop, detector, faces_of_clip, prepare
from extractors.visual.transformer import TransformerVisualExtractor
from foundation.spread import spread
from foundation.workers import AHEAD
from pipeline.corpora.index_file import read_index
from pipeline.params import MODALITIES, Params, load_params
from pipeline.synthetic import demo

PROJECT = Path(__file__).parents[1]
CORPUS = PROJECT.parent / "shared" / "data" / "meld_mini"
CLIPS = 72
"""Clips of a round: many times what is in hand when the clock starts."""
WARM = 2 * AHEAD
"""Clips before the clock starts: by then all workers run."""
ROUNDS = 3
PICTURES = 8
"""Pictures of a round of the vision encoder, which takes about half a second for one on a core."""
SOUNDS = 3
"""Sounds that each encoder of speech reads; a base encoder takes seconds for them."""
SHAPES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "wavlm-base": (lambda: hf.WavLMModel(hf.WavLMConfig()), hf.Wav2Vec2FeatureExtractor),
    "wav2vec2-base (hubert-base)": (lambda: hf.Wav2Vec2Model(hf.Wav2Vec2Config()), hf.Wav2Vec2FeatureExtractor),
    "data2vec-audio-base": (lambda: hf.Data2VecAudioModel(hf.Data2VecAudioConfig()), hf.Wav2Vec2FeatureExtractor),
    "wav2vec2-bert, 4 of 24 layers": (
        lambda: hf.Wav2Vec2BertModel(hf.Wav2Vec2BertConfig(num_hidden_layers=4)),
        hf.SeamlessM4TFeatureExtractor,
    ),
    "whisper-base": (
        lambda: hf.WhisperModel(hf.WhisperConfig(
            d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, decoder_layers=1,
            decoder_attention_heads=8, decoder_ffn_dim=64,
        )),
        hf.WhisperFeatureExtractor,
    ),
}  # fmt: skip
"""A network of each family and its feature extractor, by the model whose shape it has."""
GB = 1e9
FREE_BOX = b"\0\0\0\x08free"
"""An empty box at the end of an mp4 changes the file's content, and nothing that is in it."""


def seconds_of(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def workers(number: int) -> Iterator[None]:
    """So many worker processes, none of which goes on afterwards: their end is no work of what is measured next."""
    before = os.environ.get("CMATH_WORKERS")
    os.environ["CMATH_WORKERS"] = str(number)
    try:
        yield
    finally:
        wait_for_workers()
        os.environ.pop("CMATH_WORKERS")
        if before is not None:
            os.environ["CMATH_WORKERS"] = before


def wait_for_workers() -> None:
    for process in multiprocessing.active_children():
        process.join()


class Project:
    """A copy of the code in a folder of its own, with one corpus in MELD's layout, everything small but extraction."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.raw = folder / "project", folder / "corpus"
        for name in ("foundation", "pipeline", "extractors", "model", ".dvc"):
            ignored = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
            shutil.copytree(PROJECT / name, self.folder / name, ignore=ignored)
        for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
            shutil.copy(PROJECT / name, self.folder / name)
        if CORPUS.is_dir():
            shutil.copytree(CORPUS, self.raw)
        else:
            demo.make_demo(self.raw)
        yaml = YAML()
        content = yaml.load((self.folder / "params.yaml").read_text("utf-8"))
        content["datasets"] = ["meld"]
        content["index"]["meld"]["raw"] = str(self.raw)
        content["text"]["meld"] |= {"model": "minilm", "finetune": False}
        content["model"] |= {"name": "cmath", "dim": 20, "heads": 2}
        content["train"]["meld"] |= {"epochs": 1, "seeds": [0]}
        with (self.folder / "params.yaml").open("w", encoding="utf-8") as stream:
            yaml.dump(content, stream)
        self.params: Params = load_params(self.folder / "params.yaml")
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": programs, "CMATH_LOG": "WARNING"}
        for name in ("CMATH_CACHE", "DVC_ROOT", "PYTHONDONTWRITEBYTECODE"):
            self.environment.pop(name, None)
        self.run("git", "init", "-q")
        self.run("git", "add", ".")
        self.run("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "start")
        self.stage("raw")
        self.stage("index")
        self.rows = read_index(self.folder / "data" / "meld" / "index.csv")

    def run(self, *command: str) -> float:
        """Seconds that `command` takes; its output is shown if it fails."""
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return time.perf_counter() - begin

    def stage(self, name: str, *arguments: str) -> float:
        return self.run(sys.executable, "-m", f"pipeline.{name}", "meld", *arguments)

    def dvc(self, *arguments: str) -> float:
        return self.run(sys.executable, "-m", "dvc", *arguments)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """What processes that this one starts take together at most, in bytes: memory that they share counts once."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            together = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    together += process.memory_full_info().pss
                except psutil.Error:  # it ended in between
                    continue
            peak[0] = max(peak[0], together)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def sample(rows: list[Utterance], kind: str, number: int) -> list[Utterance]:
    """Utterances with a medium of `kind`, spread evenly over the corpus."""
    found = [row for row in rows if getattr(row, kind)]
    places = np.linspace(0, len(found) - 1, min(number, len(found))).astype(int)
    return [found[place] for place in places]


def text(project: Project) -> list[str]:
    alone = project.params.text["meld"]
    around = alone.model_copy(update={"context": ContextSettings(past=8), "max_tokens": 128})
    return [*encoding(project, alone, "alone"), *encoding(project, around, "with 8 turns before each")]


def encoding(project: Project, settings: TextSettings, what: str) -> list[str]:
    """Speed of the text encoder in the extractor's batches, and the share of padding in them."""
    extractor = TextExtractor(settings, project.raw)
    tokens = extractor.encoder.tokens(windows_of([row for row in project.rows if row.text][:1000], settings.context))
    lengths = [len(one.ids) for one in tokens]
    cut = list(batches(lengths))
    padded = sum(len(batch) * max(lengths[place] for place in batch) for batch in cut)

    @torch.inference_mode()
    def encode() -> None:
        for batch in cut:
            extractor.encoder.vectors([tokens[place] for place in batch])

    with FlopCounterMode(display=False) as counter:
        encode()
    operations = counter.get_total_flops()
    width = extractor.dim
    left, right = torch.randn(2048, width), torch.randn(width, 4 * width)
    products = round(operations / (2 * left.numel() * right.shape[1]))
    ours, limit = [], []
    for _ in range(ROUNDS):
        ours.append(seconds_of(encode))
        limit.append(seconds_of(lambda: [left @ right for _ in range(products)]))
    seconds = median(ours)
    return [
        line(f"text encoding, utterances {what}, against the same operations as plain matrix products",
             f"{len(tokens) / seconds:.0f} utterances a second, {operations / seconds / 1e9:.0f} GFLOP/s",
             ours, limit),
        f"| tokens of these utterances that are padding (at most 10 %) | {sum(lengths)} tokens | "
        f"{100 * (1 - sum(lengths) / padded):.1f} % |",
    ]  # fmt: skip


def audio(project: Project) -> list[str]:
    settings = project.params.audio["meld"]
    chosen = sample(project.rows, "audio", WARM + CLIPS)
    extractor = AudioExtractor(settings, project.raw)
    sounds = [joined_sound(parts_of(one, "audio", project.raw)) for one in chosen[WARM:]]  # of the clips that are timed
    length = sum(map(len, sounds)) / 16_000

    def ours(number: int) -> float:
        with workers(number):
            results = extractor.extract({str(place): one for place, one in enumerate(chosen)}, set())
            list(islice(results, WARM))
            return seconds_of(lambda: list(results))

    functionals(sounds[0], settings.set, settings.min_seconds)
    alone, one, two = [], [], []
    for _ in range(ROUNDS):
        alone.append(seconds_of(lambda: [functionals(sound, settings.set, settings.min_seconds) for sound in sounds]))
        one.append(ours(1))
        two.append(ours(2))
    return [
        line(
            "audio, one worker, against openSMILE alone", f"{length / median(one):.0f} s of sound a second", one, alone
        ),
        line(
            "audio, two workers against one (at least 1.7)", f"{length / median(two):.0f} s of sound a second", two, one
        ),
    ]


def speech(project: Project) -> list[str]:
    """Speed of encoders of speech of the base shapes with random weights, a sound at a time on one core."""
    chosen = sample(project.rows, "audio", SOUNDS)
    sounds = [joined_sound(parts_of(one, "audio", project.raw)) for one in chosen]
    seconds = sum(map(len, sounds)) / RATE
    lines = []
    for name, (network, features) in SHAPES.items():
        say(f"{name}: a random one of its shape")
        folder = project.folder / name
        network().save_pretrained(folder)
        features().save_pretrained(folder)
        settings = AudioSettings(encoder=str(folder))
        encoder = SpeechEncoder(folder, settings, torch.device("cpu"))
        pieces = [piece for sound in sounds for piece in encoder.pieces(sound)]
        encoder.network.set_attn_implementation("eager")  # whose products can be counted
        with torch.no_grad(), FlopCounterMode(display=False) as counter:  # it knows no inference_mode of such weights
            for piece in pieces:
                encoder.states([piece])
        encoder.network.set_attn_implementation("sdpa")
        operations = counter.get_total_flops()
        left, right = torch.randn(512, encoder.width), torch.randn(encoder.width, 4 * encoder.width)
        products = round(operations / (2 * left.numel() * right.shape[1]))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as the extractor does it
        ours, limit = [], []
        for _ in range(ROUNDS):
            ours.append(seconds_of(lambda encoder=encoder: encoder.vectors_of(sounds)))  # type: ignore[misc]
            limit.append(seconds_of(lambda a=left, b=right, n=products: [a @ b for _ in range(n)]))  # type: ignore[misc]
        torch.set_num_threads(threads)
        once = median(ours)
        said = f"{seconds / once:.1f} s of sound a second, {operations / once / 1e9:.0f} GFLOP/s"
        lines.append(line(f"audio encoding, shape of {name}, one core, against the same operations as plain matrix "
                          "products", said, ours, limit))  # fmt: skip
    return lines


def visual(project: Project) -> list[str]:
    settings = project.params.visual["meld"]
    chosen = [
        clip_of(one.utterance_id, one, "video", project.raw) for one in sample(project.rows, "video", WARM + CLIPS)
    ]
    timed = chosen[WARM:]
    extractor = VisualExtractor(settings, project.raw)
    network = DenseFace.of(extractor.trained.weights)
    thorough = detector(settings.detector, settings.min_face)
    pictures: list[np.ndarray] = []

    def decode() -> None:
        pictures.clear()
        for clip in timed:
            try:
                pictures.extend(one for _, one in joined_pictures(clip.parts, settings.fps, clip.region))
            except MediaError:
                continue

    @torch.inference_mode()
    def plain() -> None:
        for clip in timed:
            try:
                for _, picture in list(joined_pictures(clip.parts, settings.fps, clip.region)):
                    boxes = thorough(picture)
                    if boxes:
                        face = crop(picture, max(boxes, key=lambda box: box[2] * box[3]), settings.margin)
                        network.pooled((torch.from_numpy(face).float().view(1, 1, EDGE, EDGE) - 128) / 64)
            except MediaError:
                continue

    def ours(number: int) -> float:
        with workers(number):
            found = spread(faces_of_clip, chosen, prepare, extractor.how)
            list(islice(found, WARM))
            crops: list[np.ndarray] = []
            finding = seconds_of(lambda: crops.extend(faces.crops for _, faces in found if isinstance(faces, Faces)))
            wait_for_workers()
            return finding + seconds_of(lambda: extractor.encode(np.concatenate(crops)))

    decode()
    extractor.encode(np.zeros((GROUP, EDGE, EDGE), np.uint8))
    loop, decoding, detection, one, two = [], [], [], [], []
    for _ in range(ROUNDS):
        loop.append(seconds_of(plain))
        decoding.append(seconds_of(decode))
        detection.append(seconds_of(lambda: [thorough(picture) for picture in pictures]))
        one.append(ours(1))
        two.append(ours(2))
    said = f"{len(pictures) / median(two):.0f} frames a second"
    return [
        line("visual, two workers, against a plain loop over every sampled frame (at least 3)", said, two, loop),
        line("visual, one worker, against that loop", f"{len(pictures) / median(one):.0f} frames a second", one, loop),
        line("visual, two workers, against decoding alone", said, two, decoding),
        line("visual, two workers, against detection on every sampled frame alone", said, two, detection),
        line("visual, two workers against one (at least 1.7)", said, two, one),
    ]


def vision(project: Project) -> list[str]:
    """Speed of a vision encoder of CLIP ViT-B/16's shape, and of finding the faces in colour that it is given."""
    folder = project.folder / "clip"
    write_clip(folder)
    settings = project.params.visual["meld"].model_copy(update={"encoder": str(folder)})
    extractor = TransformerVisualExtractor(settings, project.raw)
    draw = np.random.default_rng(0)
    samples = [[jpeg(draw.integers(256, size=(150, 150, 3), dtype=np.uint8))] for _ in range(PICTURES)]
    extractor.encode(samples[:1])  # which also tries the encoder
    with FlopCounterMode(display=False) as counter:
        extractor.encoder.vectors([extractor.encoder.inputs(samples[0])])
    operations = PICTURES * counter.get_total_flops()
    left, right = torch.randn(2048, 768), torch.randn(768, 3072)
    products = round(operations / (2 * left.numel() * right.shape[1]))
    chosen = [
        clip_of(one.utterance_id, one, "video", project.raw) for one in sample(project.rows, "video", WARM + CLIPS)
    ]
    found: list[Pictures] = []

    def find() -> float:
        with workers(1):
            spreading = spread(pictures_of_clip, chosen, prepare_colour, extractor.how)
            list(islice(spreading, WARM))
            found.clear()
            return seconds_of(lambda: found.extend(one for _, one in spreading if isinstance(one, Pictures)))

    ours, limit, finding = [], [], []
    for _ in range(ROUNDS):
        ours.append(seconds_of(lambda: extractor.encode(samples)))
        limit.append(seconds_of(lambda: [left @ right for _ in range(products)]))
        finding.append(find())
    seconds, pictures = median(ours), sum(one.frames for one in found)
    return [
        line("vision encoder of CLIP ViT-B/16's shape, against the same operations as plain matrix products",
             f"{PICTURES / seconds:.1f} pictures a second, {operations / seconds / 1e9:.0f} GFLOP/s", ours, limit),
        f"| finding a frame's face for it, one worker | {1e3 * median(finding) / pictures:.1f} ms a frame | "
        f"{median(finding) / pictures / (seconds / PICTURES):.2f} of the encoder's |",
    ]  # fmt: skip


def write_clip(folder: Path) -> None:
    """A random CLIP with the vision network of openai/clip-vit-base-patch16, and hardly any for text."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50, "bos_token_id": 1,
            "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
    CLIPModel(CLIPConfig(vision_config={"patch_size": 16}, text_config=text)).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def commands(project: Project) -> list[str]:
    full, lines = 0.0, []
    for modality in MODALITIES:
        say(f"extracting {modality} of {len(project.rows)} utterances")
        with peak_memory() as peak:
            took = project.stage("extract", modality)
        full += took
        lines.append(
            f"| {modality}: peak memory of its processes together (at most 1.5 GB) | {peak[0] / GB:.2f} GB | |"
        )
    for split in ("test", "train"):
        once = median(changed(project, split, number) for number in range(ROUNDS))
        lines.insert(0, f"| one changed clip of {split} against all {len(project.rows)} utterances (at most 5 %) | "
                        f"{once:.1f} s of {full:.1f} s | {100 * once / full:.1f} % |")  # fmt: skip
    say("dvc repro, then again without a change")
    project.dvc("repro")
    repro, status = [], []
    for _ in range(ROUNDS):
        status.append(project.dvc("status"))
        repro.append(project.dvc("repro"))
    beyond = median(repro) - median(status)
    lines.insert(2, f"| `dvc repro` with nothing to do, beyond `dvc status` (at most 2 s) | {median(repro):.1f} s, "
                    f"{median(status):.1f} s | {beyond:+.1f} s |")  # fmt: skip
    return lines


def changed(project: Project, split: str, number: int) -> float:
    """Seconds that extraction takes once a clip of `split` has the sound and the pictures of another."""
    say(f"one changed clip of {split}")
    of_split = [row for row in project.rows if row.split == split]
    one, other = (sample(of_split, "video", 2 * ROUNDS)[place].video for place in (2 * number, 2 * number + 1))
    (project.raw / one).write_bytes((project.raw / other).read_bytes() + FREE_BOX)
    project.stage("index")
    return sum(project.stage("extract", modality) for modality in MODALITIES)


def line(what: str, figure: str, ours: list[float], other: list[float]) -> str:
    """A line of the table: how many times as fast as the `other` we are, the median of rounds."""
    return f"| {what} | {figure} | {median(b / a for a, b in zip(ours, other, strict=True)):.2f} |"


PARTS: dict[str, Callable[[Project], list[str]]] = {
    "text": text, "audio": audio, "speech": speech, "visual": visual, "vision": vision, "commands": commands,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which of them (all)")
    chosen = parser.parse_args().parts
    with tempfile.TemporaryDirectory(prefix="cmath-bench-") as folder:
        say(f"corpus: {CORPUS if CORPUS.is_dir() else 'the synthetic one'}")
        project = Project(Path(folder))
        lines = []
        for name in chosen:
            say(f"measuring: {name}")
            lines += PARTS[name](project)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{len(project.rows)} utterances, {cores} cores, medians of {ROUNDS} rounds.\n")
    print("| what | figure | ratio |\n|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
