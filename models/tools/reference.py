#!/usr/bin/env python3
"""Numpy reference of the detector, and the maker of what the Rust tests compare with.

Needs numpy, opencv-python-headless, onnxruntime and the ffmpeg program. Tests never run it: they read what it wrote.

    reference.py frozen  MODELS OUT_DIR VIDEO   output tensors (sparse) and the boxes they decode to, by family
    reference.py frames  MODELS OUT_DIR VIDEO   boxes of ten frames of a video, end to end, by model
    reference.py resize  OUT_DIR                a small picture and what cv2.resize makes of it

MODELS is a folder with the .onnx files; VIDEO is vtest.avi of Debian's opencv-doc.
"""
import json
import subprocess
import sys

import cv2
import numpy as np

NMS_IOU = 0.6


def nms(boxes, scores, labels, iou=NMS_IOU, top=1000, keep=300):
    """Greedy, by label: boxes of different labels are moved apart so that they never overlap."""
    order = np.argsort(-scores, kind="stable")[:top]
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    apart = boxes + labels[:, None] * 8192.0
    x1, y1, x2, y2 = apart.T
    area = (x2 - x1).clip(0) * (y2 - y1).clip(0)
    kept, rest = [], np.arange(len(scores))
    while len(rest) and len(kept) < keep:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        w = (np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])).clip(0)
        h = (np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])).clip(0)
        shared = w * h
        rest = rest[shared / (area[best] + area[rest] - shared + 1e-9) <= iou]
    return boxes[kept], scores[kept], labels[kept]


def letterbox(image, side, pad):
    h, w = image.shape[:2]
    ratio = min(side / w, side / h)
    out = np.full((side, side, 3), pad, np.uint8)
    nw, nh = round(w * ratio), round(h * ratio)
    out[:nh, :nw] = cv2.resize(image, (nw, nh), interpolation=cv2.INTER_LINEAR)
    return out, (ratio, ratio)


def stretch(image, side):
    h, w = image.shape[:2]
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR), (side / w, side / h)


def chw(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)


