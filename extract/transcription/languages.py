"""Language codes: ISO 639-3, which manifests hold, to the codes that Whisper knows."""

from __future__ import annotations

from ...cache.errors import InputError, nearest

_PAIRS = """
eng:en zho:zh cmn:zh deu:de spa:es rus:ru kor:ko fra:fr jpn:ja por:pt tur:tr pol:pl cat:ca nld:nl
ara:ar arb:ar swe:sv ita:it ind:id hin:hi fin:fi vie:vi heb:he ukr:uk ell:el msa:ms zsm:ms ces:cs
ron:ro dan:da hun:hu tam:ta nor:no nob:no tha:th urd:ur hrv:hr bul:bg lit:lt lat:la mri:mi mal:ml
cym:cy slk:sk tel:te fas:fa pes:fa lav:lv lvs:lv ben:bn srp:sr aze:az azj:az slv:sl kan:kn est:et
ekk:et mkd:mk bre:br eus:eu isl:is hye:hy nep:ne npi:ne mon:mn khk:mn bos:bs kaz:kk sqi:sq swa:sw
swh:sw glg:gl mar:mr pan:pa sin:si khm:km sna:sn yor:yo som:so afr:af oci:oc kat:ka bel:be tgk:tg
snd:sd guj:gu amh:am yid:yi ydd:yi lao:lo uzb:uz uzn:uz fao:fo hat:ht pus:ps tuk:tk nno:nn mlt:mt
san:sa ltz:lb mya:my bod:bo tgl:tl fil:tl mlg:mg plt:mg asm:as tat:tt haw:haw lin:ln hau:ha bak:ba
jav:jw sun:su yue:yue
"""
_CODES: dict[str, str] = {pair[:3]: pair[4:] for pair in _PAIRS.split()}


def whisper_code(language: str) -> str:
    """Turn a language into Whisper's code for it.

    Parameters
    ----------
    language : str
        ISO 639-3 (``"spa"``) or Whisper's own code (``"es"``).

    Raises
    ------
    InputError
        Whisper does not know the language.

    Examples
    --------
    >>> whisper_code("spa"), whisper_code("es"), whisper_code("cmn")
    ('es', 'es', 'zh')
    """
    code = language.strip().casefold()
    if code in _CODES:
        return _CODES[code]
    if code in _CODES.values():
        return code
    raise InputError(
        f"language {language!r} is none that Whisper knows; expected ISO 639-3, such as 'spa'."
        f"{nearest(code, list(_CODES))}"
    )
