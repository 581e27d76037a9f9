"""ST-Adapters: parameter counts of the paper's models, and what a fresh and a trained adapter do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from endofm import EndoFM, EndoFMForVideoClassification, ModelConfig
from endofm.config import EncoderConfig, STAdapterConfig
from endofm.errors import ConfigError, InputError
from endofm.layers.st_adapter import STAdapter
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.training.transfer.base import count_trainable, trainable_parameters
from endofm.training.transfer.image_encoder import without_time
from endofm.training.transfer.methods import apply_transfer, set_training
from endofm.training.transfer.st_adapter_transfer import STAdapterTransfer
from helpers.small_classifier import CONFIG, classifier, clip

HEAD = ClassificationHeadConfig(labels=("normal", "polyp", "blood"))


def on_frames() -> EndoFMForVideoClassification:
    """Placement A: an image transformer, run on every frame."""
    encoder = EndoFM(replace(CONFIG, head=None)).eval()
    encoder.load_state_dict(classifier().backbone.state_dict())
    torch.manual_seed(0)
    return without_time(encoder, HEAD)


MODELS: dict[str, Callable[[], EndoFMForVideoClassification]] = {"A: on frames": on_frames, "B: on Endo-FM": classifier}


def awake(model: nn.Module) -> None:
    """Give the convolutions values, so that the adapters do something."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, STAdapter):
            with torch.no_grad():
                module.conv.weight.copy_(torch.randn(module.conv.weight.shape, generator=generator))


@pytest.mark.parametrize(
    ("kernel", "one"), [((3, 1, 1), 592_512), ((3, 3, 3), 601_728)], ids=["kernel 3,1,1", "kernel 3,3,3"]
)
def test_one_module_has_the_published_number_of_parameters(kernel: tuple[int, int, int], one: int) -> None:
    config = STAdapterConfig(kernel=kernel)
    assert config.num_parameters(768) == one
    with torch.device("meta"):
        assert sum(p.numel() for p in STAdapter(768, config).parameters()) == one


