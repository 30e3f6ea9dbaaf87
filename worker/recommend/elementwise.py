"""Logarithms and powers of two over arrays, compiled: several elements at a time.

The compiler turns loops of plain arithmetic into vector instructions, but calls the mathematical
library element by element, at five times the cost. Errors are below those of a last digit and a
half in double precision. The same on every machine: nothing but additions, multiplications and
divisions.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled

_MANTISSA_BITS = 52
_ROOT_HALF_BITS = int(np.float64(np.sqrt(0.5)).view(np.int64))
_ONE_BITS = int(np.float64(1.0).view(np.int64))
_BIAS = _ONE_BITS >> _MANTISSA_BITS
_WHOLE = 6755399441055744.0  # 1.5 × 2⁵²: added to a small number, it leaves its integer in the bits
_WHOLE_BITS = int(np.float64(_WHOLE).view(np.int64))
_LN2 = np.log(np.float64(2.0))
# Of few bits, so that its product with an exponent is exact; and the rest.
_LN2_HIGH = float((_LN2.view(np.int64) & ~0xFFFFFFFF).view(np.float64))
_LN2_LOW = float(_LN2) - _LN2_HIGH
_LOG_STEPS = tuple(2.0 / (2 * n + 1) for n in range(12))
_LOG2_STEPS = tuple(
    float(np.log(2.0) ** n) / float(np.prod(np.arange(1.0, n + 1))) for n in range(13)
)


@compiled
def log_each(values: NDArray[np.float64], scratch: NDArray[np.int64]) -> None:
    """Replace positive numbers by their natural logarithms. scratch: as many, or more.

    That of the power of two, and that of a number 1 + f between √½ and √2 by its series in
    s = f / (2 + f): 2 s (1 + s²/3 + s⁴/5 + …), where 2 s is f - s f, which loses no digit.
    """
    bits, exponents = values.view(np.int64), scratch.view(np.float64)
    for at in range(len(values)):
        biased = (bits[at] - _ROOT_HALF_BITS + _ONE_BITS) >> _MANTISSA_BITS
        bits[at] += _ONE_BITS - (biased << _MANTISSA_BITS)
        scratch[at] = biased + (_WHOLE_BITS - _BIAS)
    for at in range(len(values)):
        power = exponents[at] - _WHOLE
        f = values[at] - 1.0
        s = np.divide(f, 2.0 + f)  # `/` would look for zeros, number by number
        z = s * s
        rest = _LOG_STEPS[11]
        rest = _LOG_STEPS[10] + z * rest
        rest = _LOG_STEPS[9] + z * rest
        rest = _LOG_STEPS[8] + z * rest
        rest = _LOG_STEPS[7] + z * rest
        rest = _LOG_STEPS[6] + z * rest
        rest = _LOG_STEPS[5] + z * rest
        rest = _LOG_STEPS[4] + z * rest
        rest = _LOG_STEPS[3] + z * rest
        rest = _LOG_STEPS[2] + z * rest
        rest = _LOG_STEPS[1] + z * rest
        values[at] = power * _LN2_HIGH + (f - (s * (f - z * rest) - power * _LN2_LOW))


@compiled
def exp2_each(values: NDArray[np.float64], scratch: NDArray[np.int64]) -> None:
    """Replace numbers between -1000 and 1000 by powers of two. scratch: as many, or more."""
    bits = values.view(np.int64)
    wholes = scratch.view(np.float64)
    for at in range(len(values)):
        wholes[at] = values[at] + _WHOLE
        x = values[at] - (wholes[at] - _WHOLE)  # between -½ and ½
        power = _LOG2_STEPS[12]
        power = _LOG2_STEPS[11] + x * power
        power = _LOG2_STEPS[10] + x * power
        power = _LOG2_STEPS[9] + x * power
        power = _LOG2_STEPS[8] + x * power
        power = _LOG2_STEPS[7] + x * power
        power = _LOG2_STEPS[6] + x * power
        power = _LOG2_STEPS[5] + x * power
        power = _LOG2_STEPS[4] + x * power
        power = _LOG2_STEPS[3] + x * power
        power = _LOG2_STEPS[2] + x * power
        power = _LOG2_STEPS[1] + x * power
        values[at] = 1.0 + x * power
    for at in range(len(values)):
        bits[at] += scratch[at] << _MANTISSA_BITS
