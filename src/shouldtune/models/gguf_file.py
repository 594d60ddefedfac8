"""Read a GGUF file without trusting it.

Every count and length is checked against what is left of the file before it is used, so that a cut or
hostile file ends as one line (`ModelUnavailable`), never as a traceback, a hang or a huge allocation.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from shouldtune.errors import ModelUnavailable

if TYPE_CHECKING:
    import numpy as np

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MOST_ENTRIES = 100_000
_MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class GgufTensor:
    """Where one tensor lies in the file."""

    name: str
    shape: tuple[int, ...]
    """Row-major: (rows, columns) of a matrix, the reverse of the file's order."""
    kind: int
    """GGML's number for the quantisation."""
    offset: int
    """Bytes from the start of the file."""


class GgufFile:
    """The fields and tensors of a GGUF file; the weights are read when asked for."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises ModelUnavailable when the file is missing, cut, or no GGUF file."""
        self.path = path
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise ModelUnavailable(f"the GGUF file cannot be read: {error}", where=path) from None
        self._at = 0
        if self._take(4) != b"GGUF":
            self._refuse("it does not begin with the letters GGUF")
        version = self._number("<I")
        if version not in (2, 3):
            self._refuse(f"its version is {version}, and only 2 and 3 are known")
        tensors, fields = self._count("<Q"), self._count("<Q")
        self.fields: dict[str, Any] = {}
        for _ in range(fields):
            name = self._string()
            self.fields[name] = self._value(self._number("<I"))
        found = [self._tensor() for _ in range(tensors)]
        alignment = self.fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            self._refuse("its alignment is not a sensible number")
        start = -(-self._at // alignment) * alignment
        self.tensors = {t.name: GgufTensor(t.name, t.shape, t.kind, start + t.offset) for t in found}

    def array(self, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """One tensor, dequantised to float32, row-major. Raises ModelUnavailable when it cannot be."""
        import numpy as np
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import dequantize

        tensor = self.tensors.get(name)
        if tensor is None:
            self._refuse(f"the tensor {name} is missing")
        try:
            kind = GGMLQuantizationType(tensor.kind)
            block, size = GGML_QUANT_SIZES[kind]
        except (ValueError, KeyError):
            self._refuse(f"the tensor {name} has the unknown quantisation {tensor.kind}")
        *rows, columns = tensor.shape
        if columns % block:
            self._refuse(f"the tensor {name} is not a whole number of {kind.name} blocks wide")
        row_bytes = columns // block * size
        total = row_bytes
        for extent in rows:
            total *= extent
        if tensor.offset + total > len(self._bytes):
            self._refuse(f"it is cut short inside the tensor {name}")
        raw = np.frombuffer(self._bytes, np.uint8, total, tensor.offset).reshape(*rows, row_bytes)
        try:
            values = dequantize(raw, kind)
        except NotImplementedError:
            self._refuse(f"the quantisation {kind.name} of the tensor {name} cannot be read")
        if not np.isfinite(values).all():
            self._refuse(f"the tensor {name} holds values that are not finite")
        result: np.ndarray[Any, np.dtype[np.float32]] = values.astype(np.float32, copy=False)
        return result

    def _refuse(self, why: str) -> NoReturn:
        raise ModelUnavailable(
            f"not a usable GGUF file: {why}", where=self.path, hint="download it again, or convert the model anew"
        )

    def _take(self, count: int) -> bytes:
        if count > len(self._bytes) - self._at:
            self._refuse("it is cut short")
        self._at += count
        return self._bytes[self._at - count : self._at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _count(self, form: str) -> int:
        count: int = self._number(form)
        if count > _MOST_ENTRIES:
            self._refuse(f"it claims {count} entries in its header")
        return count

    def _string(self) -> str:
        return self._take(self._number("<Q")).decode("utf-8", errors="replace")

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        self._refuse(f"a field has the unknown type {kind}")

    def _array(self) -> list[Any]:
        kind, count = self._number("<I"), self._number("<Q")
        if kind in _SCALARS:
            form = _SCALARS[kind]
            raw = self._take(count * struct.calcsize(form))
            return list(struct.unpack(f"<{count}{form[1]}", raw))
        if kind != _STRING or count * 8 > len(self._bytes) - self._at:  # 8 bytes: the shortest string
            self._refuse("an array in its header is malformed")
        return [self._string() for _ in range(count)]

    def _tensor(self) -> GgufTensor:
        name = self._string()
        dimensions = self._number("<I")
        if not 0 < dimensions <= _MOST_DIMENSIONS:
            self._refuse(f"the tensor {name[:60]} has {dimensions} dimensions")
        shape = tuple(self._number("<Q") for _ in range(dimensions))
        return GgufTensor(name, shape[::-1], self._number("<I"), self._number("<Q"))
