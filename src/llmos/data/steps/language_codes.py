"""Codes of languages: the three letters of ISO 639-2 and 639-3 as the two of ISO 639-1."""

from __future__ import annotations

import re

UNKNOWN = "und"
"""ISO 639-2: undetermined."""

# Each two-letter code with the longer ones of the language, or of its usual standard (639-3).
_TABLE = """
af afr, am amh, an arg, ar ara arb, as asm, az aze azj, ba bak, be bel, bg bul, bn ben, br bre, bs
bos, ca cat, cs ces cze, cy cym wel, da dan, de deu ger, dz dzo, el ell gre, en eng, eo epo, es
spa, et est ekk, eu eus baq, fa fas per pes, fi fin, fo fao, fr fra fre, fy fry, ga gle, gd gla, gl
glg, gu guj, ha hau, he heb, hi hin, hr hrv, ht hat, hu hun, hy hye arm, id ind, ig ibo, is isl
ice, it ita, ja jpn, jv jav, ka kat geo, kk kaz, km khm, kn kan, ko kor, ku kur kmr, ky kir, la
lat, lb ltz, lg lug, ln lin, lo lao, lt lit, lv lav lvs, mg mlg plt, mk mkd mac, ml mal, mn mon
khk, mr mar, ms msa may zsm, mt mlt, my mya bur, ne nep npi, nl nld dut, nn nno, no nor nob nb, oc
oci, om orm gaz, or ori ory, pa pan, pl pol, ps pus pbt, pt por, qu que quy, ro ron rum, ru rus, rw
kin, sa san, se sme, si sin, sk slk slo, sl slv, sn sna, so som, sq sqi alb als, sr srp, st sot, sv
swe, sw swa swh, ta tam, te tel, tg tgk, th tha, tk tuk, tl tgl fil, tr tur, tt tat, ug uig, uk
ukr, ur urd, uz uzb uzn, vi vie, vo vol, wa wln, xh xho, yi yid ydd, yo yor, zh zho chi cmn yue wuu
lzh, zu zul
"""
_SHORT = {
    code: line.split()[0] for line in _TABLE.split(",") for code in line.split() if code.strip()
}
_CODE = re.compile(r"([a-z]{2,3})(?:[-_][A-Za-z0-9]{1,8})*")
_PAIR = re.compile(r"([a-z]{2,3})[-_]([a-z]{2,3})")


def language_code(named: str) -> str:
    """The language alone of a tag such as pt-BR, zh_Hant or eng_Latn: pt, zh, en.

    The Chinese languages that are written in Han characters are zh: written Cantonese and Wu are
    not told from Mandarin reliably. "" for what is no code, such as the name of a language.
    """
    match = _CODE.fullmatch(named.strip())
    return _SHORT.get(match[1], match[1]) if match else ""


def language_pair(named: str) -> tuple[str, ...]:
    """Both languages of a pair such as en-sw; else that of a single tag; none for no code."""
    match = _PAIR.fullmatch(named.strip())
    codes = [language_code(code) for code in match.groups()] if match else [language_code(named)]
    return tuple(dict.fromkeys(filter(None, codes)))
