# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Stems, trunk, heads, normaliser, the policy and its checkpoints."""

from hpt_ros.model.checkpoint import (
    Checkpoint,
    MultiCheckpoint,
    RobotFiles,
    load_checkpoint,
    load_multi_checkpoint,
    save_checkpoint,
    save_multi_checkpoint,
)
from hpt_ros.model.config import PolicyConfig, StemConfig, TrunkConfig
from hpt_ros.model.encoder_config import (
    EfficientNetConfig,
    ImageEncoderConfig,
    NoEncoderConfig,
    ResNet18Config,
    TimmConfig,
    TransformersConfig,
)
from hpt_ros.model.head_config import (
    DecoderHeadConfig,
    HeadConfig,
    MlpHeadConfig,
)
from hpt_ros.model.multi import MultiPolicy, MultiPolicyConfig
from hpt_ros.model.normaliser import Statistics
from hpt_ros.model.policy import Policy
from hpt_ros.model.weights import LoadReport, export_trunk, load_image_encoder, load_model, load_trunk

__all__ = [
    "Checkpoint",
    "DecoderHeadConfig",
    "EfficientNetConfig",
    "HeadConfig",
    "ImageEncoderConfig",
    "LoadReport",
    "MlpHeadConfig",
    "MultiCheckpoint",
    "MultiPolicy",
    "MultiPolicyConfig",
    "NoEncoderConfig",
    "Policy",
    "PolicyConfig",
    "ResNet18Config",
    "RobotFiles",
    "Statistics",
    "StemConfig",
    "TimmConfig",
    "TransformersConfig",
    "TrunkConfig",
    "export_trunk",
    "load_checkpoint",
    "load_image_encoder",
    "load_model",
    "load_multi_checkpoint",
    "load_trunk",
    "save_checkpoint",
    "save_multi_checkpoint",
]
