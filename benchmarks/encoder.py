"""The encoder against `transformers`' TimesformerModel on the same weights.

pip install ".[bench]" && python benchmarks/encoder.py --threads 1 --rounds 7
"""

from __future__ import annotations

import argparse
import time

import torch
from harness import compare, print_table
from transformers import TimesformerConfig, TimesformerModel

from endofm import EncoderConfig, VideoTransformer

# Names there for names here; /spec facts: both compute the same function (divided space-time, eps 1e-6).
RENAMES = [
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("time_embed", "embeddings.time_embeddings"),
    ("temporal_attn.qkv", "temporal_attention.attention.qkv"),
    ("temporal_attn.proj", "temporal_attention.output.dense"),
    ("attn.qkv", "attention.attention.qkv"),
    ("attn.proj", "attention.output.dense"),
    ("temporal_norm1", "temporal_layernorm"),
    ("norm1", "layernorm_before"),
    ("norm2", "layernorm_after"),
    ("temporal_fc", "temporal_dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
    ("blocks.", "encoder.layer."),
]


def renamed(name: str) -> str:
    if name.startswith("norm."):
        return "layernorm." + name.removeprefix("norm.")
    # "temporal_attn.qkv" holds "attn.qkv", so the first rename that fits is the only one within a block.
    for here, there in RENAMES[:-1]:
        if here in name:
            name = name.replace(here, there)
            break
    return name.replace(*RENAMES[-1])


def peer(model: VideoTransformer) -> TimesformerModel:
    config = model.encoder_config
    other = TimesformerModel(
        TimesformerConfig(
            image_size=config.img_size,
            patch_size=config.patch_size,
            num_frames=config.num_frames,
            hidden_size=config.embed_dim,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            intermediate_size=config.mlp_dim,
            layer_norm_eps=config.layer_norm_eps,
        )
    ).eval()
    other.load_state_dict({renamed(name): p for name, p in model.state_dict().items()}, strict=True)
    return other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="base", choices=["tiny", "small", "base"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = VideoTransformer(EncoderConfig.preset(args.preset)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # nothing zero: a fresh network's temporal branch would be
            parameter.add_(0.02 * torch.randn_like(parameter))
    other = peer(model)
    clip = torch.randn(args.batch_size, 3, 8, 224, 224)
    frames_first = clip.transpose(1, 2).contiguous()
    clock = time.process_time if args.threads == 1 else time.perf_counter
    with torch.inference_mode():
        difference = (model(clip) - other(frames_first).last_hidden_state[:, 0]).abs().max().item()
        ratios = compare(
            {
                "transformers TimesformerModel": lambda: other(frames_first),
                "endofm, patch tokens": lambda: model.forward_features(clip),
                "endofm, clip embedding": lambda: model(clip),
            },
            rounds=args.rounds,
            clock=clock,
        )
    kind = "CPU seconds" if args.threads == 1 else "wall seconds"
    print_table(f"{args.preset}, batch {args.batch_size}, {args.threads} thread(s), float32, {kind}", ratios)
    print(f"\nlargest difference of the clip embedding: {difference:.1e}")


if __name__ == "__main__":
    main()
