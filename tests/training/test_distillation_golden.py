"""Numbers of the original code (tests/golden/, made by med-air/Endo-FM at 206427e) against our objective."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from endofm.config import EncoderConfig
from endofm.models.encoder import VideoTransformer
from endofm.training.engine.training_task import Plan
from endofm.training.objectives.endofm.cross_view_loss import CrossViewLoss
from endofm.training.objectives.endofm.endofm_config import EndoFMPublishedConfig, ProjectionHeadConfig
from endofm.training.objectives.endofm.endofm_task import EndoFMTask
from endofm.training.objectives.endofm.multicrop import MultiCropNetwork
from endofm.training.objectives.endofm.projection_head import ProjectionHead
from endofm.training.objectives.gradients import clip_each
from endofm.training.objectives.schedules import CosineSchedule, EpochWarmup
from endofm.training.parameter_groups import split_by_decay
from endofm.training.views.view_config import ViewConfig
from helpers.golden_fill import normal_input, params
from helpers.paths import GOLDEN

TINY = EncoderConfig(img_size=64, num_frames=4, embed_dim=64, depth=3, num_heads=4)
TINY_HEAD = ProjectionHeadConfig(out_dim=128, hidden_dim=96, bottleneck_dim=32)


def fill(module: nn.Module, salt: str = "") -> None:
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    module.load_state_dict({name: torch.from_numpy(a) for name, a in params(shapes, salt).items()}, strict=False)


def tensor(name: str, shape: tuple[int, ...], std: float = 1.0) -> Tensor:
    return torch.from_numpy(normal_input(name, shape, std))


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "pretraining_head_loss.npz"))


def test_head_of_the_published_size(parts: dict[str, np.ndarray]) -> None:
    head = ProjectionHead(768, ProjectionHeadConfig())
    assert sum(p.numel() for p in head.parameters()) == 23_138_560
    published = json.loads((GOLDEN / "state_dict_keys_backbone.json").read_text())["dino_head"]
    assert {name: list(p.shape) for name, p in head.state_dict().items()} == published
    fill(head)
    x = tensor("head/vitb", (3, 768))
    with torch.no_grad():
        # Processors add up 2048 products in orders of their own; 1.1e-6 was seen.
        np.testing.assert_allclose(head.mlp(x), parts["head_vitb/mlp"], rtol=0, atol=5e-6)
        out = head(x)
    np.testing.assert_allclose(out[:, ::64], parts["head_vitb/out_sub"], rtol=0, atol=5e-6)
    stats = torch.stack(
        [out.mean(1), out.std(1), out.min(1).values, out.max(1).values, out.argmax(1).float()], dim=1
    ).double()
    np.testing.assert_allclose(stats, parts["head_vitb/out_stats"], rtol=0, atol=5e-6)


def test_head_with_and_without_gains(parts: dict[str, np.ndarray]) -> None:
    head = ProjectionHead(64, TINY_HEAD)
    fill(head)
    x = tensor("head/tiny", (5, 64))
    np.testing.assert_allclose(head(x).detach(), parts["head_tiny/out"], rtol=0, atol=1e-6)
    head.last_layer.weight_g.data = 1 + 0.1 * tensor("head/tiny_g", (128, 1))
    np.testing.assert_allclose(head(x).detach(), parts["head_tiny/out_g"], rtol=0, atol=1e-6)
    assert not head.last_layer.weight_g.requires_grad


@pytest.mark.parametrize(
    ("tag", "temperature", "epochs"),
    [("const", EpochWarmup(0.04, 0.04, 0), 4), ("warm", EpochWarmup(0.02, 0.07, 3), 6)],
)
def test_loss_and_center(parts: dict[str, np.ndarray], tag: str, temperature: EpochWarmup, epochs: int) -> None:
    table = [temperature(epoch) for epoch in range(epochs)]
    np.testing.assert_allclose(table, parts[f"loss_{tag}/teacher_temp_schedule"], rtol=1e-12)
    objective = CrossViewLoss(128)
    for call, epoch in enumerate((0, 2)):
        student = tensor(f"loss/{tag}/student{call}", (20, 128)).requires_grad_()
        teacher = tensor(f"loss/{tag}/teacher{call}", (4, 128))
        loss = objective(student, objective.targets(teacher, temperature(epoch)))
        loss.backward()
        objective.collect(teacher)
        objective.update_center()
        assert loss.item() == pytest.approx(parts[f"loss_{tag}/loss"][call], rel=1e-6)
        np.testing.assert_allclose(objective.center, parts[f"loss_{tag}/center"][call], rtol=0, atol=1e-6)
        if call == 0:
            assert student.grad is not None
            np.testing.assert_allclose(student.grad, parts[f"loss_{tag}/grad_student0"], rtol=0, atol=1e-6)


def test_schedules(parts: dict[str, np.ndarray]) -> None:
    def values(schedule: CosineSchedule) -> list[float]:
        return [schedule(step) for step in range(schedule.total_steps)]

    peak = 5e-4 * 12 / 256
    np.testing.assert_allclose(values(CosineSchedule(peak, 1e-6, 35, 14)), parts["sched/lr"], rtol=1e-12)
    np.testing.assert_allclose(values(CosineSchedule(0.04, 0.4, 35)), parts["sched/wd"], rtol=1e-12)
    np.testing.assert_allclose(values(CosineSchedule(0.996, 1, 35)), parts["sched/momentum"], rtol=1e-12)
    base, epochs, per_epoch, warmup, largest, last = parts["sched/lr_recipe_meta"].tolist()
    recipe = CosineSchedule(base, 1e-6, int(epochs * per_epoch), int(warmup * per_epoch))
    every = parts["sched/lr_recipe_every_1000"]
    np.testing.assert_allclose([recipe(1000 * i) for i in range(len(every))], every, rtol=1e-12)
    # "largest" and "last" are stored rounded to float64 sums of the whole table: equal to the schedule's own.
    assert max(values(recipe)) == pytest.approx(largest, rel=1e-12)
    assert recipe(recipe.total_steps - 1) == pytest.approx(last, rel=1e-12)


def test_each_gradient_is_clipped_by_itself(parts: dict[str, np.ndarray]) -> None:
    w, b = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3))
    w.grad, b.grad = tensor("clip/w", (3, 4), 5.0), tensor("clip/b", (3,), 0.1)
    norms = clip_each([w, nn.Parameter(torch.zeros(2)), b], 3.0)
    np.testing.assert_allclose(norms, parts["clip/norms"], rtol=1e-6)
    np.testing.assert_allclose(w.grad, parts["clip/w"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(b.grad, parts["clip/b"], rtol=0, atol=1e-6)


def test_parameter_groups_of_the_recipe() -> None:
    golden = json.loads((GOLDEN / "pretraining_param_groups.json").read_text())
    with torch.device("meta"):
        network = MultiCropNetwork(VideoTransformer(EncoderConfig()), ProjectionHead(768, ProjectionHeadConfig()))
    groups = split_by_decay(network, decay_embeddings=True)
    assert sorted(groups.decayed) == sorted(golden["decay"])  # our blocks list their temporal half first
    assert sorted(groups.not_decayed) == sorted(golden["no_decay"])
    named = {name for name, _ in network.named_parameters()}
    assert named - {*groups.decayed, *groups.not_decayed} == set(golden["not_optimised"])
    fixed = split_by_decay(network, decay_embeddings=False)
    moved = {f"backbone.{name}" for name in ("cls_token", "pos_embed", "time_embed")}
    assert set(groups.decayed) - set(fixed.decayed) == moved == set(fixed.not_decayed) - set(groups.not_decayed)


@pytest.mark.parametrize("case", ["rand_fr", "same_fr"])
def test_calls_and_order_of_the_views(case: str) -> None:
    golden = json.loads((GOLDEN / "pretraining_multicrop.json").read_text())[case]

    class Codes(nn.Module):
        def forward(self, clips: Tensor) -> Tensor:
            calls.append(list(clips.shape))
            return clips[:, :, 0, 0, 0]

    views = [
        torch.stack([torch.full((1, frames, size, size), 10.0 * v + b) for b in range(2)])
        for v, (frames, size) in enumerate(zip(golden["frames"], golden["sizes"], strict=True))
    ]
    network = MultiCropNetwork(Codes(), nn.Identity())
    for who, seen in (("student", views), ("teacher", views[:2])):
        calls: list[list[int]] = []
        codes = network(seen)[:, 0].int().tolist()
        assert calls == golden[f"backbone_calls_{who}"]
        assert codes == golden[f"codes_{who}"]


def test_views_of_equal_shape_that_do_not_follow_each_other_keep_their_order() -> None:
    views = [torch.full((2, 1, t, 1, 1), float(v)) for v, t in enumerate((1, 2, 1, 3, 2))]
    network = MultiCropNetwork(nn.Flatten(2), nn.Identity())
    network.backbone.forward = lambda clips: clips[:, :, 0, 0, 0]  # type: ignore[method-assign]
    assert network(views)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def key_third_left_out(name: str, values: Tensor) -> Tensor:
    """The gradient of a key's bias is zero in truth; Adam blows its rounding noise up (notes of the golden data)."""
    if name.endswith("qkv.bias"):
        return values[torch.cat((torch.arange(64), torch.arange(128, 192)))]
    return values


