"""A saved model: LightGBM text and JSON in one folder, nothing that could run code when read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retain.errors import ModelMismatchError
from retain.model.calibration import LogitCalibrator, ScaleCalibrator
from retain.model.curve import FittedCurve
from retain.model.encoding import Encoder
from retain.model.fitting import FittedChurn, FittedClv
from retain.model.heads import ChurnHead, ClvHead

__all__ = ["Bundle", "load_bundle", "save_bundle"]

FORMAT = 5


@dataclass
class Bundle:
    """Everything that scoring needs.

    Parameters
    ----------
    settings
        Every setting that defines features, labels and money, as plain JSON.
    features
        Names of the feature columns built, in order, and the catalogue's fingerprint.
    tables
        Tables (and their columns) that the model was trained with.
    lists
        Names fixed at training: most used features, comment themes.
    encoder, churn, clv, curve
        The fitted parts; `clv` is None where no value could be learnt, `curve` where no horizon
        but the headline's was asked for.
    about
        What is shown beside scores: training date, base rate, metrics, peers.
    """

    settings: dict[str, Any]
    features: dict[str, Any]
    tables: dict[str, list[str]]
    lists: dict[str, Any]
    encoder: Encoder
    churn: FittedChurn
    clv: FittedClv | None
    about: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    curve: FittedCurve | None = None

    def files(self) -> dict[str, str]:
        """Return file name to text; equal models give equal texts."""
        files = {"churn.txt": self.churn.head.to_text()}
        for number, refit in enumerate(self.churn.refits):
            files[f"churn_refit_{number}.txt"] = refit.to_text()
        saved: dict[str, Any] = {
            "format": FORMAT,
            "settings": self.settings,
            "features": self.features,
            "tables": self.tables,
            "lists": self.lists,
            "encoder": self.encoder.to_json(),
            "churn": {
                "slope": self.churn.calibrator.slope,
                "shift": self.churn.calibrator.shift,
                "chosen": self.churn.chosen,
                "refits": len(self.churn.refits),
            },
            "clv": None,
            "curve": None,
            "about": self.about,
        }
        if self.clv is not None:
            files["clv.txt"] = self.clv.head.to_text()
            saved["clv"] = {
                "factor": self.clv.calibrator.factor,
                "learnt_weeks": self.clv.learnt_weeks,
                "weeks": self.clv.weeks,
                "follows_curve": self.clv.follows_curve,
                "usual_log_share": self.clv.usual_log_share,
                "bins": self.clv.bins,
                "chosen": self.clv.chosen,
            }
        if self.curve is not None:
            if self.curve.head is not None:
                files["curve.txt"] = self.curve.head.to_text()
            saved["curve"] = {
                "horizons": self.curve.horizons,
                "headline": self.curve.headline,
                "multiples": _without_nan(self.curve.multiples),
                "powers": _without_nan(self.curve.powers),
                "first": self.curve.first,
                "chosen": self.curve.chosen,
                "drift": self.curve.drift,
                "countdown": self.curve.countdown,
            }
        saved["files"] = {name: _sha256(text) for name, text in sorted(files.items())}
        files["bundle.json"] = json.dumps(saved, indent=1, sort_keys=True, ensure_ascii=False)
        return files


def bundle_version(files: dict[str, str]) -> str:
    """Name a bundle by its content."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name].encode() + b"\0")
    return digest.hexdigest()[:12]