@pytest.mark.parametrize(("placement", "total"), [("mlp", 7_110_144), ("both", 14_220_288)])
@pytest.mark.parametrize("classes", [2, 174, 400])
@pytest.mark.parametrize("attention", ["space_only", "divided_space_time"])
def test_the_published_models_learn_as_many_parameters(
    placement: str, total: int, classes: int, attention: str
) -> None:
    encoder = EncoderConfig(attention_type=attention)  # type: ignore[arg-type]
    head = ClassificationHeadConfig(labels=tuple(map(str, range(classes))))
    with torch.device("meta"):
        model = EndoFMForVideoClassification(ModelConfig(encoder=encoder, head=head))
        apply_transfer(model, STAdapterTransfer(placement=placement))  # type: ignore[arg-type]
    assert count_trainable(model) == total + 769 * classes


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("grad", [True, False])
def test_a_fresh_adapter_changes_no_bit(make: Callable[[], EndoFMForVideoClassification], grad: bool) -> None:
    plain, adapted = make(), make()
    apply_transfer(adapted, "st-adapter")
    with torch.set_grad_enabled(grad):
        assert torch.equal(adapted(clip()), plain(clip()))
        ours, theirs = (model.backbone.forward_features(clip()) for model in (adapted, plain))
    assert torch.equal(ours.cls_token, theirs.cls_token)
    assert ours.patch_tokens is not None
    assert torch.equal(ours.patch_tokens, theirs.patch_tokens)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_only_adapters_and_head_learn_and_what_learns_first_is_the_convolution(
    make: Callable[[], EndoFMForVideoClassification],
) -> None:
    model = make()
    apply_transfer(model, "st-adapter")
    set_training(model)
    tokens = model.backbone.forward_features(clip())
    (model.head(tokens).square().mean() + tokens.patch_tokens.square().mean()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    for name, gradient in gradients.items():
        adapter = ".before_" in name
        if not adapter and not name.startswith("head."):
            assert gradient is None, name
        elif name.endswith((".down.weight", ".up.weight", ".down.bias")) and adapter:
            assert gradient is None or not gradient.any(), name  # the convolution is still zero
        else:
            assert gradient is not None, name
            assert gradient.any(), name
    assert not model.backbone.blocks[0].training
    assert {name.split(".before_")[0] for name, _ in trainable_parameters(model) if ".before_" in name} == {
        "backbone.blocks.0", "backbone.blocks.1"
    }  # fmt: skip


def test_the_convolution_sees_time_rows_and_columns_in_their_places() -> None:
    """Every token tells where it is; each axis of the kernel must fetch exactly its neighbour, zero at the border."""
    time, batch, side = 3, 2, 4

    def place(t: int, b: int, y: int, x: int) -> float:
        return 1.0 + t + 10 * y + 100 * x + 1000 * b

    tokens = torch.zeros(time, batch, 1 + side * side, 1)
    for t in range(time):
        for b in range(batch):
            for y in range(side):
                for x in range(side):
                    tokens[t, b, 1 + y * side + x, 0] = place(t, b, y, x)
    for axis in range(3):
        adapter = STAdapter(1, STAdapterConfig(width=1, kernel=(3, 3, 3)))
        with torch.no_grad():
            adapter.down.weight.fill_(1)
            adapter.up.weight.fill_(1)
            kernel = torch.zeros(3, 3, 3)
            kernel[tuple(0 if i == axis else 1 for i in range(3))] = 1  # take the neighbour before
            adapter.conv.weight.copy_(kernel[None, None])
        moved = adapter(tokens) - tokens
        assert not moved[:, :, 0].any()
        for t in range(time):
            for b in range(batch):
                for y in range(side):
                    for x in range(side):
                        before = (t - (axis == 0), y - (axis == 1), x - (axis == 2))
                        expected = 0.0 if min(before) < 0 else place(before[0], b, before[1], before[2])
                        assert moved[t, b, 1 + y * side + x, 0] == expected, (axis, t, b, y, x)


def test_the_class_token_has_no_part() -> None:
    adapter = STAdapter(8, STAdapterConfig(width=4))
    awake(adapter)
    x = torch.randn(3, 2, 5, 8)
    other = x.clone()
    other[:, :, 0] = 7
    out, changed = adapter(x), adapter(other)
    assert torch.equal(out[:, :, 0], x[:, :, 0])
    assert torch.equal(out[:, :, 1:], changed[:, :, 1:])
    assert not torch.equal(out[:, :, 1:], x[:, :, 1:])


def per_frame(model: EndoFMForVideoClassification, pixels: Tensor) -> Tensor:
    tokens = model.backbone.forward_features(pixels).patch_tokens
    assert tokens is not None
    return tokens


def test_frames_exchange_information_through_the_kernel_alone() -> None:
    order = torch.tensor([2, 0, 3, 1])
    for kernel, same in (((1, 1, 1), True), ((3, 1, 1), False)):
        model = on_frames()
        apply_transfer(model, STAdapterTransfer(kernel=kernel))
        awake(model)
        shuffled = per_frame(model, clip()[:, :, order])
        assert torch.allclose(shuffled, per_frame(model, clip())[:, order], atol=1e-5) is same


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_any_number_of_frames(make: Callable[[], EndoFMForVideoClassification], frames: int) -> None:
    model = make()
    apply_transfer(model, STAdapterTransfer(kernel=(3, 3, 3)))
    awake(model)
    assert model(torch.randn(1, 3, frames, 32, 32)).shape == (1, 3)


def test_the_last_block_may_leave_the_class_token_out_of_the_mlp_s_adapter() -> None:
    """The short way for the class token skips the adapter before the last MLP, which does not touch it."""
    model = classifier()
    apply_transfer(model, "st-adapter")
    awake(model)
    torch.testing.assert_close(model.backbone(clip()), model.backbone.forward_features(clip()).cls_token)


def test_placement_and_last_blocks() -> None:
    for placement, last, places in (("attn", None, 2), ("mlp", 1, 1), ("both", 5, 4)):
        model = classifier()
        apply_transfer(model, STAdapterTransfer(placement=placement, last_blocks=last))  # type: ignore[arg-type]
        assert sum(isinstance(m, STAdapter) for m in model.modules()) == places
    norms = classifier()
    apply_transfer(norms, STAdapterTransfer(train_norms=True))
    assert {n for n, _ in trainable_parameters(norms) if "norm" in n and ".before_" not in n} >= {
        "backbone.norm.weight"
    }


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_activations(activation: str) -> None:
    config = STAdapterConfig(width=4, activation=activation)  # type: ignore[arg-type]
    plain, bent = STAdapter(8, STAdapterConfig(width=4)), STAdapter(8, config)
    bent.load_state_dict(plain.state_dict())
    x = torch.randn(2, 1, 5, 8)
    assert torch.equal(bent(x), x)
    for adapter in (plain, bent):
        awake(adapter)
    assert not torch.allclose(bent(x), plain(x))


def test_a_few_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    model = classifier()
    apply_transfer(model, "st-adapter")
    set_training(model)
    optimizer = torch.optim.AdamW([p for _, p in trainable_parameters(model)], lr=3e-3)
    labels = torch.tensor([0, 1, 2, 1])
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(clip(4)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_kernel_over_space_needs_a_square() -> None:
    model = classifier()
    apply_transfer(model, STAdapterTransfer(kernel=(1, 3, 3)))
    with pytest.raises(InputError, match="square grid of patches, got 6"):
        model(torch.zeros(1, 3, 2, 32, 48))


def test_what_cannot_be_is_refused() -> None:
    for wrong in ({"kernel": (2, 1, 1)}, {"kernel": (3, 3)}, {"width": 0}, {"last_blocks": 0}, {"placement": "mid"}):
        with pytest.raises(ConfigError):
            STAdapterTransfer(**wrong)  # type: ignore[arg-type]
    model = classifier()
    apply_transfer(model, "st-adapter")
    with pytest.raises(ConfigError, match="has adapters already"):
        apply_transfer(model, "st-adapter")
