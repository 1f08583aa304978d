"""Progress bars, where tqdm is installed and somebody looks."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class Progress:
    """A bar, or nothing: progress is shown where it was asked for and tqdm is there."""

    def __init__(self, wanted: bool, total: int | None, label: str, unit: str) -> None:
        self._bar: Any = None
        if wanted:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=total, desc=label, unit=f" {unit}", unit_scale=True, disable=None)

    def add(self, count: int) -> None:
        """Tell that so many more are done."""
        if self._bar is not None:
            self._bar.update(count)

    def stage(self, label: str, done: int, total: int) -> None:
        """Tell how far a stage is."""
        if self._bar is not None:
            self._bar.set_description(label)
            self._bar.total = total or None
            self._bar.update(done - self._bar.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
