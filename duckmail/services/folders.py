"""The mailboxes that every account starts with, named in the account's language."""

from collections.abc import Mapping

from duckmail.model.mailbox import INBOX
from storage.users import Folder

MONTH_MS = 30 * 24 * 3600 * 1000  # Trash and Junk keep mail no longer than this

# Language -> Sent, Trash, Drafts, Junk. Names are chosen once, when the account is made.
_NAMES: Mapping[str, tuple[str, str, str, str]] = {
    "en": ("Sent Mail", "Trash", "Drafts", "Junk"),
    "cs": ("Odeslané", "Koš", "Koncepty", "Nevyžádaná pošta"),
    "da": ("Sendt", "Papirkurv", "Kladder", "Spam"),
    "de": ("Gesendet", "Gelöscht", "Entwürfe", "Spam"),
    "es": ("Enviados", "Papelera", "Borradores", "Spam"),
    "et": ("Saadetud kirjad", "Prügikast", "Mustandid", "Rämpspost"),
    "fi": ("Lähetetyt", "Roskakori", "Luonnokset", "Roskaposti"),
    "fr": ("Messages envoyés", "Corbeille", "Brouillons", "Indésirables"),
    "it": ("Posta inviata", "Cestino", "Bozze", "Posta indesiderata"),
    "ja": ("送信済みメール", "ゴミ箱", "下書き", "迷惑メール"),
    "lt": ("Išsiųsti", "Šiukšlinė", "Juodraščiai", "Brukalas"),
    "lv": ("Nosūtītie", "Atkritne", "Melnraksti", "Mēstules"),
    "nb": ("Sendt", "Papirkurv", "Utkast", "Søppelpost"),
    "nl": ("Verzonden", "Prullenbak", "Concepten", "Spam"),
    "pl": ("Wysłane", "Kosz", "Szkice", "Spam"),
    "pt": ("Enviados", "Lixo", "Rascunhos", "Spam"),
    "ru": ("Отправленные", "Корзина", "Черновики", "Спам"),
    "sv": ("Skickat", "Papperskorg", "Utkast", "Skräppost"),
    "tr": ("Gönderilenler", "Çöp", "Taslaklar", "Spam"),
    "uk": ("Надіслані", "Кошик", "Чернетки", "Спам"),
    "zh": ("已发送", "已删除", "草稿", "垃圾邮件"),
}
_USES = (("sent", "\\Sent"), ("trash", "\\Trash"), ("drafts", "\\Drafts"), ("junk", "\\Junk"))


def default_folders(language: str, retention: int = 0, names: Mapping[str, str] | None = None) -> list[Folder]:
    """INBOX and the four with a special use.

    Args:
        language: `et`, `en_US`, ...; what stands before `_` or `-` counts, English for what is not known.
        retention: the account's, in milliseconds; 0 keeps mail for ever.
        names: paths to take instead, by `sent`, `trash`, `drafts`, `junk`.
    """
    known = _NAMES.get(language.replace("-", "_").partition("_")[0].lower(), _NAMES["en"])
    folders = [Folder(INBOX, None, retention)]
    for (use, flag), name in zip(_USES, known, strict=True):
        month = min(retention, MONTH_MS) or MONTH_MS
        kept = month if use in ("trash", "junk") else retention
        folders.append(Folder((names or {}).get(use) or name, flag, kept))
    return folders
