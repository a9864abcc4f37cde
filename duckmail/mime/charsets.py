"""The one allow-list from charset names in mail to codecs.

A name outside it selects nothing: then the octets are UTF-8 if they can be, else Windows-1252. Every codec here is
linear (a test times each) and gives valid Unicode. Where mail software says one charset and means its superset (WHATWG
Encoding §4.2), the superset decodes.
"""

import codecs
import re
from functools import lru_cache
from typing import Protocol

_GUESS = ""
_MAX_NAME = 80
_KEPT = 128  # names that are remembered
_JUNK = re.compile("[^0-9a-z]")

# Codec -> the names for it. Case and everything but letters and digits are ignored, as is a leading "x-".
_NAMES: dict[str, str] = {
    "utf_8": "utf-8 utf8mb4 unicode-1-1-utf-8 cp65001 utf-8-mac",
    "utf_7": "utf-7 unicode-1-1-utf-7 unicode-2-0-utf-7 csutf7 cp65000",
    "utf_16": "utf-16 utf16 unicode ucs-2 iso-10646-ucs-2 csunicode",
    "utf_16_le": "utf-16le",
    "utf_16_be": "utf-16be unicodefffe unicode-1-1 csunicode11",
    "utf_32": "utf-32 ucs-4 iso-10646-ucs-4",
    "utf_32_le": "utf-32le",
    "utf_32_be": "utf-32be",
    "cp1252": "iso-8859-1 iso_8859-1:1987 iso-ir-100 latin1 latin-1 l1 ibm819 cp819 csisolatin1 8859-1 iso-latin-1"
    " windows-1252 cp1252 ansi",
    "iso8859_2": "iso-8859-2 iso_8859-2:1987 iso-ir-101 latin2 l2 csisolatin2 8859-2",
    "iso8859_3": "iso-8859-3 iso_8859-3:1988 iso-ir-109 latin3 l3 csisolatin3",
    "iso8859_4": "iso-8859-4 iso_8859-4:1988 iso-ir-110 latin4 l4 csisolatin4",
    "iso8859_5": "iso-8859-5 iso_8859-5:1988 iso-ir-144 cyrillic csisolatincyrillic",
    "iso8859_6": "iso-8859-6 iso_8859-6:1987 iso-ir-127 arabic asmo-708 ecma-114 csisolatinarabic"
    " iso-8859-6-e iso-8859-6-i",
    "iso8859_7": "iso-8859-7 iso_8859-7:1987 iso-ir-126 greek greek8 ecma-118 elot-928 csisolatingreek",
    "iso8859_8": "iso-8859-8 iso_8859-8:1988 iso-ir-138 hebrew csisolatinhebrew iso-8859-8-e"
    " iso-8859-8-i logical visual",
    "cp1254": "iso-8859-9 iso_8859-9:1989 iso-ir-148 latin5 l5 csisolatin5 windows-1254 cp1254",
    "iso8859_10": "iso-8859-10 iso-ir-157 latin6 l6 csisolatin6",
    "cp874": "iso-8859-11 tis-620 tis-620-0 windows-874 cp874 dos-874",
    "iso8859_13": "iso-8859-13 latin7 l7",
    "iso8859_14": "iso-8859-14 iso-ir-199 latin8 l8 iso-celtic",
    "iso8859_15": "iso-8859-15 latin9 latin-9 l9 csisolatin9 iso-8859-15-1",
    "iso8859_16": "iso-8859-16 iso-ir-226 latin10 l10",
    "cp1250": "windows-1250 cp1250",
    "cp1251": "windows-1251 cp1251 win-1251",
    "cp1253": "windows-1253 cp1253",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "koi8_r": "koi8-r koi koi8 koi8r cskoi8r",
    "koi8_u": "koi8-u koi8-ru",
    "koi8_t": "koi8-t",
    "kz1048": "kz-1048 rk1048 strk1048-2002",
    "ptcp154": "ptcp154 pt154 cp154 cyrillic-asian",
    "gb18030": "gb18030 gbk gb2312 gb_2312-80 csgb2312 cp936 windows-936 ms936 csiso58gb231280 chinese"
    " euc-cn iso-ir-58",
    "hz": "hz hz-gb-2312 hzgb",
    "cp950": "big5 big-5 csbig5 cn-big5 cp950 windows-950",
    "big5hkscs": "big5-hkscs big5hkscs",
    "cp932": "shift_jis shift-jis sjis ms_kanji csshiftjis windows-31j cp932 ms932 mskanji",
    "shift_jis_2004": "shift_jis-2004 shift_jisx0213",
    "euc_jp": "euc-jp eucjp cseucpkdfmtjapanese extended_unix_code_packed_format_for_japanese ujis",
    "euc_jis_2004": "euc-jis-2004 euc-jisx0213",
    "iso2022_jp_ext": "iso-2022-jp csiso2022jp iso-2022-jp-1 iso-2022-jp-ext cp50220 cp50221 iso-2022-jp-ms",
    "iso2022_jp_2": "iso-2022-jp-2 csiso2022jp2",
    "iso2022_jp_3": "iso-2022-jp-3",
    "iso2022_jp_2004": "iso-2022-jp-2004",
    "cp949": "euc-kr euckr ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 korean iso-ir-149 cseuckr csksc56011987 cp949"
    " windows-949 uhc ks_c_5601",
    "iso2022_kr": "iso-2022-kr csiso2022kr",
    "johab": "johab cp1361 ms1361",
    "mac_roman": "macintosh mac macroman csmacintosh",
    "mac_latin2": "maccentraleurope mac-ce maclatin2",
    "mac_cyrillic": "mac-cyrillic maccyrillic mac-ukrainian",
    "mac_greek": "mac-greek",
    "mac_turkish": "mac-turkish",
    "mac_iceland": "mac-icelandic",
    "hp_roman8": "hp-roman8 roman8 r8",
    "cp437": "ibm437 cp437 437 cspc8codepage437",
    "cp720": "cp720 dos-720",
    "cp737": "ibm737 cp737",
    "cp775": "ibm775 cp775",
    "cp850": "ibm850 cp850 850 cspc850multilingual",
    "cp852": "ibm852 cp852 852",
    "cp855": "ibm855 cp855",
    "cp857": "ibm857 cp857",
    "cp858": "ibm858 ibm00858 cp858",
    "cp860": "ibm860 cp860",
    "cp861": "ibm861 cp861",
    "cp862": "ibm862 cp862 dos-862",
    "cp863": "ibm863 cp863",
    "cp864": "ibm864 cp864",
    "cp865": "ibm865 cp865",
    "cp866": "ibm866 cp866 866 csibm866",
    "cp869": "ibm869 cp869",
    # Octets above 127 under this name are somebody's UTF-8 or Windows-1252.
    _GUESS: "us-ascii ascii us ansi_x3.4-1968 ansi_x3.4-1986 iso_646.irv:1991 iso646-us iso-ir-6 ibm367 cp367"
    " csascii 646",
}


