"""The network that VCL trains: backbone, heads and concepts, from six inputs to the terms of the loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from endofm.errors import ConfigError, InputError
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.distributed import GatheredBatch
from endofm.training.objectives.sinkhorn import balanced_assignment
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.objectives.vcl.vcl_heads import (
    ConceptAttention,
    ConceptVectors,
    Kind,
    ScoreQueue,
    contrast_head,
    norm_head,
    part,
)
from endofm.training.objectives.vcl.vcl_losses import (
    alignment,
    contrast,
    fidelity,
    local_contrast,
    negative_entropy,
    selected_concepts,
)
from endofm.training.objectives.vcl.vcl_views import VCLViews, six_inputs

KINDS: tuple[Kind, ...] = ("v", "s", "d")
CLIPS: dict[Kind, slice] = {"v": slice(0, 2), "s": slice(2, 4), "d": slice(4, 6)}
"""Indices of each kind among the six inputs v1, v2, s1, s2, d1, d2."""
PAIRS: tuple[tuple[Kind, Kind], ...] = (("v", "v"), ("v", "s"), ("v", "d"), ("s", "v"), ("d", "v"))
"""Contrast heads: kind of the input, and kind of the input that it is compared with."""


class VCLTerms(NamedTuple):
    """Terms of the loss, scalars.

    Attributes:
        contrast_vv: Video against video, the mean of two directions.
        contrast_vs: Video against static input, four directions over two.
        contrast_vd: Video against dynamic input, four directions over two.
        align_static: Alignment on the static concepts.
        align_dynamic: Alignment on the dynamic concepts.
        decouple_static: Negative entropy of dynamic inputs on the static concepts.
        decouple_dynamic: Negative entropy of static inputs on the dynamic concepts.
        fidelity_v: Negative cosine of features and their reconstruction from scores, video.
        fidelity_s: The same, static.
        fidelity_d: The same, dynamic.
        local_v: Local contrast, video; 0 before its first epoch.
        local_s: The same, static.
        local_d: The same, dynamic.
    """

    contrast_vv: Tensor
    contrast_vs: Tensor
    contrast_vd: Tensor
    align_static: Tensor
    align_dynamic: Tensor
    decouple_static: Tensor
    decouple_dynamic: Tensor
    fidelity_v: Tensor
    fidelity_s: Tensor
    fidelity_d: Tensor
    local_v: Tensor
    local_s: Tensor
    local_d: Tensor

    def total(self, decoupling_weight: float) -> Tensor:
        """Return the loss: the sum of all terms, with a weight for decoupling."""
        decoupling = self.decouple_static + self.decouple_dynamic
        others = [value for name, value in self._asdict().items() if not name.startswith("decouple")]
        return torch.stack(others).sum() + decoupling_weight * decoupling


class VCLOutput(NamedTuple):
    """Result of a forward pass.

    Attributes:
        terms: Terms of the loss.
        feature_std: Spread of the features of the videos v1, see :func:`spread`; a scalar without gradient.
        tokens: Class tokens of v1, then of v2, ``(2 * batch, embed_dim)``.
    """

    terms: VCLTerms
    feature_std: Tensor
    tokens: Tensor


class EncodedInputs(NamedTuple):
    """Features of the six inputs.

    Attributes:
        tokens: Class tokens, ``(6, batch, embed_dim)``.
        pooled: ``(6, batch, embed_dim)``; what the heads see.
        local: ``(6, batch, positions, embed_dim)``; None where local contrast is not used.
    """

    tokens: Tensor
    pooled: Tensor
    local: Tensor | None


class VCLModel(nn.Module):
    """Backbone, heads, concepts and queue of VCL.

    Args:
        backbone: The encoder to train; all six inputs pass through it.
        config: Settings.

    Attributes:
        concepts: For each kind of input its static and dynamic concept vectors.
        queue: The most recent scores.
    """

    def __init__(self, backbone: VideoTransformer, config: VCLConfig) -> None:
        super().__init__()
        if config.crop_size % backbone.patch_size:
            raise ConfigError(
                f"VCLConfig.crop_size {config.crop_size} is not a multiple of the patch size {backbone.patch_size}"
            )
        self.config = config
        self.backbone = backbone
        width, hidden, k = backbone.embed_dim, config.hidden_dim, config.concepts
        self.contrast_heads = nn.ModuleDict(
            {f"{a}_{b}": contrast_head(width, hidden, config.contrast_dim) for a, b in PAIRS}
        )
        self.concept_heads = nn.ModuleDict({kind: norm_head(width, hidden, hidden) for kind in KINDS})
        self.concepts = nn.ModuleDict({kind: ConceptVectors(k, hidden) for kind in KINDS})
        self.decoders = nn.ModuleDict({kind: norm_head(2 * k if kind == "v" else k, hidden, width) for kind in KINDS})
        self.attention = ConceptAttention(width, hidden)
        self.queue = ScoreQueue(config.queue_size, 2 * k)

    def forward(self, views: VCLViews, *, use_queue: bool, use_local: bool) -> VCLOutput:
        """Compute the terms of the loss and, in training, push the scores to the queue.

        Args:
            views: Clips and stills of a batch.
            use_queue: Balance the assignment over batch and queue.
            use_local: Compute local contrast.

        Raises:
            InputError: If the batch holds fewer than two videos: there is nothing to contrast with, and the variance of
                batch norm would be zero.
        """
        batch = GatheredBatch(len(views.clips), views.clips.device, gather=self.config.gather)
        # Batch norm spans all processes in any case, contrast only where rows are gathered.
        if batch.total < 2:
            raise InputError(
                f"VCL contrasts the videos of a batch with each other and needs at least 2 of them, got {batch.total}; "
                "set a larger batch size and leave out a last, smaller batch"
            )
        encoded = self._encode(six_inputs(views), local=use_local)
        scores = self._scores(encoded.pooled)  # 6 B 2K
        vv, vs, vd = self._contrast(encoded.pooled, batch)
        static, dynamic = self._align(scores, batch, use_queue=use_queue)
        entropy = [negative_entropy(x, temperature=self.config.score_temp) for x in self._foreign(scores)]
        reconstruction = [self._fidelity(encoded.pooled, scores, kind) for kind in KINDS]
        local = [self._local(encoded.local, scores, kind, batch) for kind in KINDS]
        if self.training:
            self.queue.push(batch.gather(scores.transpose(0, 1)))
        terms = VCLTerms(vv, vs, vd, static, dynamic, *entropy, *reconstruction, *local)
        return VCLOutput(terms, spread(encoded.pooled[0]), encoded.tokens[CLIPS["v"]].flatten(0, 1))

    @torch.no_grad()
    def normalize_concepts(self) -> None:
        """Scale every concept vector to unit length; due after every optimiser step."""
        for kind in KINDS:
            self._concepts(kind).normalize()

    def _concepts(self, kind: Kind) -> ConceptVectors:
        return self.concepts[kind]  # type: ignore[return-value]

    def _encode(self, inputs: Tensor, *, local: bool) -> EncodedInputs:
        """Run the inputs ``(6, batch, 3, time, height, width)`` through the backbone as one batch."""
        count, batch = inputs.shape[:2]
        clips = inputs.flatten(0, 1)
        # The class token alone is cheaper: the last block then skips all other tokens.
        if not local and self.config.pooling == "class_token":
            pooled = self.backbone(clips).view(count, batch, -1)
            return EncodedInputs(pooled, pooled, None)
        output = self.backbone.forward_features(clips)
        if output.patch_tokens is None:
            raise InputError("the backbone returned no patch tokens, which VCL pools or compares")
        patches = output.patch_tokens.flatten(1, 3)  # (6 B) P D
        tokens = output.cls_token.view(count, batch, -1)
        pooled = tokens if self.config.pooling == "class_token" else patches.mean(dim=1).view(count, batch, -1)
        return EncodedInputs(tokens, pooled, patches.view(count, batch, *patches.shape[1:]) if local else None)

    def _scores(self, pooled: Tensor) -> Tensor:
        """Return the cosines of the six inputs with the concepts of their kind, float32 ``(6, batch, 2K)``.

        As published, batch statistics are computed for each of the six inputs separately.
        """
        scores: list[Tensor] = []
        for kind in KINDS:
            scores += [self._concepts(kind).scores(self.concept_heads[kind](x)) for x in pooled[CLIPS[kind]]]
        return torch.stack(scores)

    def _contrast(self, pooled: Tensor, batch: GatheredBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three terms of global contrast, each between the two halves of a video."""
        heads = {(a, b): self.contrast_heads[f"{a}_{b}"](pooled[CLIPS[a]]) for a, b in PAIRS}
        keys = {pair: [batch.gather(x) for x in out] for pair, out in heads.items()}

        def both_halves(a: Kind, b: Kind) -> Tensor:
            # The query of half i against the keys of the other half, 1 - i.
            return sum(
                (
                    contrast(
                        heads[a, b][i], keys[b, a][1 - i], temperature=self.config.contrast_temp, first=batch.first
                    )
                    for i in (0, 1)
                ),
                start=pooled.new_zeros((), dtype=torch.float32),
            )

        return (
            both_halves("v", "v") / 2,
            (both_halves("v", "s") + both_halves("s", "v")) / 2,
            (both_halves("v", "d") + both_halves("d", "v")) / 2,
        )

    def _align(self, scores: Tensor, batch: GatheredBatch, *, use_queue: bool) -> tuple[Tensor, Tensor]:
        """Return two terms: video and static inputs on static concepts, video and dynamic inputs on dynamic ones."""
        config = self.config
        rows = batch.gather(scores.transpose(0, 1))  # N 6 2K
        if use_queue:
            rows = torch.cat((rows, self.queue.scores))
        # Assignments are balanced over all rows, but only those of this process are compared with its scores.
        own = slice(batch.first, batch.first + scores.shape[1])
        losses = []
        for kind in KINDS[1:]:
            inputs = [0, 1, *range(6)[CLIPS[kind]]]
            relevant = part(rows, kind, config.concepts)
            assignments = torch.stack(
                [
                    balanced_assignment(
                        relevant[:, i], temperature=config.assign_temp, iterations=config.assign_iterations
                    )[own]
                    for i in inputs
                ]
            )
            own_scores = part(scores[inputs], kind, config.concepts)
            losses.append(alignment(own_scores, assignments, temperature=config.score_temp))
        return losses[0], losses[1]

    def _foreign(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores that should be uninformative: dynamic inputs on static concepts, static ones on dynamic."""
        k = self.config.concepts
        return part(scores[CLIPS["d"]], "s", k), part(scores[CLIPS["s"]], "d", k)

    def _fidelity(self, pooled: Tensor, scores: Tensor, kind: Kind) -> Tensor:
        features = pooled[CLIPS[kind]].flatten(0, 1)
        relevant = part(scores[CLIPS[kind]], kind, self.config.concepts).flatten(0, 1)
        return fidelity(features, self.decoders[kind](relevant))

    def _local(self, local: Tensor | None, scores: Tensor, kind: Kind, batch: GatheredBatch) -> Tensor:
        if local is None:
            # A zero that is part of the graph: DDP averages gradients and expects the same parameters in every step.
            return torch.stack([parameter.sum() for parameter in self.attention.parameters()]).sum() * 0
        tokens = local[CLIPS[kind]]
        features = self.attention(tokens.flatten(0, 1), self._concepts(kind).rows(kind)).unflatten(0, tokens.shape[:2])
        first, second = part(scores[CLIPS[kind]], kind, self.config.concepts)
        selected = selected_concepts(first, second, rank=self.config.top_concepts)
        cost = sum(
            (
                local_contrast(
                    features[i], batch.gather(features[1 - i]), selected, margin=self.config.margin, first=batch.first
                )
                for i in (0, 1)
            ),
            start=scores.new_zeros(()),
        )
        # DDP averages gradients over the processes. Times their number, over the selected concepts of all of them: the
        # average is the cost of all processes over their common count. The 1 avoids a division by zero, as published.
        return cost * batch.processes / (batch.sum(2 * selected.sum().float()) + 1)


@torch.no_grad()
def spread(features: Tensor) -> Tensor:
    """Return the standard deviation of features over a batch, after scaling them to unit length.

    Args:
        features: ``(batch, width)``, of any length.

    Returns:
        Scalar from 0, where all have the same direction (collapse), to 1, where directions cancel.
    """
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    return (unit - unit.mean(dim=0)).square().sum(dim=1).mean().sqrt()
