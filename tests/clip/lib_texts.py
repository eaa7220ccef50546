"""Texts that try every step of the tokenizer: written by hand, made from captions, made from all of Unicode."""
import random

CODE_PAGES = ["latin-1", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253",
              "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437", "sloppy-windows-1256"]

BY_HAND = [
    "", " ", "a", "A", "a photo of a cat", "It's, we'll, I'd they've you're I'm don't THEY'RE O'Neil 'S 'LL ''s",
    "hello world!!! ... ?! #hashtag @user $5.99 50% (c) [x] {y} <z> a_b a-b a/b", "1234 v2.0 3rd 1,000",
    "<start_of_text>a<end_of_text>", "<START_OF_TEXT>", "x<Start_Of_Text>y <start_of_tex> < start_of_text >",
    "<\u017ftart_of_text> '\u017f it'\u017f", "a\tb\nc\r\nd\re\x0bf\x0cg\x1ch\x1fi\x85j\u2028k\u2029l\xa0m\u3000n",
    "\x00\x01\x7f\x1b[31mred\x1b[0m \x1b[1;31;\u0663m x \x1b[ \x1b[5 \x1b[12;", "\ufeffBOM \u200bzero\u200cwidth\u200d \u2060\u00ad",
    "caf\u00e9 cafe\u0301 na\u00efve r\u00e9sum\u00e9 \u00c5ngstr\u00f6m \u212b \u00df \u1e9e \u0130stanbul I\u0307 \u0131",
    "e\u0323\u0301 e\u0301\u0323 \u1ec7 a\u0345 \u1fb3 a\u0345b \u03b1\u0345 \u0958 \ufb2c \U0001d160 \u0f73 \u0344",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00 \uac00\u11a8 \u3131 \uffa1\uffc2 \uff8a\uff9f \uff76\uff9e\uff9e",
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a3 \u0391\u03a3' \u0391\u03a3.\u0391 A\u03a3: \u03a3\u03a3 \u00aa\u03a3 1\u03a3 a\u0300\u03a3\u0300 \u24d0\u03a3",
    "\u6f22\u5b57\u304b\u306a\u4ea4\u3058\u308a\u6587 \u4e2d\u6587\uff0c\u6807\u70b9\u3002 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f \U0001f44d\U0001f3fd \u00a9\u00ae\u2122 \u2713",
    "\uff26\uff35\uff2c\uff2c\uff57\uff49\uff44\uff54\uff48\uff01 \uff11\uff12 \uffe3 \uffe5 \uffe9 \uff04 \uffa0",
    "\ufb01\ufb02\ufb00\ufb03\ufb04\ufb05\ufb06 \u0132\u0133 \u0149 \u01c4\u01c5\u01c6\u01c7\u01ca\u01f1 \u00e6\u0153 \ufb13",
    "\u201ccurly\u201d \u2018q\u2019 \u201a\u201b\u201e\u201f\u02bc it\u2019s \u00ab\u00bb \u2039\u203a \u2013\u2014\u2026\u2022 \u00b4`",
    "\u00b2\u00b3\u00b9\u00bd\u2153 \u2160\u2170 \u0663\u0969 \u2460 \u3220 \u4e00 \U0001d7d8",
    "&amp; &lt;b&gt; &quot;x&quot; &#39;s &nbsp;x &copy &copy; &eacute;t&eacute; &EACUTE; &SZLIG; &FFILIG; &nTILDE; &hellip;",
    "&amp;amp;amp;lt; &amp;#39; &#x41; &#X41; &#65 &#65x &#0; &#128; &#x99; &#xD800; &#xd83d;&#xde00; &#1114112; &#59; &#x3b;",
    "&notit; &notin; &not &notanentity; &AMPX &COPYSR; &gt &gtx &#; &#x; &; & &a; &bsolhsub; &nGt; &fjlig; &FJLIG; &NotEqualTilde;",
    "&#12ab; &#x12g; &#99999999999999999999; &#000000000000000000000065; &#x1f600; &CounterClockwiseContourIntegral; &hearts;<3",
    "a < b &amp; c\nd &amp; e", "d &amp; e\na < b &amp; c\nf &lt; g", "&ldquo;x&rdquo; &Atilde;&copy;",
    "s\u00c3\u00b3 \u00c3\u00a9t\u00c3\u00a9", "\u00e2\u20ac\u0153quoted\u00e2\u20ac\u009d it\u00e2\u20ac\u2122s", "\u00e2\u20ac\u0153 like this \u00e2\u20ac\ufffd",
    "voil\u00c3 le travail", "\u00c3 la mode", "\u00c3 quele", "The Mona Lisa doesn\u00c3\u0192\u00c2\u00a2\u00c3\u00a2\u00e2\u20ac\u0161\u00c2\u00ac\u00c3\u00a2\u00e2\u20ac\u017e\u00c2\u00a2t",
    "\u0420\u0457\u0421\u0402\u0420\u0451\u0420\u0406\u0420\u00b5\u0421\u201a", "\u00d0\u00bf\u00d1\u0080\u00d0\u00b8\u00d0\u00b2\u00d0\u00b5\u00d1\u201a", "\u00e6\u00bc\u00a2\u00e5\u00ad\u2014", "\u00f0\u0178\u02dc\u20ac", "\u00ed\u00a0\u00bd\u00ed\u00b8\u0080 x\u00c3\u00a9", "\u00c0\u0080 \u00c3\u00a9",
    "\u221a\u00a9t\u221a\u00a9", "\u251c\u00a9t\u251c\u00a9", "\u00c2\u00a9 2020 \u00c2\u00bd price \u00c2\u00a35", "l\u2019humanit\u00e9 \u00c3\u00a9 mixed \u00e9", "\u0080\u0099 \u0081\u008d\u0090 \u0093x\u0094",
    "\ufffd\ufffd \ufffd", "x\u00c2 \u00e2\u20ac\u00a6", "\u00c3\u0081 \u00c3\u00ad \u00c3\n", "\u00e9\u00a0 \u00c2\u00a0\u00c2\u00a0", "\u00f3 \u20ac\u2122 caf\u00e9\u2122 pr\u00eat\u00ae", "\u00d8\u00a7\u00d9\u201e\u00d8\u00b9\u00d8\u00b1\u00d8\u00a8\u00d9\u0160\u00d8\u00a9", "\u00e3\u0081\u201a\u00e3\u0082\u00a2",
    "\u0413\u045e\u0412\u0402\u0412x a", "\u0101\u20ac\u2122", "\u03b2\u20ac\u2122 \u0393\u00a9\u0393", "\u00c5\u00a0koda \u00c4\u0152", "\u00ce\u00b1\u00ce\u00b2\u00ce\u00b3",
    "w" * 500, "ab" * 300, "\u6f22" * 200, "\U0001f600" * 100, "a " * 200, "1" * 100, "aaaaaaab" * 40, "e" + "\u0301\u0323" * 60,
]


