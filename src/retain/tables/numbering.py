"""Numbers for values of Arrow columns, given in the order in which they are met."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Numbering"]

WIDEST = 1 << 26  # whole numbers in a range of this size are looked up in an array


class Numbering:
    """Numbers for values, in the order in which they are met; null is -1."""

    def __init__(self) -> None:
        self.values: Any = None
        self._low, self._lookup = 0, np.zeros(0, dtype=np.int32)

    def __len__(self) -> int:
        """Count the values."""
        return 0 if self.values is None else len(self.values)

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
            if span["min"] is not None and self._reaches(span["min"], span["max"]):
                return self._looked_up(column)
        elif not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        if pa.types.is_dictionary(column.type):
            codes = np.append(self._met(column.dictionary), np.int32(-1))
            return codes[column.indices.fill_null(len(codes) - 1).to_numpy(zero_copy_only=False)]
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
        place = (column.fill_null(self._low) if has_null else column).to_numpy() - self._low
        codes = self._lookup[place]
        valid: Any = None
        if has_null:
            valid = column.is_valid().to_numpy(zero_copy_only=False)
            codes = np.where(valid, codes, np.int32(-1))
            fresh = place[(codes < 0) & valid]
        elif codes.min() >= 0:
            return codes
        else:
            fresh = place[codes < 0]
        if len(fresh):
            turn = np.arange(len(fresh), dtype=np.int32)
            self._lookup[fresh] = turn  # of equal ones the last stays: each is kept once
            fresh = fresh[self._lookup[fresh] == turn]
            self._lookup[fresh] = np.arange(len(self), len(self) + len(fresh), dtype=np.int32)
            self._append(pa.array(fresh + self._low))
            again = self._lookup[place]
            codes = np.where(valid, again, np.int32(-1)) if has_null else again
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
