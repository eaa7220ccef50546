"""The tables in src/clip are facts taken from elsewhere: they must still be what their origin says.

html_table.h: names of characters in HTML 5, from Python's html.entities.
mojibake_table.h: characters by their part in mojibake, and code pages, from ftfy (tests/oracles.sh); without it
only the code pages that Python has itself are compared.

    tables.py --print html|mojibake      prints the file
"""
import html
import html.entities
import os
import re
import sys

import lib_oracle

WIDTH = 108


def wrap(items, indent="    "):
    line = indent
    for item in items:
        if len(line) + len(item) > WIDTH:
            yield line.rstrip()
            line = indent
        line += item + " "
    yield line.rstrip()


def html_table():
    """Sorted names in one text: a binary search needs neither pointers nor a table of offsets."""
    names = html.entities.html5
    records = []
    for name in sorted(n[:-1] for n in names if n.endswith(";")):
        value = "+".join(f"{ord(c):x}" for c in names[name + ";"])
        assert name not in names or names[name] == names[name + ";"]
        records.append(f"{name}={value}{'!' if name in names else ''}")
    assert len(records) == sum(n.endswith(";") for n in names)
    print("/* html_table.h - the names of characters in HTML 5, sorted: NAME=CODE, or NAME=CODE+CODE for two characters, in\n"
          " * hexadecimal; a ! after it: HTML takes this name without its semicolon, too. Printed by\n"
          " * `tests/clip/tables.py --print html`, which asks Python's html.entities, and compares as a test. */\n"
          "/* clang-format off */")
    print("static const char entities[] =")
    lines = list(wrap(records, ""))
    print("\n".join(f'    "{line} "' for line in lines) + ";")
    print("/* clang-format on */")


CLASSES = ["common", "c1", "bad", "law", "currency", "start_punctuation", "end_punctuation", "numeric", "kaomoji",
           "upper_accented", "lower_accented", "upper_common", "lower_common", "box"]
CLUES = ["utf8_first_of_2", "utf8_first_of_3", "utf8_first_of_4", "utf8_continuation", "utf8_continuation_strict"]
SHORT = {"start_punctuation": "START", "end_punctuation": "END", "utf8_continuation": "CONTINUATION",
         "utf8_continuation_strict": "STRICT"}


def short(name):
    return SHORT.get(name, name.replace("utf8_", "").upper())


def mojibake_table():
    from ftfy import badness, chardata

    groups = {**{c: badness.MOJIBAKE_CATEGORIES[c] for c in CLASSES}, **{c: chardata.UTF8_CLUES[c] for c in CLUES}}
    assert set(badness.MOJIBAKE_CATEGORIES) == set(CLASSES) and set(chardata.UTF8_CLUES) == set(CLUES)
    members = {name: re.compile(f"[{chars}]") for name, chars in groups.items()}
    masks = [sum(bool(members[name].match(chr(c))) << i for i, name in enumerate(members)) for c in range(0x10000)]
    assert not any(masks[:0x20] + masks[0x21:0x80])  # of ASCII the space alone continues a sequence
    ranges = []
    for c in range(0x80, 0x10000):
        if not masks[c]:
            continue
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == masks[c]:
            ranges[-1][1] = c
        else:
            ranges.append([c, c, masks[c]])
    print("/* mojibake_table.h - what ftfy 6.3.1 (Robyn Speer, Apache-2.0) knows of characters that appear in mojibake, and\n"
          " * the code pages it tries. Printed by `tests/clip/tables.py --print mojibake`, which asks ftfy and Python's\n"
          " * codecs, and compares as a test. */\n"
          "#include <stdint.h>\n\n/* clang-format off */\nenum {")
    print("\n".join(wrap([f"{short(name)} = 1 << {i}," for i, name in enumerate(members)])))
    print("};\n\n/* Classes of the code points from 0x80 on: first, last, mask. Sorted. */")
    print("static const struct class_range {\n    uint16_t first, last;\n    uint32_t mask;\n} class_ranges[] = {")
    print("\n".join(wrap([f"{{0x{a:x}, 0x{b:x}, 0x{m:x}}}," for a, b, m in ranges])))
    print("};\n")
    pages = chardata.CHARMAP_ENCODINGS
    assert pages[:2] == ["latin-1", "sloppy-windows-1252"]
    assert [p.startswith("sloppy-") for p in pages] == [False] + 6 * [True] + 3 * [False]
    print("/* What the bytes from 0x80 on stand for in each code page after Latin-1, in the order in which they are tried;\n"
          " * bytes that Windows leaves unassigned stand for themselves. In the first SLOPPY ones, the byte 0x1a stands for\n"
          " * the replacement character. */")
    print(f"enum {{ PAGES = {len(pages) - 1}, SLOPPY = {sum(p.startswith('sloppy-') for p in pages)} }};")
    print("static const uint16_t pages[PAGES][128] = {")
    for page in pages[1:]:
        codes = [ord(c) for c in bytes(range(128, 256)).decode(page)]
        assert len(set(codes)) == 128 and bytes(range(0x1b, 0x80)).decode(page) == bytes(range(0x1b, 0x80)).decode("ascii")
        assert all(ord(chr(c).encode(page)) == i + 128 for i, c in enumerate(codes))
        print(f"    {{ /* {page} */")
        print("\n".join(wrap([f"0x{c:x}," for c in codes], "        ")))
        print("    },")
    print("};\n/* clang-format on */")


def same_as_file(make, name):
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        make()
    path = os.path.join(lib_oracle.SOURCE, "src/clip", name)
    if open(path).read() != out.getvalue():
        sys.exit(f"{path} is not what its origin says: compare with {sys.argv[0]} --print")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--print"]:
        if sys.argv[2] != "html":
            lib_oracle.need_oracle()
        {"html": html_table, "mojibake": mojibake_table}[sys.argv[2]]()
        sys.exit()
    if not os.environ.get("NPR_ORACLE_PYTHON"):
        same_as_file(html_table, "html_table.h")
        lib_oracle.need_oracle()
    same_as_file(mojibake_table, "mojibake_table.h")
    print("tables: passed")
