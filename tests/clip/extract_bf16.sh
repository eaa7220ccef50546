#!/bin/bash
# bfloat16 end to end on painted pictures (SYNTHETIC) with the small CLIP that was trained on them. Where the CPU has no bfloat16, npr-extract
# refuses it and says why, and what the same program computes with an emulation in oneDNN's place (dnn_emulated.c) is compared with fp32, with
# numpy, and with PyTorch where it is installed.
# shellcheck source=tests/lib.sh
source "$(dirname "$0")/../lib.sh"
/usr/bin/python3 -c 'import numpy, h5py, PIL' 2>/dev/null || { echo "skipped: needs numpy, h5py and Pillow" && exit 77; }
cd "$TMP"
small=${NPR_SOURCE:?}/jobs/minilaion
model=(--model="$small/model.safetensors" --config="$small/config.json")
read -ra size <<<"${NPR_BF16_WORLD:---classes=40 --tests=5}" # the study in results/notes/bfloat16.md: --classes=200 --tests=6
must 2 npr-minilaion --out=world --rows=16 --val=1 --shots=1 "${size[@]}"
pictures=(--images=world/phrases/test "${model[@]}" --kind=test --part-rows=100)
prompts=(--classes=world/phrases/classes.txt --templates="$small/template.txt" --vocab="$small/vocab.txt.gz" "${model[@]}")

emulated=tests/emulated-npr-extract
if grep -q avx512_bf16 /proc/cpuinfo; then
    emulated=npr-extract
else
    expect 78 "bfloat16 needs a CPU with AVX512-BF16 or AMX, which this one does not have: use fp32" 3 npr-extract "${pictures[@]}" --precision=bf16 --out=none
    [ "$(grep -c bfloat16 err)" = 1 ] || fail "a refusal is one sentence: $(cat err)"
    [ ! -e none ] || fail "a refusal leaves a set"
    must 3 npr-extract "${pictures[@]}" --out=auto
    grep -q "precision=auto: fp32, since 3 of 3 ranks lack bfloat16" err || fail "auto does not say what it chose: $(cat err)"
    grep -qx "result.precision=fp32" out || fail "auto: $(grep precision out)"
fi
must 2 npr-extract "${pictures[@]}" --precision=fp32 --out=fp32
must 2 npr-extract "${prompts[@]}" --precision=fp32 --out=head32
[ ! -e auto ] || same auto/part-00000.h5 fp32/part-00000.h5 "auto where there is no bfloat16"
must 2 "$emulated" "${pictures[@]}" --threads=2 --out=bf16
cp out record
grep -qx "result.precision=bf16" record || fail "auto where there is bfloat16: $(grep precision record)"
grep -q "bf16 against fp32 on 32 images: cosine 0.9999" err || fail "the cost is not printed: $(cat err)"
must 2 "$emulated" "${prompts[@]}" --out=head16
must 2 npr-verify --set=bf16

/usr/bin/python3 - "$NPR_SOURCE" "$emulated" <<'PY' || fail "bfloat16's features are not what they should be"
import glob, json, os, sys
sys.path.insert(0, sys.argv[1] + "/tests/clip")
import h5py
import numpy as np
from PIL import Image
import lib_clip as clip


def emb(name, column="emb"):
    return np.concatenate([h5py.File(f, "r")[column][:] for f in sorted(glob.glob(name + "/part-*.h5"))]).astype(np.float64)


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def say(what, c):
    print(f"{what}: cosine 1 - {1 - c.mean():.2g} on average, 1 - {1 - c.min():.2g} at worst, of {len(c)}")
    return 1 - c.min()


fp32, bf16 = emb("fp32"), emb("bf16")
record = dict(line.split("=", 1) for line in open("record").read().splitlines())
c = cosines(fp32, bf16)
assert 1e-8 < say("pictures, bfloat16 against fp32", c) < 5e-5
assert abs(float(record["result.fp32.cosine_mean"]) - c.mean()) < 2e-6 and int(record["result.fp32.images"]) == 32
head32, head16 = emb("head32", "weight"), emb("head16", "weight")
assert 1e-8 < say("text head", cosines(head32, head16)) < 5e-5
labels = emb("fp32", "label")
top = [(x @ h.T).argmax(1) for x, h in ((fp32, head32), (bf16, head16))]
print(f"zero-shot top-1: fp32 {np.mean(top[0] == labels):.4f}, bfloat16 {np.mean(top[1] == labels):.4f}; "
      f"{np.sum(top[0] != top[1])} of {len(labels)} pictures are given to another class")
assert np.mean(top[0] != top[1]) < 0.03

# the same rounding ahead of every layer, by others
def rounded(x):
    bits = np.atleast_1d(np.asarray(x, np.float32)).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32).astype(np.float64)


def by_numpy(x, w):
    return rounded(x) @ rounded(w).T


def by_torch(x, w):
    x, w = (torch.tensor(np.atleast_1d(v), dtype=torch.float32).bfloat16().float() for v in (x, w))
    return (x @ w.T).double().numpy()


def all_in_bfloat16(x, w):
    x, w = (torch.tensor(np.atleast_2d(v), dtype=torch.float32).bfloat16() for v in (x, w))
    return (x @ w.T).double().numpy()


ways = {"numpy's emulation": by_numpy}
try:
    import torch
    ways["PyTorch's rounding"] = by_torch
    # what PyTorch's own autocast would do: sums are rounded to bfloat16 too
    ways["PyTorch's products in bfloat16"] = lambda x, w: all_in_bfloat16(x, w).reshape(*np.shape(x)[:-1], len(w))
except ImportError:
    print("no PyTorch: numpy alone")
weights, config = clip.load(sys.argv[1] + "/jobs/minilaion/model.safetensors"), json.load(open(sys.argv[1] + "/jobs/minilaion/config.json"))["model_cfg"]
files = sorted(glob.glob("world/phrases/test/*/*.jpg"), key=os.fsencode)[:20]
pixels = [clip.pixels_of(Image.open(f), config["vision_cfg"]["image_size"]) for f in files]
plain = np.array([clip.image_features(p, weights, config) for p in pixels])
assert say("npr's fp32 against numpy in double", cosines(plain, fp32[:20])) < 2e-7
for name, way in ways.items():
    clip.product = way
    theirs = np.array([clip.image_features(p, weights, config) for p in pixels])
    cost = say(f"{name} against double", cosines(theirs, plain))
    apart = say(f"{name} against npr's bfloat16", cosines(theirs, bf16[:20]))
    if "products" in name:
        assert cost > (1 - c[:20]).mean(), "rounding the sums too cannot cost less"
    else: # as near to npr's as a few values that were rounded the other way allow
        assert apart < 0.5 * cost, f"{name} is another rounding"
PY
done_with extract_bf16
