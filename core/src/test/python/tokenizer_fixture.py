"""Writes the golden tokenizer fixture of BpeTokenizerTest and PreTokenizerTest with Python's tokenizers library.

Not part of the build. Run from the repository root, with tokenizers 0.23 installed:

    python core/src/test/python/tokenizer_fixture.py core/src/test/resources/io/sparkmoe/data

It trains a 600-id ByteLevel BPE on the cases themselves, saves it as python-bpe-600.json, and writes
python-bpe-600-cases.jsonl: text, ids, and the words of ByteLevel(add_prefix_space=False, use_regex=True).
"""

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

# One sentence in each of Europarl's 21 languages (the first article of the Universal Declaration of Human Rights, which
# is free of rights), then text that trips tokenizers.
TEXTS = [
    "Всички хора се раждат свободни и равни по достойнство и права.",
    "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv.",
    "Alle mennesker er født frie og lige i værdighed og rettigheder.",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "All human beings are born free and equal in dignity and rights.",
    "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "Kõik inimesed sünnivad vabadena ja võrdsetena oma väärikuselt ja õigustelt.",
    "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Minden emberi lény szabadon születik és egyenlő méltósága és joga van.",
    "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis.",
    "Visi cilvēki piedzimst brīvi un vienlīdzīgi savā pašcieņā un tiesībās.",
    "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.",
    "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "Toate ființele umane se nasc libere și egale în demnitate și în drepturi.",
    "Všetci ľudia sa rodia slobodní a sebe rovní, čo sa týka ich dôstojnosti a práv.",
    "Vsi ljudje se rodijo svobodni in imajo enako dostojanstvo in enake pravice.",
    "Alla människor är födda fria och lika i värde och rättigheter.",
    "",
    " ",
    "   three before, two after  ",
    "tab\tand\u00a0no-break\u2003em\u3000ideographic spaces",
    "lines\n\n  indented\r\nwindows\u0085next\u2028separator",
    "it's we'll they've I'd you're I'm don't 'S 'LL ''s",
    "numbers 1,234.50 ٣٤٥ ½ Ⅷ x² 10€/m²",
    "e\u0301 \u00e9 a\u0308\u0323 \u200bzero\u200dwidth \ufeffmark",
    "日本語のテキスト 中文字符 한국어 ไทย हिन्दी",
    "😀👩‍👩‍👧 🇪🇺 \U0001d54f",
    "control\x00\x01\x1c\x1f\x7f\u00ad chars",
    "--- ... ??!! “quotes” «guillemets» <|endoftext> $#@&*",
]


def main(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.save(str(folder / "python-bpe-600.json"), pretty=False)
    byte_of = {c: b for b, c in enumerate(byte_characters())}
    with open(folder / "python-bpe-600-cases.jsonl", "w", encoding="utf-8") as out:
        for text in TEXTS:
            ids = tokenizer.encode(text).ids
            assert tokenizer.decode(ids) == text
            words = [
                bytes(byte_of[c] for c in word).decode()
                for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)
            ]
            out.write(json.dumps({"text": text, "ids": ids, "words": words}) + "\n")


def byte_characters() -> list:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