class Decoder(Protocol):
    """Decodes one text in pieces; a character may be cut anywhere."""

    def decode(self, data: bytes, final: bool = False, /) -> str: ...


class _GuessDecoder:
    """UTF-8 as long as it can be; from the first octets that are not, Windows-1252."""

    def __init__(self) -> None:
        self._utf8: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf_8_sig")("strict")

    def decode(self, data: bytes, final: bool = False, /) -> str:
        if self._utf8 is not None:
            held = self._utf8.getstate()[0]
            try:
                return self._utf8.decode(data, final)
            except UnicodeDecodeError:
                self._utf8 = None
                data = held + data
        return data.decode("cp1252", "replace")


class _MarkedDecoder:
    """UTF-16 and UTF-32 with a byte order mark, or little endian as without one it mostly is; the incremental codecs of
    the standard library refuse texts that have none."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._mark = 4 if codec == "utf_32" else 2
        self._held = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def decode(self, data: bytes, final: bool = False, /) -> str:
        if self._decoder is not None:
            return self._decoder.decode(data, final)
        self._held += data
        if len(self._held) < self._mark and not final:
            return ""
        big = self._held.startswith(codecs.BOM_UTF32_BE if self._codec == "utf_32" else codecs.BOM_UTF16_BE)
        self._decoder = codecs.getincrementaldecoder(f"{self._codec}_{'be' if big else 'le'}")("replace")
        return self._decoder.decode(self._held, final).removeprefix("\ufeff")


class _Utf7Decoder:
    """UTF-7 (RFC 2152). The incremental codec of the standard library keeps a whole unfinished shift sequence and reads
    it again with every piece, which is quadratic. Lines end a shift sequence, so pieces are cut there."""

    def __init__(self) -> None:
        self._held = b""

    def decode(self, data: bytes, final: bool = False, /) -> str:
        data = self._held + data
        cut = len(data) if final or len(data) > 65536 else data.rfind(b"\n") + 1
        self._held = data[cut:]
        text = data[:cut].decode("utf_7", "replace")
        # The codec gives lone surrogates, which are no text and could not be stored.
        return text.encode("utf_16_le", "surrogatepass").decode("utf_16_le", "replace")


_EXTEND_ASCII = frozenset((_GUESS, "utf_8", "cp1252", "iso8859_2", "iso8859_15", "cp1250", "cp1251", "koi8_r"))


def _key(name: str) -> str:
    return _kept_key(name[:_MAX_NAME]) if name else name


@lru_cache(_KEPT)
def _kept_key(name: str) -> str:
    return _JUNK.sub("", name.lower().removeprefix("x-"))


_CODECS: dict[str, str] = {_key(name): codec for codec, names in _NAMES.items() for name in names.split()}


def known(charset: str) -> bool:
    """Whether the name is on the list."""
    return _key(charset) in _CODECS


def extends_ascii(charset: str) -> bool:
    """Whether octets below 128 are ASCII in it, whatever is before them: true of all common ones."""
    return _CODECS.get(_key(charset), _GUESS) in _EXTEND_ASCII


def decoder(charset: str) -> Decoder:
    """A decoder for one text in pieces; an unknown charset is guessed. It never raises."""
    codec = _CODECS.get(_key(charset), _GUESS)
    if codec == _GUESS:
        return _GuessDecoder()
    if codec == "utf_7":
        return _Utf7Decoder()
    if codec in ("utf_16", "utf_32"):
        return _MarkedDecoder(codec)
    if codec == "utf_8":
        codec = "utf_8_sig"  # a byte order mark is no text
    return codecs.getincrementaldecoder(codec)("replace")


def decode(data: bytes, charset: str) -> str:
    """The text of `data`: valid Unicode, U+FFFD for what the charset does not have. Never raises."""
    if not data:
        return ""
    codec = _CODECS.get(_key(charset), _GUESS) if charset else _GUESS
    if codec == _GUESS:
        try:
            return data.decode("utf_8").removeprefix("\ufeff")
        except UnicodeDecodeError:
            return data.decode("cp1252", "replace")
    if codec in ("utf_7", "utf_16", "utf_32"):
        return decoder(charset).decode(data, True)
    text = data.decode(codec, "replace")
    return text.removeprefix("\ufeff") if codec == "utf_8" else text
