"""`connector demo`: an integration in a folder of its own, told step by step. Everything in it is invented."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from connector.demo import hatch, intouch, occ
from connector.demo.stage import Say, Tell, made

STORIES: Mapping[str, tuple[str, Tell]] = {
    "hatch": ("demo", hatch.tell),
    "occ": ("demo-occ", occ.tell),
    "intouch": ("demo-intouch", intouch.tell),
}
"""Name -> the folder that it makes unless another is named, and the story."""


def play(story: str, folder: Path | None, port: int, say: Say) -> None:
    """Make the folder anew and tell the story. Raises SetupError for a folder that is not a demo's."""
    usual, tell = STORIES[story]
    tell(made(folder or Path(usual), story, say), port, say)


__all__ = ["STORIES", "play"]
