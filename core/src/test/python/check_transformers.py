"""Loads our checkpoints with transformers as they are and compares logits with the golden ones.

Not part of `mvn verify`. Write the checkpoints first, then run this (pip install torch transformers safetensors):

  mvn -pl core test -Dtest=GoldenCheckpointTest
  python core/src/test/python/check_transformers.py

Prints one line per case and exits 1 when a logit differs by more than 2e-4 or a weight was not found in the checkpoint.
"""
import argparse
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import DeepseekV3ForCausalLM

TOLERANCE = 2e-4
CORE = pathlib.Path(__file__).resolve().parents[3]


def check(checkpoint, golden):
    folder = max((checkpoint / "checkpoints").glob("step-*")) / "model"
    model, report = DeepseekV3ForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    io = load_file(golden / "io.safetensors")
    with torch.no_grad():
        logits = model.eval()(input_ids=io["input_ids"].long()).logits
    worst = (logits - io["logits"]).abs().max().item()
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    # transformers has no MTP module: its tensors, and only they, may be left over.
    last = f"model.layers.{model.config.num_hidden_layers}."
    unexpected = sorted(key for key in report["unexpected_keys"] if not key.startswith(last))
    passed = worst <= TOLERANCE and not missing and not unexpected
    print(f"{checkpoint.name}: largest difference {worst:.2e}, missing {missing}, unexpected {unexpected}:"
          f" {'ok' if passed else 'FAILED'}")
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=pathlib.Path, default=CORE / "target" / "golden-checkpoints")
    parser.add_argument("--golden", type=pathlib.Path, default=CORE / "src" / "test" / "resources" / "golden")
    arguments = parser.parse_args()
    cases = sorted(path for path in arguments.checkpoints.iterdir() if path.is_dir())
    results = [check(case, arguments.golden / case.name) for case in cases]
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
