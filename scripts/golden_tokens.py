#!/usr/bin/env python3
"""Writes tests/data/text/tokens.jsonl with the original Python tokenizer of CLIP.

usage: golden_tokens.py > tests/data/text/tokens.jsonl
needs: pip install clip-anytorch==2.6.0 --no-deps; pip install ftfy==6.3.1 regex   (only to write the file again)
Each line: {"text": ..., "tokens": [...], "decoded": ...}.
"""
import importlib.util
import json
import os
import random

# The package's own __init__ imports torch; the tokenizer alone does not need it.
spec = importlib.util.find_spec("clip")
path = os.path.join(os.path.dirname(spec.origin), "simple_tokenizer.py")
spec = importlib.util.spec_from_file_location("simple_tokenizer", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
tokenizer = module.SimpleTokenizer()

CAPTIONS = """
A man in a black and white striped T-shirt, dark jeans and white sneakers is looking down at his phone.
The woman doesn't wear a hat; she's carrying a small red handbag, and she'll be holding an umbrella.
THE BOY HAS ON A GREEN HOODIE WITH THE NUMBER 23 ON IT
a photo of a person wearing a blue raincoat with a hood
a photo of a woman with shoulder-length brown hair
They've got 2 bags, 13 coins & 1,024 problems. I'd say it's #1!!!
He can't, won't, shouldn't, I'm, you're, we've, he'd, it'll
'S 'T 'RE 'VE 'M 'LL 'D rock 'n' roll 'twas
middle-aged, knee-length, light-coloured, high-top, t-shirt
supercalifragilisticexpialidocious antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis
x y z a b c
(parentheses) [brackets] {braces} <tags> "quotes" `ticks` ~tilde~ ^caret^ |bar| back\\slash
http://www.example.org/path?query=1&other=2#frag someone@example.org @handle #hashtag
3.14159 1e-5 0x1F 50% $9.99 £5 €10 ¥100 1/2 10:30am 2024-01-31
...!!!???;;;:::---___+++===***
<|startoftext|> a cat <|endoftext|>
A <|STARTOFTEXT|> in capitals and <|endoftext
""".strip("\n").split("\n")

UNICODE = [
    "", " ", "\t\n", "a", "é", "1", "!", "café naïve façade Ångström Øresund straße œuvre",
    "cafe\u0301 and caf\u00e9", "\u0041\u030a", "\u1e69 \u0073\u0323\u0307", "ſtandard ſ 'ſ x'ſ",
    "İstanbul ıstanbul I i", "ΟΔΥΣΣΕΥΣ ΣΑΣ Σ ΑΣ. ΑΣ'Α Σ' ας", "Привет, мир! ДЕВУШКА В КРАСНОМ ПЛАТЬЕ", "Δοκιμή κειμένου",
    "一个穿着白色衬衫和黑色裤子的男人", "赤いコートを着た女性がバッグを持っている。", "빨간 코트를 입은 여자", "ผู้หญิงใส่เสื้อสีแดง",
    "लाल साड़ी में एक महिला", "امرأة ترتدي معطفا أحمر", "אישה במעיל אדום", "người phụ nữ mặc áo đỏ",
    "👍 👨‍👩‍👧‍👦 🇩🇪 🏳️‍🌈 ❤️ 👩🏽‍🚀", "man🧥woman👗", "½ ¼ ² ³ Ⅷ ⅷ ① ٣ ७ 四", "™ © ® ° § ¶ • – — … ‰ † ‡",
    "“curly” ‘single’ „low“ ‚low‛ «guillemets» ‹one› it’s don’t ‟x‟ ʼn", "ﬁne ﬂow eﬀect oﬃce baﬄe ﬅ ﬆ ĳ Ĳ ǆ ǅ Ǆ Ǉ ǌ ǳ ŉ",
    "Ｆｕｌｌ　ｗｉｄｔｈ　１２３！＂＃＄％＆＇", "ﾊﾝｶｸ ｶﾞｷﾞ ￦￥￡ ￣ ﾡ", "a\u00a0b\u2003c\u202fd\u3000e\u1680f\u2028g\u2029h\u0085i",
    "tab\tnew\nline\r\nand\rreturn\x0bvt\x0cff", "nul\x00 bell\x07 del\x7f bom\ufeff \u206a \ufff9x\ufffb \ufffc esc\x1b[31mred\x1b[0m \x1b[z",
    "zero\u200bwidth \u200d joiner \u2060 soft\u00adhyphen rtl\u200f", "\u0301leading mark", "a\u0301\u0302\u0303", "ᾼ ᾳ ǅ",
    "𝓯𝓪𝓷𝓬𝔂 𝟏𝟐𝟑 𝔸", "𐐀𐐨 𝐀", "x\u0080y \u0093z\u0094", "\ufffd", "Ǆ Ǳ ß ẞ", "ÀÉÎÕÜ ÇÑ", "naïve—dash–dash‐hyphen‑nb",
    "ﷺ ㎏ ㏒ ½", "ⓐ Ⓐ ª º ʰ ˢ", "a_b __c__", "O'Neill's dogs' bone", "rock'n'roll's", "!'s?'t", "''s '''t", "1's 2nd 3rd",
]

ENTITIES = [
    "black &amp; white", "black &amp;amp; white", "black &amp;amp;amp; white", "&amp;amp;amp;amp;amp;lt;", "&lt;b&gt;bold&lt;/b&gt;",
    "<b>x &amp;amp;amp; y</b>", "line one &amp;amp;amp;\nline < two &amp;amp;amp;\nline three &amp;amp;amp;", "&quot;quoted&quot; &#39;single&#39; &#x27;hex&#x27;",
    "&ldquo;curly&rdquo; &lsquo;s&rsquo;", "<&ldquo;curly&rdquo;>", "caf&eacute; caf&EACUTE; &Eacute; &ntilde; &Ntilde; &NTILDE; &nTILDE;", "&szlig; &SZLIG;",
    "&copy 2024 &copyright &ampersand &notit; &notin; &NOTIN; &NOT; &LT; &LTIMES; &AMP &amp", "&nbsp;x&nbsp;&nbsp;y&#160;z",
    "&hearts; &hellip; &mdash; &ndash; &trade; &euro; &pound &yen", "&#8364; &#x20AC; &#128; &#x80; &#150; &#133;", "&#0; &#xD800; &#x110000; &#99999999999999999999;",
    "&#1; &#11; &#31; &#127; &#xFFFE; &#xFDD0; &#13; &#10; &#9;", "&#; &#x; &#xg; & &; &&amp; a&b &unknown; &AMP;lt;", "&#65 &#x41g &#65;&#66;", "&NotEqualTilde; &fjlig; &acE; &Afr;",
    "&CounterClockwiseContourIntegral; &CounterClockwiseContourIntegralx;", "this&not that", "&#59; &semi; &amp;#59;", "&lt;&lt;", "&amp;lt;&amp;gt;", "R&amp;D Q&A AT&T",
    "&THETASYM; &ALPHA; &alpha; &Alpha; &FFLIG;", "&#x1F600; &#128512;", "&#0000000000000000000000065;", "&#000000000000000000000000000065;", "&times; &divide &frac12; &sup2", "&gtcc; &gtx &ltx; &uml &umlx",
]

# UTF-8 read with a wrong code page: each page, twice over, damaged since, and what only looks like it.
MOJIBAKE = [
    *("é à ö“x”—™ €5 “größer” señor 日本 Ж 👗".encode().decode(page) for page in
      ["latin-1", "iso-8859-2", "macroman", "cp437", *(f"sloppy-windows-{n}" for n in (1250, 1251, 1252, 1253, 1254, 1257))]),
    "a woman in a cafÃ© with a naÃ¯ve faÃ§ade", "itâ€™s â€œblackâ€\x9d â€” or â€œblackâ€�", "cafÃƒÂ© twice", "Ã la mode, voilÃ  le travail, Ã s cinco, Ã quele",
    "l’humanitÃ©", "sch\x9an \x93quoted\x94 \x85", "âœ” No problems", "×‘×”×•×“×¢×”", "Ð¶ÐµÐ½Ñ‰Ð¸Ð½Ð°", "ГѓГ© РїСЂРёРІРµС‚", "Î‘Î²Î³ β€™ β€œ", "ā€¯x ā€“",
    "√© ‚Äî ≈ì", "├⌐ ΓÇö", "\xed\xa0\xbd\xed\xb1\x97 in latin", "x \xc0\x80 Ã©", "Ã©\xc0\n", "ðŸ‘— ðŸ‘ ðŸ', ok", "Ã? Â? â€? ï¿½", "Ж and Ã© and 日本 â€™",
    "Å is a unit, 5 Å long; Ã is a letter", "Ôô °C «» ÀÉ", "naïve «café» 30 °C £5 ½ — ok", "œ Œuvre œ.", "&Atilde;&copy; &ATILDE;&COPY;", "<&Atilde;&copy;>",
    "ñªΣ", "a\u0345b",
]

COLOURS = "black white grey gray dark-blue light pink maroon teal khaki beige navy-blue multi-coloured".split()
GARMENTS = "t-shirt hoodie jeans skirt parka windbreaker leggings culottes dungarees overalls sneakers sandals loafers".split()
CARRIED = "backpack handbag umbrella suitcase tote phone newspaper stroller skateboard briefcase".split()
TYPOS = "wering cariyng bleu jeens sneekers hanbag umbrela glases".split()


def sentence(rng):
    """A caption as people write them, now and then with a typo or odd capitals."""
    pick = rng.choice
    s = "%s %s %s a %s %s, %s %s and %s %s" % (
        pick(["A", "The", "This", "a"]), pick(["man", "woman", "girl", "pedestrian", "lady"]), pick(["wearing", "in", "wears", "has on"]),
        pick(COLOURS), pick(GARMENTS), pick(COLOURS), pick(GARMENTS), pick(["carrying", "holds", "pushing"]), pick(CARRIED))
    if rng.random() < 0.3:
        s += " " + pick(TYPOS)
    if rng.random() < 0.2:
        s = s.upper()
    return s + pick([".", "", "!", " ...", "  "])


def texts():
    rng = random.Random(20240131)
    yield from CAPTIONS
    yield from UNICODE
    yield from ENTITIES
    yield from MOJIBAKE
    for _ in range(110):
        yield sentence(rng)
    for _ in range(12):  # random letters reach merges that words do not
        yield "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(1, 40)))
    for _ in range(12):  # random characters of many scripts
        yield "".join(chr(rng.choice([rng.randint(33, 126), rng.randint(0xC0, 0x24F), rng.randint(0x370, 0x3FF), rng.randint(0x4E00, 0x4FFF)]))
                      for _ in range(rng.randint(1, 20)))
    yield " ".join(sentence(rng) for _ in range(12))
    yield "a" * 300
    yield "ab" * 100 + "!" * 50 + "7" * 20


for text in texts():
    tokens = tokenizer.encode(text)
    print(json.dumps({"text": text, "tokens": tokens, "decoded": tokenizer.decode(tokens)}))
