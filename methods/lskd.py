"""LSKD: match the shape of the logits, whatever their size and mean (Sun et al., 2024).

Loss: L_S = ce_weight CE(y, S) + kd_weight tau^2 KL(Z(t)_tau || Z(s)_tau); Z divides an example's logits, without their
mean, by 1e-7 plus their standard deviation. The cross-entropy sees the logits as they are.
Trained: the student. The teacher is fine-tuned first, then frozen, without dropout.
Paper and code: the paper's standard deviation is that of a population, the code divides by C - 1, so that its
temperature acts as tau sqrt(C / (C - 1)); we follow the code, and its weights, which are of images. With two classes
Z is +-0.71 whatever the logits are, and the distillation term has no gradient: LSKD refuses them. Z is an option of
KD, DKD and MLKD as well (`standardize`).
"""

from __future__ import annotations

from kdbench.core.options import option
from kdbench.methods.kd import KD, KDOptions


class LSKDOptions(KDOptions):
    ce_weight: float = option(0.1, "weight of the cross-entropy with the labels", source="LSKD code", ge=0)
    kd_weight: float = option(9.0, "weight of the distillation term", source="LSKD code", ge=0)
    temperature: float = option(2.0, "divides the standardised logits of both networks", source="LSKD code", gt=0)
    standardize: bool = option(True, "z-score the logits of both networks in the distillation term", source="LSKD")


class LSKD(KD):
    """Match the frozen teacher's probabilities after z-scoring the logits of every example."""

    title = "LSKD"
    version = 1
    paper = "Sun et al., 2024"
    group = "logits"
    least_classes = 3
    no_regression = "it standardises the logits of several classes, and a regression has one output"
    position = 21
    options_type = LSKDOptions
    options: LSKDOptions
    variants = {"lskd_lgtm": ("LSKD (weights of LGTM Eq. 1)", {"ce_weight": 0.6, "kd_weight": 0.4, "temperature": 1.0})}
