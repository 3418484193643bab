"""Checks that Python's tokenizers reads a tokenizer.json of ours and gives the ids that Java gave.

Not part of the build. IDS holds one JSON array a line: what Tokenizer.encode gave for the same line of TEXT.

    python core/src/test/python/tokenizer_parity.py TOKENIZER_JSON TEXT IDS

Prints one line and exits 1 when a line differs or does not decode back exactly.
"""

import json
import sys

from tokenizers import Tokenizer


def main(tokenizer_path: str, text_path: str, ids_path: str) -> int:
    tokenizer = Tokenizer.from_file(tokenizer_path)
    lines = differing = tokens = size = 0
    with open(text_path, encoding="utf-8", newline="\n") as texts, open(ids_path) as ids:
        for text, java in zip(texts, ids, strict=True):
            text, java = text.rstrip("\n"), json.loads(java)
            lines += 1
            tokens += len(java)
            size += len(text.encode())
            if tokenizer.encode(text).ids != java or tokenizer.decode(java) != text:
                differing += 1
    print(f"{lines} lines, {differing} differ, {size / tokens:.3f} bytes per token")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
