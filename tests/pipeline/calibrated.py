"""A calibration that changes nothing, for tests of other things."""

from collections.abc import Sequence

from pipeline.calibration import Calibration


def uncalibrated(seeds: Sequence[int], classes: int) -> Calibration:
    return Calibration(
        temperature=1.0,
        of_seeds=dict.fromkeys(map(str, seeds), 1.0),
        decision="likeliest",
        tau=0.0,
        priors=[round(1 / classes, 6)] * classes,
        coverage=[],
    )