def mutate(rng, caption, captions):
    """One caption, damaged the way the web does it, and in ways it does not."""
    text = caption
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice(MUTATIONS)(rng, text, captions)
    return text


def part(rng, text):
    a, b = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
    return a, b


def wrongly_decoded(rng, text, captions):
    a, b = (0, len(text)) if rng.random() < 0.6 else part(rng, text)
    page = rng.choice(CODE_PAGES[:2]) if rng.random() < 0.5 else rng.choice(CODE_PAGES)
    middle = accented(rng, text[a:b])
    for _ in range(rng.choice((1, 1, 1, 2))):
        middle = middle.encode().decode(page, "replace")
    if rng.random() < 0.3:
        middle = middle.replace("\xa0", " ")
    if rng.random() < 0.2:
        middle = "".join("\ufffd" if 0x80 <= ord(c) < 0xa0 else c for c in middle)
    return text[:a] + middle + text[b:]


def accented(rng, text):
    """Some letters changed for others, so that there is something to damage."""
    alphabet = rng.choice(("\u00e9\u00e8\u00e0\u00e7\u00fc\u00f6\u00e4\u00df\u00f1", "\u2019\u2018\u201c\u201d\u2013\u2014\u2026\u2122\u00a9\u00ae", "\u0438\u043f\u0440\u0432\u0435\u0442\u042f", "\u03b1\u03b2\u03b3\u03c3\u03a3",
                           "\u6f22\u5b57\u304b", "\U0001f600\u2764\u2605", "\u010d\u0161\u017e\u0142\u0105\u0119", "\u0627\u0644\u0639", "\xa0\xad\xb7"))
    return "".join(rng.choice(alphabet) if rng.random() < 0.15 else c for c in text)


