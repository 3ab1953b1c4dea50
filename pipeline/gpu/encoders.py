"""Encoders in `gpu_check`: vectors of texts and pictures on the card and on the CPU, and how encoders are trained."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from extractors.settings import FacePhase, FaceTrainingSettings, FineTuningRecipe, TextSettings
from extractors.text.folders import encoder_folder
from extractors.text.window import Window
from pipeline.gpu.rows import CPU, CheckRow, Meter, difference, interrupt, kill, same
from pipeline.params import Params

EPOCHS = 2
LINES = ["Oh, that's wonderful news!", "No.", "I can't believe you ate the whole cake, again, without telling anyone."]
RECIPE = FineTuningRecipe(learning_rate=1e-3, warmup=0.1, decay=1.0, epochs=EPOCHS, patience=EPOCHS, batch=4,
                accumulation=2, dropout=0.1, weight_decay=0.01, seed=0)  # fmt: skip


def write_roberta(folder: Path, dropout: float) -> Path:
    """A folder like roberta-large's, with a small random encoder."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    folder.mkdir()
    bpe = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bpe.train_from_iterator(LINES * 3, vocab_size=300, show_progress=False, special_tokens=special)
    bpe.save_model(str(folder))
    RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=bpe.get_vocab_size(), hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
                           intermediate_size=256, max_position_embeddings=66, hidden_dropout_prob=dropout,
                           attention_probs_dropout_prob=dropout)  # fmt: skip
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def spoken(number: int, seed: int) -> tuple[list[str], list[int]]:
    """Texts whose words tell which of two kinds they are."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(2, size=number).tolist()
    return [" ".join(draw.choice(list(("abc", "xyz")[kind]), draw.integers(2, 30))) for kind in kinds], kinds


def check_text(model: str, row: CheckRow, settings: TextSettings, device: torch.device) -> None:
    from extractors.text.encoder import Encoder

    with TemporaryDirectory() as folder:
        where = write_roberta(Path(folder) / "roberta", 0.1) if model == "roberta" else encoder_folder(model)
        encoder, texts = Encoder(where, settings, device), LINES + spoken(29, 0)[0]
        expected = Encoder(where, settings, CPU).encode(texts)
        found = encoder.encode(texts)
        row.difference, row.repeats = difference(found, expected), same(found, encoder.encode(texts))
        Meter(row, device).whole(lambda: encoder.encode(texts))


def check_text_training(row: CheckRow, settings: TextSettings, device: torch.device) -> None:
    from extractors.training.text_training import STATE, Labelled, train

    data, validation = (
        Labelled([Window(text) for text in texts], kinds) for texts, kinds in (spoken(40, 1), spoken(20, 2))
    )
    with TemporaryDirectory() as folder:
        root = Path(folder)

        def trained(name: str, dropout: float, on: torch.device, say: Callable[[str], None] = lambda _: None) -> Any:
            published = root / f"dropout {dropout}"
            recipe = RECIPE.model_copy(update={"dropout": dropout})
            train(published if published.exists() else write_roberta(published, dropout), settings, recipe, data,
                  validation, 2, on, root / name, 0.0, say)  # fmt: skip
            return {file.name: file.read_bytes() for file in sorted((root / name).iterdir()) if file.is_file()}

        losses = [json.loads(trained(on.type + " still", 0.0, on)["fit.json"])["history"] for on in (CPU, device)]
        expected, found = (torch.tensor([row["loss"] for row in history]) for history in losses)
        row.difference = difference(found, expected)
        once = trained("once", 0.1, device)
        interrupt(lambda: trained("killed", 0.1, device, kill(EPOCHS)), root / "killed" / STATE)
        row.resumes = same(once, trained("killed", 0.1, device))
        row.repeats = row.resumes or same(once, trained("twice", 0.1, device))


def check_face(row: CheckRow, params: Params, device: torch.device) -> None:
    from extractors.visual.face_encoder import FaceEncoder, load

    trained = load(Path(params.visual["meld"].weights))
    crops = np.random.default_rng(0).integers(256, size=(16, 1, 64, 64), dtype=np.uint8)

    def vectors(on: torch.device) -> Callable[[], Tensor]:
        network = FaceEncoder(trained.weights).to(on).to(memory_format=torch.channels_last)
        return lambda: network.of_grey(trained.mean, trained.std, crops).cpu()

    encode = vectors(device)
    found, expected = encode(), vectors(CPU)()
    row.difference, row.repeats = difference(found, expected), same(found, encode())
    Meter(row, device).whole(encode)


def check_pictures(row: CheckRow, device: torch.device) -> None:
    """A small random CLIP, as `visual.D.encoder` may name one."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    from extractors.visual.colour import jpeg
    from extractors.visual.vision_encoder import VisionEncoder

    sizes = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 256}
    text = {**sizes, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    draw = np.random.default_rng(0)
    pictures = [jpeg(draw.integers(256, size=(150, 150, 3), dtype=np.uint8)) for _ in range(16)]
    with TemporaryDirectory() as folder:
        torch.manual_seed(0)
        CLIPModel(CLIPConfig(vision_config=sizes, text_config=text)).save_pretrained(folder)
        CLIPImageProcessor().save_pretrained(folder)
        encoder, on_cpu = (VisionEncoder(Path(folder), "clip", on) for on in (device, CPU))
        inputs = [encoder.inputs([picture]) for picture in pictures]
        expected = torch.cat([on_cpu.vectors([one]) for one in inputs])
        many = min(encoder.batch, len(inputs))

        def encode() -> Tensor:
            passes = [inputs[begin : begin + many] for begin in range(0, len(inputs), many)]
            return torch.cat([encoder.vectors(one) for one in passes]).cpu()

        found = encode()
        row.difference, row.repeats = difference(found, expected), same(found, encode())
        Meter(row, device).whole(encode)


def check_sounds(row: CheckRow, device: torch.device) -> None:
    """A small random WavLM, as `audio.D.encoder` may name one, on sounds of several lengths, one of them in pieces."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    from extractors.audio.speech_encoder import SpeechEncoder
    from extractors.media import RATE
    from extractors.settings import AudioSettings

    draw = np.random.default_rng(0)
    sounds = [draw.normal(size=int(seconds * RATE)).astype(np.float32) for seconds in (0.3, 1.0, 2.5, 4.0, 30.0)]
    with TemporaryDirectory() as folder:
        torch.manual_seed(0)
        # Layer normalisation, as in WavLM-Large: the base encoder's group normalisation lets padding in, so that sounds
        # of several lengths would have no pass together.
        config = WavLMConfig(feat_extract_norm="layer", do_stable_layer_norm=True, conv_dim=(64,) * 7,
                             num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, hidden_size=128,
                             num_hidden_layers=4, num_attention_heads=4, intermediate_size=256)  # fmt: skip
        WavLMModel(config).save_pretrained(folder)
        Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
        settings = AudioSettings(encoder=folder, set="IS10", min_seconds=0.25, reduce="none", dim=1)
        encoder, on_cpu = (SpeechEncoder(Path(folder), settings, on) for on in (device, CPU))

        def encode() -> Tensor:
            return torch.from_numpy(encoder.vectors_of(sounds))

        found = encode()
        row.difference = difference(found, torch.from_numpy(on_cpu.vectors_of(sounds)))
        row.repeats = same(found, encode())
        Meter(row, device).whole(encode)


def check_face_training(row: CheckRow, device: torch.device) -> None:
    from extractors.training.face_training import train

    draw = torch.Generator().manual_seed(0)
    faces, targets = torch.randn(20, 1, 48, 48, generator=draw), torch.eye(7)[torch.arange(20) % 7]
    recipe = FaceTrainingSettings(datasets=[], data="-", labels="fer2013", held_out=0.1,
                    phases=[FacePhase(edge=16, epochs=1), FacePhase(edge=24, epochs=EPOCHS - 1)], batch=8,
                    learning_rate=0.01, weight_decay=0.0005,
                    label_smoothing=0.1, rotation=15.0, scale=0.15, shift=0.08, erase=0.25, seed=0)  # fmt: skip
    with TemporaryDirectory() as folder:

        def trained(name: str, on: torch.device, say: Callable[[str], None] = lambda _: None) -> Any:
            state = train(
                faces[:16], targets[:16], (faces[16:], targets[16:]), recipe, on, Path(folder) / name, 0.0, say
            )
            return [state.history, state.best]

        expected, once = trained("cpu", CPU), trained("once", device)
        found, wanted = (torch.tensor([row["loss"] for row in history]) for history, _ in (once, expected))
        row.difference = difference(found, wanted)
        interrupt(lambda: trained("killed", device, kill(EPOCHS)), Path(folder) / "killed")
        row.resumes = same(once, trained("killed", device))
        row.repeats = row.resumes or same(once, trained("twice", device))
