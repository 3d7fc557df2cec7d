"""The catalogue of features and the one function that builds them, for training and scoring."""

from retain.features.build import (
    FEATURES,
    FeatureMatrix,
    build_features,
    feature_chunks,
    load_own_features,
)
from retain.features.feature import THEMES, WINDOWS, Column, Feature, feature

__all__ = [
    "FEATURES",
    "THEMES",
    "WINDOWS",
    "Column",
    "Feature",
    "FeatureMatrix",
    "build_features",
    "feature",
    "feature_chunks",
    "load_own_features",
]
