"""Towers of full size (ViT-B/16 and its text tower, made-up weights) are open_clip's: every block and the features, with
GELU and QuickGELU. It takes a minute and 2 GB, so only with NPR_ORACLES=1."""
import json
import os
import subprocess
import sys
import tempfile

from lib_oracle import DATA, SOURCE, need_oracle, skip

if os.environ.get("NPR_ORACLES") != "1":
    skip("towers of full size are compared with NPR_ORACLES=1 only")
if not os.path.exists(os.path.join(DATA, "clip/ViT-B-16.json")):
    skip("no clip/ViT-B-16.json")
need_oracle()
sys.path.insert(0, os.path.join(SOURCE, "tests/data"))
from make_tiny_clip import make, make_inputs, make_weights  # noqa: E402: needs that python


def main():
    with open(os.path.join(DATA, "clip/ViT-B-16.json")) as f:
        config = json.load(f)
    program = os.path.join(os.environ["NPR_BIN"], "tests/test_clip_forward")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        images, tokens = make_inputs(config, (77, 9, 2))
        make(folder, config, make_weights(config), {"images": images, "tokens": tokens}, ("gelu", "quickgelu"))
        for name in ("gelu", "quickgelu"):
            files = [os.path.join(folder, f"tiny_clip{end}") for end in (f"_{name}.json", ".safetensors", "_expected.safetensors")]
            failed += subprocess.run([program, *files], timeout=500).returncode != 0
    sys.exit(1 if failed else 0)


main()
