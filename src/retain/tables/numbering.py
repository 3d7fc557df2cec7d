"""Numbers for values of Arrow columns, given in the order in which they are met."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Numbering", "Span", "numbering_for"]

WIDEST = 1 << 26  # whole numbers in a range of this size are looked up in an array


class Numbering:
    """Numbers for values, in the order in which they are met; null is -1."""

    def __init__(self) -> None:
        self.values: Any = None
        self._low, self._lookup = 0, np.zeros(0, dtype=np.int32)
        self._is_wide = False  # once and for all: the array would not know what was met meanwhile

    def __len__(self) -> int:
        """Count the values."""
        return 0 if self.values is None else len(self.values)

    def named(self, numbers: Any) -> Any:
        """Give the values behind some numbers, as Arrow."""
        return self.values.take(numbers)

    def of(self, column: Any) -> NDArray[np.int32]:
        """Give the numbers of an Arrow column's values, shape (rows,)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(column, pa.ChunkedArray):
            parts = [self.of(chunk) for chunk in column.chunks]
            return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
        if not len(column):
            return np.zeros(0, dtype=np.int32)
        if pa.types.is_integer(column.type):
            column = column.cast(pa.int64())
            span = pc.min_max(column).as_py()
            if span["min"] is not None and not self._is_wide:
                self._is_wide = not self._reaches(span["min"], span["max"])
                if not self._is_wide:
                    return self._looked_up(column)
        elif not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        if pa.types.is_dictionary(column.type):
            codes = np.append(self._met(column.dictionary), np.int32(-1))
            indices = column.indices.fill_null(len(codes) - 1).to_numpy(zero_copy_only=False)
            return np.take(codes, indices, mode="clip")  # faster than by narrow indices
        return self._met(column)

    def _reaches(self, low: int, high: int) -> bool:
        """Make the array of numbers span the values, when that is not too wide."""
        if len(self._lookup):
            low, high = min(low, self._low), max(high, self._low + len(self._lookup) - 1)
        if high - low >= WIDEST:
            return False
        if high - low >= len(self._lookup):
            wider = np.full(high - low + 1, -1, dtype=np.int32)
            if self.values is not None:
                wider[self.values.to_numpy() - low] = np.arange(len(self), dtype=np.int32)
            self._low, self._lookup = low, wider
        return True

    def _looked_up(self, column: Any) -> NDArray[np.int32]:
        import pyarrow as pa

        has_null = column.null_count > 0
        place = (column.fill_null(self._low) if has_null else column).to_numpy()
        place = place - self._low if self._low else place
        codes = np.take(self._lookup, place, mode="clip")  # faster than by an index in brackets
        if codes.min() < 0:
            fresh = codes < 0
            if has_null:
                fresh &= column.is_valid().to_numpy(zero_copy_only=False)
            fresh = np.flatnonzero(fresh)
            met = place[fresh]
            turn = np.arange(len(met), dtype=np.int32)
            self._lookup[met] = turn  # of equal ones the last stays: each is kept once
            each = met[self._lookup[met] == turn]
            self._lookup[each] = np.arange(len(self), len(self) + len(each), dtype=np.int32)
            codes[fresh] = self._lookup[met]
            if len(each):
                self._append(pa.array(each + self._low))
        if has_null:
            codes[column.is_null().to_numpy(zero_copy_only=False)] = -1
        return codes

    def _met(self, values: Any) -> NDArray[np.int32]:
        import pyarrow.compute as pc

        if self.values is None:
            self.values = values.slice(0, 0)
        if values.type != self.values.type:
            values = values.cast(self.values.type)
        found = pc.index_in(values, value_set=self.values)
        fresh = pc.unique(values.filter(found.is_null())).drop_null()
        if len(fresh):
            self._append(fresh)
            found = pc.index_in(values, value_set=self.values)
        return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)

    def _append(self, fresh: Any) -> None:
        import pyarrow as pa

        self.values = fresh if self.values is None else pa.concat_arrays([self.values, fresh])


class Span:
    """Numbers for whole numbers from `low` to `high`: how far above the lowest; null is -1."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __len__(self) -> int:
        """Count the values."""
        return self.high - self.low + 1

    def named(self, numbers: Any) -> Any:
        """Give the values behind some numbers, as Arrow."""
        import pyarrow as pa

        return pa.array(numbers + self.low, pa.int64())

    def of(self, column: Any) -> NDArray[np.int32]:
        """Give the numbers of an Arrow column's values, shape (rows,)."""
        import pyarrow as pa

        is_narrow = self.low > -(2**31) and self.high < 2**31
        whole = column.cast(pa.int32() if is_narrow else pa.int64())
        numbers = whole.fill_null(self.low - 1).to_numpy()
        return (numbers - self.low if self.low else numbers).astype(np.int32, copy=False)


def numbering_for(span: tuple[int, int] | None) -> Numbering | Span:
    """Choose how to number values: whole numbers of a range that is not too wide as they are."""
    return Span(*span) if span and span[1] - span[0] < WIDEST else Numbering()
