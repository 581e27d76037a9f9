"""Head configuration of a video classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from endofm.config.checks import LARGEST_SIZE, is_number, require_bool, require_choice, require_int, require_number
from endofm.config.model_config import HeadConfig
from endofm.errors import ConfigError, quoted

ClassificationPooling = Literal["cls", "attentive"]


@dataclass(frozen=True, kw_only=True)
class ClassificationHeadConfig(HeadConfig):
    """Head of :class:`~endofm.tasks.classification.model.EndoFMForVideoClassification`.

    Attributes:
        labels: Names of the classes in the order of the logits.
        multi_label: False: classes exclude one another, and probabilities are a softmax. True: classes are
            independent, and probabilities are sigmoids.
        thresholds: One number in (0, 1) per label, or empty. Multi-label: a class is predicted if its probability is
            at least its threshold, 0.5 by default. Single-label: the class with the largest ratio of probability to
            threshold is predicted, the most probable one by default; for two classes ``(1 - t, t)`` predicts the
            second if its probability is at least t.
        pooling: ``"cls"`` uses the class token; ``"attentive"`` lets one learnt query attend to the patch tokens.
        attentive_heads: Attention heads of that query; must divide the encoder's width.
        dropout: Probability of dropping an input of the last layer while training.
    """

    task: ClassVar[str] = "classification"

    multi_label: bool = False
    thresholds: tuple[float, ...] = ()
    pooling: ClassificationPooling = "cls"
    attentive_heads: int = 12
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_bool(self, "multi_label")
        require_choice(self, "pooling", get_args(ClassificationPooling))
        require_int(self, "attentive_heads", high=LARGEST_SIZE)
        require_number(self, "dropout", low=0, high=1, open_high=True)
        # The softmax of a single logit is always 1.
        if not self.multi_label and self.num_classes < 2:
            raise ConfigError(
                f"ClassificationHeadConfig.labels: a single label ({quoted(self.labels[0])}) always has probability 1; "
                "name a second class, or set multi_label"
            )
        thresholds = self.thresholds
        valid = isinstance(thresholds, tuple) and all(is_number(t) and 0 < t < 1 for t in thresholds)
        if not valid or len(thresholds) not in (0, self.num_classes):
            raise ConfigError(
                f"ClassificationHeadConfig.thresholds must be empty or hold {self.num_classes} numbers between 0 and "
                f"1, one per label; got {quoted(thresholds)}"
            )
