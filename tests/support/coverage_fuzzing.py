"""One target under atheris (libFuzzer), which mutates towards code that was not run before; a process of its own.

    python -m tests.support.coverage_fuzzing TARGET INPUTS SEED FOLDER

An input that breaks a promise ends the process with a trace and is written to the folder. Bounds are coarse here, since
counting what runs takes time: `SECONDS_MAX` and `MEGABYTES_MAX` for one input and for the process.
"""

from __future__ import annotations

import sys
from itertools import cycle
from pathlib import Path

SECONDS_MAX = 5
MEGABYTES_MAX = 1024
BYTES_MAX = 4096


def main() -> None:
    """Try the target; libFuzzer ends the process."""
    import atheris  # noqa: PLC0415  # only the long form of the tests has it

    name, inputs, seed, folder = sys.argv[1:]
    with atheris.instrument_imports(include=["gateway"]):
        from tests.support import fuzzing  # noqa: PLC0415  # it must be instrumented
    target = fuzzing.targets()[name]
    turns = cycle([(limits, target.make(limits)) for limits in fuzzing.LIMITS])

    def one_input(data: bytes) -> None:
        limits, attempt = next(turns)
        target.judge(attempt(data), limits)

    known = Path(folder, "known")
    known.mkdir()
    for number, payload in enumerate((*target.seeds, *fuzzing.HEAVY)):
        known.joinpath(str(number)).write_bytes(payload[:BYTES_MAX])
    options = {
        "runs": inputs,
        "seed": seed,
        "max_len": min(BYTES_MAX, target.bytes_max),
        "timeout": SECONDS_MAX,
        "rss_limit_mb": MEGABYTES_MAX,
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 1,
    }
    atheris.Setup(["fuzz", *(f"-{word}={value}" for word, value in options.items()), str(known)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
