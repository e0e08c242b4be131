"""Makes python.safetensors by Python's safetensors, and python.json: what torch
says each tensor is (floats widened to double; NaN and infinities as strings).

Run it in the environment of scripts/golden/requirements.txt:

    python make.py
"""

import json
import math
import pathlib

import torch
from safetensors.torch import save_file

SPECIAL = [0.0, -0.0, 1.0, -1.5, 65504.0, 65520.0, 1e-7, 6e-8, 3.3895314e38, 1e39, 1e-40, math.pi,
           1.00390625, 1.01171875, math.inf, -math.inf, math.nan]


def plain(v):
    return v if isinstance(v, (int, bool)) or math.isfinite(v) else repr(v)


def main():
    here = pathlib.Path(__file__).parent
    reals = torch.tensor(SPECIAL, dtype=torch.float64)
    tensors = {
        "f64": reals,
        "f32": reals.to(torch.float32),
        "f16": reals.to(torch.float16),
        "bf16": reals.to(torch.bfloat16),
        "f8_e4m3": reals[:5].to(torch.float8_e4m3fn),
        "f8_e5m2": reals[:5].to(torch.float8_e5m2),
        "f8_e4m3fnuz": reals[:5].to(torch.float8_e4m3fnuz),
        "f8_e5m2fnuz": reals[:5].to(torch.float8_e5m2fnuz),
        "f8_e8m0": torch.tensor([1.0, 2.0, 0.5]).to(torch.float8_e8m0fnu),
        "c64": torch.tensor([1 + 2j, -3.5j], dtype=torch.complex64),
        "i64": torch.tensor([[0, -1], [2**31 - 1, -(2**31)], [7, 8]], dtype=torch.int64),
        "i64.large": torch.tensor([2**31, -(2**63)], dtype=torch.int64),
        "u64": torch.tensor([0, 2**63 + 1], dtype=torch.uint64),
        "i32": torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32),
        "u32": torch.tensor([3, 2**31 - 1], dtype=torch.uint32),
        "i16": torch.tensor([32767, -32768], dtype=torch.int16),
        "u16": torch.tensor([65535], dtype=torch.uint16),
        "i8": torch.tensor([127, -128, -1], dtype=torch.int8),
        "u8": torch.tensor([255, 0], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros((3, 0, 2)),
        'odd "name" <&> \\ é 漢\n': torch.ones(1),
    }
    save_file(tensors, here / "python.safetensors", metadata={"note": 'a "quoted" <note> é'})
    described = {
        name: {
            "shape": list(t.shape),
            "values": [plain(v) for v in t.double().flatten().tolist()] if t.is_floating_point()
            else [plain(int(v)) for v in t.flatten().tolist()] if not t.is_complex() else None,
        }
        for name, t in tensors.items()
    }
    text = json.dumps(described, indent=1, ensure_ascii=True, allow_nan=False)
    (here / "python.json").write_text(text + "\n")


main()
