"""The VCL network: its terms, gradients and learning, on one process and on two."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from endofm.config import EncoderConfig
from endofm.errors import ConfigError, InputError
from endofm.models.encoder import VideoTransformer
from endofm.training.objectives.vcl.vcl_config import VCLConfig
from endofm.training.objectives.vcl.vcl_model import VCLModel, VCLOutput, VCLTerms, spread
from endofm.training.objectives.vcl.vcl_views import VCLViews
from helpers.paths import TESTS

SMALL = EncoderConfig(img_size=32, num_frames=4, embed_dim=24, depth=2, num_heads=2)
CONFIG = VCLConfig(
    concepts=12, hidden_dim=16, contrast_dim=8, clip_frames=4, crop_size=32, queue_size=20, top_concepts=6
)


def make_model(config: VCLConfig = CONFIG) -> VCLModel:
    torch.manual_seed(0)
    model = VCLModel(VideoTransformer(SMALL), config)
    with torch.no_grad():
        for block in model.backbone.blocks:  # at zero no gradient would pass
            block.temporal_fc.weight.normal_(std=0.1)  # type: ignore[union-attr, operator]
    return model


def make_views(batch: int, seed: int = 0) -> VCLViews:
    generator = torch.Generator().manual_seed(seed)
    scene = torch.randn(batch, 1, 3, 1, 32, 32, generator=generator)
    clips = scene + 0.5 * torch.randn(batch, 2, 3, 4, 32, 32, generator=generator)
    return VCLViews(clips, clips[:, :, :, 1] + 0.1)


def test_total_is_the_weighted_sum_of_all_terms() -> None:
    terms = make_model()(make_views(4), use_queue=True, use_local=True).terms
    values = {name: value.item() for name, value in terms._asdict().items()}
    assert len(values) == 13
    assert all(math.isfinite(value) for value in values.values())
    assert all(values[f"local_{kind}"] > 0 for kind in "vsd")
    decoupling = values.pop("decouple_static") + values.pop("decouple_dynamic")
    assert terms.total(0.1).item() == pytest.approx(sum(values.values()) + 0.1 * decoupling, rel=1e-5)


def test_terms_are_those_of_the_formula() -> None:
    """Global contrast, decoupling and fidelity, restated from the pooled features of single passes."""
    model, views = make_model(), make_views(4)
    terms = model(views, use_queue=False, use_local=False).terms
    clips, stills = views
    v = [model.backbone(clips[:, i]) for i in (0, 1)]
    s = [model.backbone(stills[:, i].unsqueeze(2).expand(-1, -1, 4, -1, -1)) for i in (0, 1)]
    d = [model.backbone(clips[:, i] - clips[:, i].roll(1, dims=2)) for i in (0, 1)]

    def cost(query: torch.Tensor, key: torch.Tensor, name: str, back: str) -> torch.Tensor:
        q, k = model.contrast_heads[name](query), model.contrast_heads[back](key)
        return F.cross_entropy(F.normalize(q) @ F.normalize(k).T / 0.07, torch.arange(4))

    vv = (cost(v[0], v[1], "v_v", "v_v") + cost(v[1], v[0], "v_v", "v_v")) / 2
    vs = cost(v[0], s[1], "v_s", "s_v") + cost(v[1], s[0], "v_s", "s_v")
    vs = (vs + cost(s[0], v[1], "s_v", "v_s") + cost(s[1], v[0], "s_v", "v_s")) / 2
    torch.testing.assert_close(terms.contrast_vv, vv, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms.contrast_vs, vs, rtol=1e-4, atol=1e-5)

    model = make_model()  # batch statistics as before
    scores = [model.concepts["d"].scores(model.concept_heads["d"](x)) for x in d]  # type: ignore[operator]
    p = (torch.stack(scores)[..., :12] / 0.1).softmax(-1)
    torch.testing.assert_close(terms.decouple_static, (p * p.log()).sum(-1).mean(), rtol=1e-4, atol=1e-5)
    rebuilt = model.decoders["d"](torch.cat(scores)[:, 12:])
    torch.testing.assert_close(
        terms.fidelity_d, -F.cosine_similarity(rebuilt, torch.cat(d), dim=1).mean(), rtol=1e-4, atol=1e-5
    )
    assert [terms.local_v.item(), terms.local_s.item(), terms.local_d.item()] == [0, 0, 0]


@pytest.mark.parametrize("pooling", ["class_token", "patch_mean"])
def test_every_parameter_receives_a_gradient_once_local_contrast_counts(pooling: str) -> None:
    model = make_model(VCLConfig(**{**vars(CONFIG), "pooling": pooling}))
    model(make_views(4), use_queue=True, use_local=True).terms.total(0.1).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The key bias has no effect on a softmax and a bias before batch norm none on anything: both gradients are zero
    # but for rounding. The class token passes no gradient to its last MLP if it is not looked at.
    assert without == []


def test_before_local_contrast_its_attention_alone_learns_nothing() -> None:
    model = make_model()
    model(make_views(4), use_queue=False, use_local=False).terms.total(0.1).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert None not in gradients.values()  # DDP waits for every one
    without = {name.split(".")[0] for name, grad in gradients.items() if grad is not None and not grad.any()}
    assert without == {"attention"}


def test_decoupling_alone_makes_differences_say_nothing_of_static_concepts() -> None:
    model, views = make_model(), make_views(4)
    optimizer = torch.optim.Adam(model.concept_heads.parameters(), lr=0.02)
    found = []
    for _ in range(60):
        optimizer.zero_grad()
        entropy = model(views, use_queue=False, use_local=False).terms.decouple_static
        entropy.backward()
        optimizer.step()
        found.append(entropy.item())
    assert found[0] > -0.9 * math.log(12)
    assert found[-1] < -0.97 * math.log(12)


def test_scores_go_into_the_queue_in_training_only() -> None:
    model, views = make_model(), make_views(4)
    before = model.queue.scores.clone()
    model.eval()(views, use_queue=True, use_local=False)
    torch.testing.assert_close(model.queue.scores, before)
    model.train()(views, use_queue=True, use_local=False)
    torch.testing.assert_close(model.queue.scores[:-4], before[4:])
    assert not torch.equal(model.queue.scores[-4:], before[-4:])
    assert model.queue.scores[-4:].abs().max() <= 1 + 1e-5


def test_queue_changes_the_assignment_only_when_it_is_used() -> None:
    def align(*, use_queue: bool, seed: int) -> float:
        model = make_model()
        model.queue.scores.copy_(torch.randn(20, 6, 24, generator=torch.Generator().manual_seed(seed)))
        return model(make_views(4), use_queue=use_queue, use_local=False).terms.align_static.item()

    assert align(use_queue=False, seed=1) == align(use_queue=False, seed=2)
    assert align(use_queue=True, seed=1) != align(use_queue=True, seed=2)


def test_a_batch_of_one_and_a_crop_that_does_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2"):
        make_model()(make_views(1), use_queue=False, use_local=False)
    with pytest.raises(ConfigError, match="patch size 16"):
        make_model(VCLConfig(**{**vars(CONFIG), "crop_size": 40}))


def test_spread_tells_a_collapse() -> None:
    one_way = torch.ones(8, 5) * torch.rand(8, 1)
    assert spread(one_way).item() == pytest.approx(0, abs=1e-3)
    assert spread(torch.eye(8)).item() == pytest.approx(math.sqrt(7 / 8))


def test_half_precision_leaves_the_terms_close() -> None:
    model, views = make_model().eval(), make_views(4)
    exact = model(views, use_queue=True, use_local=True).terms
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(views, use_queue=True, use_local=True).terms
    for (name, a), (_, b) in zip(exact._asdict().items(), rough._asdict().items(), strict=True):
        assert b.dtype == torch.float32, name
        assert a.item() == pytest.approx(b.item(), abs=0.15, rel=0.15), name


def steps(model: VCLModel, views: Callable[[int], VCLViews], number: int, lr: float = 2e-3) -> list[VCLTerms]:
    optimizer, terms = torch.optim.Adam(model.parameters(), lr=lr), []
    for step in range(number):
        optimizer.zero_grad()
        terms.append(model(views(step), use_queue=step > 0, use_local=step > 1).terms)
        terms[-1].total(model.config.decoupling_weight).backward()
        optimizer.step()
        model.normalize_concepts()
        for concepts in model.concepts.values():
            torch.testing.assert_close(concepts.weight.norm(dim=1), torch.ones(24))
    return terms


def test_loss_falls_on_eight_toy_videos() -> None:
    views = make_views(8)
    terms = steps(make_model(), lambda _: views, 40)
    start, end = terms[2].total(0.1).item(), terms[-1].total(0.1).item()
    assert end < start - 5
    assert terms[-1].contrast_vv.item() < 0.5 * terms[0].contrast_vv.item()


def train_on_share(rank: int, size: int, trained: Callable[..., VCLOutput], model: VCLModel) -> list[float]:
    """Take four steps on one process's share of six videos; returns its losses."""
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.02), []
    for step in range(4):
        views = VCLViews(*(x.double().chunk(size)[rank] for x in make_views(6, seed=step)))
        optimizer.zero_grad()
        loss = trained(views, use_queue=step > 0, use_local=step > 1).terms.total(0.1)
        loss.backward()
        optimizer.step()
        model.normalize_concepts()
        losses.append(loss.item())
    return losses


