"""Reads a portable Roaring bitmap as the format is specified, and prints its numbers, one a line.

https://github.com/RoaringBitmap/RoaringFormatSpec. Shares no code with what wrote the bytes.

    python3 tests/oracle/roaring.py FILE
"""

import struct
import sys

WITHOUT_RUNS = 12346
WITH_RUNS = 12347
# With runs, offsets are written only for as many containers as this.
OFFSETS_FROM = 4
# Of more numbers than this, a container is bits.
MOST_LISTED = 4096


def numbers(data):
    """The numbers of a bitmap; an error if the bytes are none, or go on after it."""
    at = 0

    def take(layout):
        nonlocal at
        values = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return values

    (cookie,) = take("I")
    if cookie & 0xFFFF == WITH_RUNS:
        containers = (cookie >> 16) + 1
        is_run = take(f"{(containers + 7) // 8}B")
        has_offsets = containers >= OFFSETS_FROM
    elif cookie == WITHOUT_RUNS:
        (containers,) = take("I")
        is_run = bytes((containers + 7) // 8)
        has_offsets = True
    else:
        raise ValueError(f"{cookie} begins no bitmap")
    described = [take("HH") for _ in range(containers)]
    offsets = take(f"{containers}I") if has_offsets else None
    found = []
    for place, (key, count_less_one) in enumerate(described):
        count = count_less_one + 1
        if offsets is not None and offsets[place] != at:
            raise ValueError(f"container {place} is not where it should be")
        if is_run[place // 8] >> (place % 8) & 1:
            (runs,) = take("H")
            low = [
                number
                for first, more in (take("HH") for _ in range(runs))
                for number in range(first, first + more + 1)
            ]
        elif count <= MOST_LISTED:
            low = list(take(f"{count}H"))
        else:
            words = take("1024Q")
            low = [
                word * 64 + bit
                for word in range(1024)
                for bit in range(64)
                if words[word] >> bit & 1
            ]
        if len(low) != count:
            raise ValueError(f"container {place} has {len(low)} numbers, not {count}")
        found.extend(key << 16 | number for number in low)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are left")
    return found


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        for number in numbers(file.read()):
            print(number)
