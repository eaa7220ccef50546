"""What tests of CLIP share: go on under the Python of tests/oracles.sh, or skip."""
import os
import subprocess
import sys

SOURCE = os.environ.get("NPR_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.environ.get("NPR_TEST_DATA", os.path.join(SOURCE, "../shared/data"))


def oracle_python():
    """Path of the python that has open_clip, or None where it was not made (and NPR_ORACLES is not 1)."""
    found = subprocess.run(["bash", os.path.join(SOURCE, "tests/oracles.sh"), "--print"], capture_output=True, text=True)
    if found.returncode == 77:
        return None
    if found.returncode:
        sys.exit(f"tests/oracles.sh failed with {found.returncode}: {found.stderr}")
    return found.stdout.splitlines()[-1]


def skip(why):
    print(f"skipped: {why}", file=sys.stderr)
    sys.exit(77)


def need_oracle():
    """Start this script again under that python, once."""
    if os.environ.get("NPR_ORACLE_PYTHON"):
        return
    python = oracle_python()
    if not python:
        skip("no open_clip to compare with: bash tests/oracles.sh")
    os.execve(python, [python, "-W", "ignore", *sys.argv], {**os.environ, "NPR_ORACLE_PYTHON": python})