def golden_task() -> EndoFMTask:
    config = EndoFMPublishedConfig(
        views=ViewConfig(global_size=64, local_size=32),
        head=TINY_HEAD,
        learning_rate=2e-3,
        warmup_epochs=1,
        warmup_teacher_temp=0.04,
        teacher_temp=0.07,
        warmup_teacher_temp_epochs=2,
        teacher_momentum=0.9,
        clip_gradient=0.3,
        drop_path_rate=0.0,
    )
    task = EndoFMTask(config, VideoTransformer(TINY))
    for module, salt in ((task.network, ""), (task.teacher, "teacher/")):
        fill(module.backbone, salt)
        fill(module.head, salt)
    task.prepare(Plan(steps_per_epoch=2, total_steps=6, batch_size=256))  # 256: the learning rate is the stated one
    return task


def test_four_whole_steps() -> None:
    golden = dict(np.load(GOLDEN / "pretraining_step.npz"))
    task = golden_task()
    student, teacher = task.network, task.teacher
    optimizer = task.make_optimizer()
    for name, values in (("lr", task.learning_rate), ("wd", task.weight_decay), ("momentum", task.momentum)):
        np.testing.assert_allclose([values(i) for i in range(6)], golden[name], rtol=1e-12)
    outputs: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda _, __, out: outputs.append(out)) for module in (student, teacher)]

    whole = [str(name) for name in golden["names"] if not str(name).endswith("qkv.bias")]
    places = [i for i, name in enumerate(golden["names"]) if str(name) in whole]
    for step in range(4):
        shapes = [(2, 3, t, s, s) for t, s in zip(task.config.views.frames, task.config.views.sizes, strict=True)]
        views = [tensor(f"step/it{step}/view{v}", shape) for v, shape in enumerate(shapes)]
        task.schedule(optimizer, step)
        outputs.clear()
        loss = task.training_step(student, SimpleNamespace(frames=views), step).loss
        optimizer.zero_grad()
        loss.backward()
        unclipped = {name: p.grad.norm().item() for name, p in student.named_parameters() if p.grad is not None}
        task.after_backward(step)
        optimizer.step()
        task.after_step(step)

        assert loss.item() == pytest.approx(golden["loss"][step], rel=1e-6)
        np.testing.assert_allclose(task.loss.center, golden["center"][step : step + 1], rtol=0, atol=1e-6)
        for name, norm in zip(golden["grad_norm_names"].tolist(), golden["grad_norm"][step], strict=True):
            assert unclipped[name] == pytest.approx(norm, rel=1e-4, abs=1e-6), name
        if step == 0:
            np.testing.assert_allclose(outputs[0], golden["teacher_out_it0"], rtol=0, atol=1e-5)
            np.testing.assert_allclose(outputs[1].detach(), golden["student_out_it0"], rtol=0, atol=1e-5)
        for who, module in (("student", student), ("teacher", teacher)):
            values = dict(module.named_parameters())
            doubles = [values[name].detach().double() for name in whole]
            norms_now, sums = [d.norm().item() for d in doubles], [d.sum().item() for d in doubles]
            np.testing.assert_allclose(norms_now, golden[f"{who}_l2"][step, places], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(sums, golden[f"{who}_sum"][step, places], rtol=1e-4, atol=1e-4)
    for hook in hooks:
        hook.remove()
    for key in (key for key in golden if key.startswith("final/")):
        _, who, name = key.split("/")
        value = dict((student if who == "student" else teacher).named_parameters())[name].detach()
        ours, theirs = key_third_left_out(name, value), key_third_left_out(name, torch.from_numpy(golden[key]))
        # Steps of up to 2e-3 in units of a gradient's sign; an element whose gradient is tiny is off by 3e-6.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-6, err_msg=key)