def save_bundle(bundle: Bundle, folder: Path) -> str:
    """Write a bundle aside and move it into place; return its version, a hash of its content."""
    files = bundle.files()
    version = bundle_version(files)
    # called as the store's own, which clears what a killed run left and puts back what it moved
    aside = folder.with_name(f".partial-{folder.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, text in files.items():
        (aside / name).write_text(text, encoding="utf-8", newline="\n")
    old = folder.with_name(f".partial-old-{folder.name}-{os.getpid()}")
    if folder.exists():
        folder.replace(old)
    aside.replace(folder)
    shutil.rmtree(old, ignore_errors=True)
    bundle.version = version
    return version


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle.

    Raises
    ------
    ModelMismatchError
        When the folder holds no bundle, a damaged one, or one of another format.
    """
    path = folder / "bundle.json"
    if not path.is_file():
        raise ModelMismatchError(
            f"model: {folder} holds no saved model (bundle.json is missing). Run `retain train` "
            "first, or name the folder of a model."
        )
    try:
        text = path.read_text(encoding="utf-8")
        saved = json.loads(text)
        if not isinstance(saved, dict):
            raise KeyError("format")
        if saved.get("format") != FORMAT:
            raise ModelMismatchError(
                f"model: {folder} has format {saved.get('format')!r}; this version of retain reads "
                f"format {FORMAT}. Train again."
            )
        texts = _texts(folder, saved["files"])
        encoder = Encoder.from_json(saved["encoder"])
        wide = len(encoder.columns_)
        churn = FittedChurn(
            _churn_head(texts["churn.txt"], wide),
            LogitCalibrator(saved["churn"]["slope"], saved["churn"]["shift"]),
            [
                _churn_head(texts[f"churn_refit_{number}.txt"], wide)
                for number in range(saved["churn"]["refits"])
            ],
            saved["churn"]["chosen"],
        )
        clv = None
        if saved["clv"] is not None:
            clv = FittedClv(
                ClvHead().from_text(texts["clv.txt"], wide),
                ScaleCalibrator(saved["clv"]["factor"]),
                saved["clv"]["learnt_weeks"],
                saved["clv"]["weeks"],
                saved["clv"]["follows_curve"],
                saved["clv"]["usual_log_share"],
                saved["clv"]["bins"],
                saved["clv"]["chosen"],
            )
        return Bundle(
            saved["settings"],
            saved["features"],
            saved["tables"],
            saved["lists"],
            encoder,
            churn,
            clv,
            saved["about"],
            bundle_version({"bundle.json": text, **texts}),
            None if saved["curve"] is None else _curve(saved["curve"], texts, wide),
        )
    except (KeyError, TypeError, json.JSONDecodeError, OSError, UnicodeDecodeError) as problem:
        raise ModelMismatchError(
            f"model: {folder} is damaged ({type(problem).__name__}: {problem}). Train again or "
            "restore the folder."
        ) from problem


def _texts(folder: Path, expected: dict[str, str]) -> dict[str, str]:
    """Read the boosters, each checked first: LightGBM ends the process over a damaged text."""
    texts = {}
    for name, digest in expected.items():
        path = folder / name
        texts[name] = path.read_text(encoding="utf-8") if path.is_file() else ""
        if _sha256(texts[name]) != digest:
            found = "was changed after it was saved" if path.is_file() else "is missing"
            raise ModelMismatchError(
                f"model: {folder} is damaged: {name} {found}. Train again or restore the folder."
            )
    return texts


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _without_nan(numbers: tuple[float, ...]) -> list[float | None]:
    return [one if one == one else None for one in numbers]  # JSON has no nan


def _with_nan(saved: list[float | None]) -> tuple[float, ...]:
    return tuple(float("nan") if one is None else one for one in saved)


def _curve(saved: dict[str, Any], texts: dict[str, str], wide: int) -> FittedCurve:
    text = texts.get("curve.txt")
    return FittedCurve(
        tuple(saved["horizons"]),
        saved["headline"],
        _with_nan(saved["multiples"]),
        _with_nan(saved["powers"]),
        None if text is None else _churn_head(text, wide + 1 + len(saved["countdown"])),
        saved["first"],
        saved["chosen"],
        saved["drift"],
        tuple(saved["countdown"]),
    )


def _churn_head(text: str, wide: int) -> ChurnHead:
    import numpy as np

    head = ChurnHead().from_text(text, wide)
    head.classes_ = np.array([0.0, 1.0])
    return head