class Nanodet:
    name, side, strides = "images", 416, (8, 16, 32)

    def prepare(self, image):
        boxed, scale = letterbox(image, self.side, 0)
        mean, std = np.float32([103.53, 116.28, 123.675]), np.float32([57.375, 57.12, 58.395])
        return chw((boxed.astype(np.float32) - mean) / std), scale

    def decode(self, outputs, threshold):
        half = len(outputs) // 2
        boxes, scores, labels = [], [], []
        for stride, cls, dis in zip(self.strides, outputs[:half], outputs[half:]):
            cls, dis = cls[0], dis[0]
            columns = -(-self.side // stride)
            cell, label = np.nonzero(cls >= threshold)
            logits = dis[cell].reshape(len(cell), 4, dis.shape[1] // 4).astype(np.float64)
            weight = np.exp(logits - logits.max(-1, keepdims=True))
            weight /= weight.sum(-1, keepdims=True)
            left, top, right, bottom = ((weight * np.arange(logits.shape[-1])).sum(-1) * stride).T
            x, y = (cell % columns + 0.5) * stride, (cell // columns + 0.5) * stride
            boxes.append(np.stack([x - left, y - top, x + right, y + bottom], 1))
            scores.append(cls[cell, label])
            labels.append(label)
        return np.concatenate(boxes), np.concatenate(scores), np.concatenate(labels)


class Picodet(Nanodet):
    name, strides = "image", (8, 16, 32, 64)

    def prepare(self, image):
        resized, scale = stretch(image, self.side)
        mean, std = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
        return chw((resized[:, :, ::-1].astype(np.float32) - mean) / std), scale


class Yolox:
    name, side, strides = "images", 416, (8, 16, 32)

    def prepare(self, image):
        boxed, scale = letterbox(image, self.side, 114)
        return chw(boxed), scale

    def decode(self, outputs, threshold):
        values = outputs[0][0].astype(np.float64)
        grids, strides = [], []
        for stride in self.strides:
            y, x = np.mgrid[: self.side // stride, : self.side // stride]
            grids.append(np.stack([x, y], -1).reshape(-1, 2))
            strides.append(np.full((len(grids[-1]), 1), stride))
        grid, stride = np.concatenate(grids), np.concatenate(strides)
        center, size = (values[:, :2] + grid) * stride, np.exp(values[:, 2:4]) * stride
        score = values[:, 4:5] * values[:, 5:]
        cell, label = np.nonzero(score >= threshold)
        corners = np.concatenate([center - size / 2, center + size / 2], 1)
        return corners[cell], score[cell, label], label


class BoxesScores:
    """Fractions of the input, left top right bottom, as SSD exports give them."""

    side = 416

    def decode(self, outputs, threshold):
        boxes, scores = outputs[0][0], outputs[1][0]
        cell, label = np.nonzero(scores >= threshold)
        return boxes[cell] * self.side, scores[cell, label], label


MODELS = {
    "nanodet_g_416_int8": Nanodet(),
    "yolox_nano_416": Yolox(),
    "picodet_s_416": Picodet(),
}


def finish(candidates, scale, size):
    boxes, scores, labels = candidates
    boxes = boxes / np.array([scale[0], scale[1], scale[0], scale[1]])
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, size[0])
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, size[1])
    return nms(boxes, scores, labels)


def rows(boxes, scores, labels):
    return [
        {"label": int(label), "score": float(score), "box": [float(v) for v in box]}
        for box, score, label in zip(boxes, scores, labels)
    ]


def frames_of(video):
    """Pictures in BGR, converted here and not by a library, so that everyone can start from the same pixels."""
    size = cv2.VideoCapture(video).read()[1].shape
    h, w = size[:2]
    command = ["ffmpeg", "-v", "error", "-i", video, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while len(planes := process.stdout.read(h * w * 3 // 2)) == h * w * 3 // 2:
            yield bgr_of_bt601(np.frombuffer(planes, np.uint8), w, h)


def bgr_of_bt601(planes, w, h):
    """I420 with 16..235 levels; chroma repeated over its four pixels."""
    luma, u, v = np.split(planes.astype(np.float64), [h * w, h * w * 5 // 4])
    u, v = (c.reshape(h // 2, w // 2).repeat(2, 0).repeat(2, 1) for c in (u, v))
    y = (luma.reshape(h, w) - 16) * 255 / 219
    cb, cr = (u - 128) * 255 / 224, (v - 128) * 255 / 224
    kr, kg, kb = 0.299, 0.587, 0.114
    b, r = y + 2 * (1 - kb) * cb, y + 2 * (1 - kr) * cr
    g = y - 2 * (1 - kb) * kb / kg * cb - 2 * (1 - kr) * kr / kg * cr
    return np.rint(np.stack([b, g, r], -1).clip(0, 255)).astype(np.uint8)


def session(folder, model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(f"{folder}/{model}.onnx", options, providers=["CPUExecutionProvider"])


def sparse(array, keep):
    """Only the rows in `keep`; the others are zeros. Three decimals: the frozen tensors are what stands in the file."""
    flat = array.reshape(array.shape[1], array.shape[2])
    entries = {str(int(i)): [round(float(v), 3) or 0 for v in flat[i]] for i in keep}
    dense = np.zeros_like(flat)
    for index, values in entries.items():
        dense[int(index)] = values
    return {"shape": list(array.shape), "rows": entries}, dense[None]


def freeze(folder, out, video, threshold=0.1):
    # A quarter of the picture, so that people are large enough for the coarser strides too.
    image = next(frame for n, frame in enumerate(frames_of(video)) if n == 400)[150:438, 250:634]
    size = (image.shape[1], image.shape[0])
    frozen = []
    for model, family in MODELS.items():
        tensor, scale = family.prepare(image)
        outputs = session(folder, model).run(None, {family.name: tensor})
        if isinstance(family, Yolox):
            scores = [outputs[0][0][:, 4] * outputs[0][0][:, 5:].max(1)]
            keeps = [np.nonzero(scores[0] >= threshold)[0]]
        else:
            half = len(outputs) // 2
            keeps = 2 * [np.nonzero(cls[0].max(1) >= threshold)[0] for cls in outputs[:half]]
        pairs = [sparse(o, k) for o, k in zip(outputs, keeps)]
        boxes = finish(family.decode([dense for _, dense in pairs], threshold), scale, size)
        frozen.append(entry(model, pairs, scale, size, threshold, boxes))
        if isinstance(family, Yolox):
            frozen.append(plain_boxes(outputs, keeps[0], scale, size, threshold))
    for one in frozen:
        with open(f"{out}/{one['model']}.json", "w") as file:
            json.dump(one, file, separators=(",", ":"))


def plain_boxes(outputs, keep, scale, size, threshold):
    """YOLOX's boxes of every cell, as a network would give them that decodes by itself."""
    family, values = Yolox(), outputs[0][0]
    every = values.copy()
    every[:, 4], every[:, 5:] = 1, 0
    every[:, 5] = 1
    boxes, _, _ = family.decode([every[None]], 0.5)
    scores = values[:, 4:5] * values[:, 5:]
    pairs = [sparse((boxes / family.side)[None].astype(np.float32), keep), sparse(scores[None], keep)]
    found = finish(BoxesScores().decode([dense for _, dense in pairs], threshold), scale, size)
    return entry("boxes_scores", pairs, scale, size, threshold, found)


def entry(model, pairs, scale, size, threshold, boxes):
    return {
        "model": model,
        "tensors": [fixture for fixture, _ in pairs],
        "scale": list(scale),
        "picture": list(size),
        "threshold": threshold,
        "boxes": rows(*boxes),
    }


def end_to_end(folder, out, video, threshold=0.3):
    wanted = set(range(10, 795, 80))
    images = {n: frame for n, frame in enumerate(frames_of(video)) if n in wanted}
    for model, family in MODELS.items():
        run, found = session(folder, model), {}
        for n, image in images.items():
            tensor, scale = family.prepare(image)
            outputs = run.run(None, {family.name: tensor})
            found[n] = rows(*finish(family.decode(outputs, threshold), scale, (image.shape[1], image.shape[0])))
        with open(f"{out}/{model}.json", "w") as file:
            json.dump({"model": model, "threshold": threshold, "frames": found}, file, separators=(",", ":"))


def resize(out):
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 256, (45, 60, 3), np.uint8), (0, 0), 1.2)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    cases = {f"{w}x{h}": cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR) for w, h in [(24, 18), (30, 23), (97, 80)]}
    with open(f"{out}/resize.json", "w") as file:
        json.dump(
            {
                "width": 60,
                "height": 45,
                "rgb": image.reshape(-1).tolist(),
                "resized": {size: picture.reshape(-1).tolist() for size, picture in cases.items()},
            },
            file,
            separators=(",", ":"),
        )


if __name__ == "__main__":
    what = {"frozen": freeze, "frames": end_to_end, "resize": resize}
    what[sys.argv[1]](*sys.argv[2:])