WORKER = """
import os, sys, torch, torch.distributed as dist
sys.path[:0] = sys.argv[1].split(os.pathsep)
from test_vcl_model import make_model, train_on_share
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
torch.Tensor.float = torch.Tensor.double
model = make_model().double()
trained = DistributedDataParallel(model)
losses = torch.tensor(train_on_share(dist.get_rank(), 2, trained, model), dtype=torch.float64)
dist.all_reduce(losses)
if dist.get_rank() == 0:
    torch.save({"model": model.state_dict(), "losses": losses / 2}, sys.argv[2])
dist.destroy_process_group()
"""


def test_two_processes_train_like_one_at_the_same_global_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 throughout: sums are taken in another order, and batch norm, steps and choices of the highest scores
    enlarge what rounding that leaves."""
    script, out = tmp_path / "worker.py", tmp_path / "two.pt"
    script.write_text(WORKER, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launcher, str(script), f"{Path(__file__).parent}{os.pathsep}{TESTS}", str(out)],
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    two, model = torch.load(out, weights_only=True), make_model().double()
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    losses = train_on_share(0, 1, model, model)
    assert two["losses"].tolist() == pytest.approx(losses, rel=1e-9)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(two["model"][name], value, atol=1e-8, rtol=1e-7, msg=name)