def strange(rng, text, captions):
    pools = ((0x80, 0x100), (0x100, 0x250), (0x2b0, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xe80), (0x1100, 0x1200),
             (0x1e00, 0x2000), (0x2000, 0x2070), (0x20a0, 0x2200), (0x2200, 0x2600), (0x3000, 0x3100), (0xac00, 0xac80),
             (0xff00, 0xfff0), (0xfb00, 0xfb50), (0x1f300, 0x1f700), (0, 0x80))
    at = rng.randint(0, len(text))
    low, high = rng.choice(pools)
    return text[:at] + "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 4))) + text[at:]


def suspicious(rng, text, captions):
    """Characters that mojibake is made of, at random."""
    pool = "\u00c2\u00c3\u00c4\u00c5\u00ce\u00cf\u00d0\u00d1\u00d8\u00d9\u00e0\u00e2\u00e3\u00e6\u00ed\u00ef\u00f0\u20ac\u2122\u0153\u0152\u201c\u201d\u2018\u2019\u02dc\u00a0\u00ad\u00a9\u00ae\u00a3\u00bd\u00b2\u2026\u0192\u0080\u0099\u009f\u2020 \u00b0\u00b5?\ufffd\u0402\u0432\u0412\u0413\u0420\u0421\u03b2\u0393\u0101\u221a\u201a\u251c\u00c0"
    at = rng.randint(0, len(text))
    return text[:at] + "".join(rng.choice(pool) for _ in range(rng.randint(1, 6))) + text[at:]


def referenced(rng, text, captions):
    names = ("amp", "lt", "gt", "quot", "nbsp", "eacute", "EACUTE", "copy", "hellip", "rsquo", "ldquo", "Atilde", "ccedil", "szlig",
             "SZLIG", "#39", "#x27", "#8217", "#x2019", "#146", "#233", "#xe9", "#195", "not", "notin", "frac12", "times", "zwj")
    at = rng.randint(0, len(text))
    body = rng.choice(("&", "&", "&amp;", "&amp;amp;")) + rng.choice(names) + rng.choice((";", ";", ";", "", "x", " "))
    return text[:at] + body + text[at:]


def raised(rng, text, captions):
    return rng.choice((str.upper, str.title, str.swapcase))(text)


def joined(rng, text, captions):
    return text + rng.choice(("\n", "\r\n", " ", "\u2028", "<br>", "\x1b[1m", "\t", "\x85")) + rng.choice(captions)


MUTATIONS = [wrongly_decoded, wrongly_decoded, wrongly_decoded, strange, suspicious, suspicious, referenced, raised, joined]


def invalid(rng, text):
    """Bytes that are no UTF-8."""
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        data[at:at + rng.randint(0, 2)] = bytes(rng.choice(b"\x80\xbf\xc0\xc2\xe0\xed\xa0\xf0\xf4\xf5\xff\xfe a") for _ in range(rng.randint(0, 3)))
    return bytes(data)


def mutations(n, seed, captions):
    rng = random.Random(seed)
    for _ in range(n):
        text = mutate(rng, rng.choice(captions), captions)
        yield invalid(rng, text) if rng.random() < 0.03 else text.encode("utf-8", "replace")
