#!/usr/bin/env python3
"""Holds the quality bench's figures against those of the Python package motmetrics, on the tracks that the bench wrote.

    cargo bench -p edge-agent --bench quality
    pip install --target /tmp/motmetrics motmetrics
    PYTHONPATH=/tmp/motmetrics scripts/compare_motmetrics.py

Prints each figure of the bench and by how much motmetrics' differs; fails if one differs by more than 0.0005 or one count.
Boxes are compared at IoU 0.5; motmetrics gives MOTP as a distance, 1 - IoU.
"""
import json
import pathlib
import sys

import motmetrics
import numpy
import pandas

TARGET = pathlib.Path(__file__).resolve().parent.parent / "target"
COLUMNS = ["FrameId", "Id", "X", "Y", "Width", "Height"]
FIGURES = {
    "recall": "recall",
    "precision": "precision",
    "mota": "mota",
    "motp_iou": "motp",
    "idf1": "idf1",
    "switches": "num_switches",
    "fragmentations": "num_fragmentations",
}


def boxes(path):
    table = pandas.read_csv(path, header=None, usecols=range(6), names=COLUMNS)
    return table.set_index("FrameId")


def distances(truth, tracks):
    """1 - IoU, NaN where the two are not the same object."""
    a = truth[COLUMNS[2:]].to_numpy(float)[:, None]
    b = tracks[COLUMNS[2:]].to_numpy(float)[None]
    low = numpy.maximum(a[..., :2], b[..., :2])
    high = numpy.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = (high - low).clip(0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
    iou = shared / union
    return numpy.where(iou >= 0.5, 1 - iou, numpy.nan)


def summary(truth, tracks, step):
    film = motmetrics.MOTAccumulator()
    for frame in range(1, truth.index.max() + 1, step):
        real, found = truth.loc[truth.index == frame], tracks.loc[tracks.index == frame]
        film.update(real["Id"].to_list(), found["Id"].to_list(), distances(real, found), frameid=frame)
    metrics = motmetrics.metrics.create().compute(film, metrics=list(FIGURES.values()))
    figures = {ours: float(metrics[theirs].iloc[0]) for ours, theirs in FIGURES.items()}
    return figures | {"motp_iou": 1 - figures["motp_iou"]}


def main():
    truth = boxes(TARGET / "quality/truth.csv")
    results = json.loads((TARGET / "quality.json").read_text())["results"]
    worst = 0.0
    for result in (one for one in results if one["what"] == "tracks"):
        rate = result["looks_per_second"]
        tracks = boxes(TARGET / f"quality/{result['model']}-{rate:g}.csv")
        theirs = summary(truth, tracks, round(10 / rate))
        print(f"{result['model']} at {rate:g} looks/s")
        for name, value in theirs.items():
            apart = value - result[name]
            worst = max(worst, abs(apart) / (2000 if name in ("switches", "fragmentations") else 1))
            print(f"  {name:<15} {result[name]:10.4f} {apart:+.4f}")
    print("agreed" if worst <= 0.0005 else "NOT AGREED")
    return worst > 0.0005


if __name__ == "__main__":
    sys.exit(main())
