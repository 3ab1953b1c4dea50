"""Tiny encoders of speech of each family, with random weights, saved to a folder as the hub has them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

from extractors.settings import AudioSettings

WIDTH = 32
NETWORK = {"hidden_size": WIDTH, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48}
CONVOLUTIONS = {
    "conv_dim": [16] * 3, "conv_stride": [5, 8, 8], "conv_kernel": [10, 8, 8], "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
"""As in the real ones, a frame each 320 samples."""
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
"""How the large encoders differ from the base ones, beside their size."""
WHISPER = {
    "d_model": WIDTH, "encoder_layers": 4, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 60,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_source_positions": 50,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "suppress_tokens": None,
    "begin_suppress_tokens": None,
}  # fmt: skip
"""Reads a second instead of thirty."""
WAVES = {**NETWORK, **CONVOLUTIONS}
DATA2VEC = {**WAVES, "num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 9}
"""Has so many layers of convolutions for positions, one on another."""
FAMILIES: dict[str, tuple[Any, Any, dict]] = {
    "wav2vec2": (hf.Wav2Vec2Config, hf.Wav2Vec2Model, WAVES),
    "wav2vec2 large": (hf.Wav2Vec2Config, hf.Wav2Vec2Model, {**WAVES, **LARGE}),
    "hubert large": (hf.HubertConfig, hf.HubertModel, {**WAVES, **LARGE}),
    "wavlm": (hf.WavLMConfig, hf.WavLMModel, WAVES),
    "wavlm large": (hf.WavLMConfig, hf.WavLMModel, {**WAVES, **LARGE}),
    "data2vec-audio": (hf.Data2VecAudioConfig, hf.Data2VecAudioModel, DATA2VEC),
    "unispeech-sat": (hf.UniSpeechSatConfig, hf.UniSpeechSatModel, WAVES),
    "sew": (hf.SEWConfig, hf.SEWModel, {**WAVES, "squeeze_factor": 2}),
    "wav2vec2-conformer": (hf.Wav2Vec2ConformerConfig, hf.Wav2Vec2ConformerModel, {**WAVES, **LARGE}),
    "wav2vec2-bert": (hf.Wav2Vec2BertConfig, hf.Wav2Vec2BertModel, NETWORK),
    "whisper": (hf.WhisperConfig, hf.WhisperModel, WHISPER),
}


def write_speech(folder: Path, family: str = "wavlm large", seed: int = 0, rate: int = 16_000, **changes: Any) -> Path:
    """A random encoder of `family` and its feature extractor; `changes` are of its configuration."""
    config, network, values = FAMILIES[family]
    torch.manual_seed(seed)
    network(config(**{**values, **changes})).save_pretrained(folder)
    if family == "whisper":
        prepare: Any = hf.WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    elif family == "wav2vec2-bert":
        prepare = hf.SeamlessM4TFeatureExtractor()
    else:
        masks = values.get("feat_extract_norm") == "layer" or family == "data2vec-audio"
        prepare = hf.Wav2Vec2FeatureExtractor(sampling_rate=rate, do_normalize=True, return_attention_mask=masks)
    prepare.save_pretrained(folder)
    return folder


def audio_settings(folder: Path | str, **changes: object) -> AudioSettings:
    return AudioSettings.model_validate({"encoder": str(folder), "min_seconds": 0.1, **changes})


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """A sound that changes all the time, float32 [samples] at 16 kHz."""
    time = np.arange(round(16_000 * seconds)) / 16_000
    noise = np.random.default_rng(seed).normal(0, 0.05, len(time))
    return (0.2 * np.sin(2 * np.pi * (150 + 40 * time) * time) + noise).astype(np.float32)
