"""The language of an answer: by its script, and among Latin and Cyrillic ones by their commonest words.

It names 12 languages in Latin script (English, German, French, Spanish, Italian, Portuguese, Dutch, Swedish, Danish,
Polish, Turkish, Indonesian), Russian, Ukrainian and Bulgarian, and those that have a script to themselves. Where it
cannot tell (a name, code, a table of figures, a language that it does not know) it says `unknown`, never the nearest.
Norwegian is too near to Danish for it, and Malay to Indonesian.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

UNKNOWN = "unknown"
LONGEST = 4000
"""Characters that are read of an answer."""

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_NOISE = re.compile(r"https?://\S{1,500}|`[^`\n]{1,200}`|[\w.+-]{1,100}@[\w.-]{1,100}|<[^<>\n]{1,200}>")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")

_SCRIPTS = (
    (0x0041, 0x024F, "Latin"), (0x0370, 0x03FF, "el"), (0x0400, 0x052F, "Cyrillic"), (0x0530, 0x058F, "hy"),
    (0x0590, 0x05FF, "he"), (0x0600, 0x06FF, "Arabic"), (0x0750, 0x077F, "Arabic"), (0x0900, 0x097F, "Devanagari"),
    (0x0980, 0x09FF, "bn"), (0x0A00, 0x0A7F, "pa"), (0x0A80, 0x0AFF, "gu"), (0x0B80, 0x0BFF, "ta"),
    (0x0C00, 0x0C7F, "te"), (0x0C80, 0x0CFF, "kn"), (0x0D00, 0x0D7F, "ml"), (0x0E00, 0x0E7F, "th"),
    (0x10A0, 0x10FF, "ka"), (0x1100, 0x11FF, "ko"), (0x1E00, 0x1EFF, "Latin"), (0x1F00, 0x1FFF, "el"),
    (0x3040, 0x30FF, "ja"), (0x3400, 0x4DBF, "Han"), (0x4E00, 0x9FFF, "Han"), (0xAC00, 0xD7AF, "ko"),
)  # fmt: skip
"""Blocks of the Unicode Standard (Blocks.txt), by first and last code point."""

_STARTS = [first for first, _, _ in _SCRIPTS]

_COMMON = {
    "en": "the of and to in is that it for was on are as with his they be at this have from or had by not but what "
    "all were we when your can there an which their if will about would these so has you do could how my than "
    "been who into its them some such other also more most used many only over make may like through between "
    "each help using here it's i'm don't you're that's here's i'd i've i'll let's can't doesn't won't there's "
    "they're what's me out up no our any while",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
    "er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber "
    "vor zur bis mehr ich du wir ihr ihre kann können bitte wenn",
    "fr": "le la les de des du et un une est en que qui dans pour pas sur au aux ce cette il elle avec par plus ne "
    "se sont ou son sa ses vous nous je mais comme tout être fait leur peut votre si été très c'est d'un "
    "d'une l'on",
    "es": "el la los las de y que en un una es por con para no se del al lo como más pero sus su le ha me si sin "
    "sobre este ya entre cuando todo esta ser son dos también fue había muy hasta desde está puede usted qué "
    "tiene donde",
    "it": "il la di che e un una è per in non con del della sono si da le gli dei delle nel nella al alla come più "
    "ma anche ha lo i questo questa essere o su se suo sua loro ci sul dal può hanno molto quando tutti così "
    "perché",
    "pt": "o a os as de e que em um uma é para com não do da dos das no na nos nas por mais como mas ao à seu sua "
    "ele ela se foi são ou quando muito também já está você pelo pela isso entre sem ser tem até às nós pode "
    "depois",
    "nl": "de het een en van in is dat op te voor met zijn niet aan er om ook als dan maar bij nog uit door naar "
    "heeft hij ze wordt worden kan deze dit die wat wel geen over tot je u ik hebben was meer zo moet kunnen "
    "hun mijn",
    "sv": "och att det i en som är på för av med till den har inte om ett men jag de var sig från så kan när hade "
    "nu du han hon vi ska eller ut också mot efter mer mycket under alla där vid blir din hur bara skulle "
    "kommer",
    "da": "og at det i en er som på for af med til den har ikke om et men jeg de var sig fra så kan når havde du "
    "han hun vi skal eller ud også mod efter mere meget under alle der ved bliver din hvordan kun ville "
    "kommer hvis hvad",
    "pl": "i w nie na się z do to że jest o jak ale po co tak za od przez dla są już ma tylko oraz może przy jego "
    "lub czy być ten tym jako które który która ich także jeśli bardzo można więc gdy przed",
    "tr": "ve bir bu da de için ile çok olarak daha gibi ne var kadar sonra olan en her mi ama ya veya değil ben o "
    "şey bunu onun olduğunu oldu ki nasıl eğer yok sizin bana size diye tüm iyi olur",
    "id": "yang dan di ini itu dengan untuk dari dalam tidak akan pada adalah ke anda saya kami oleh juga atau bisa "
    "sebagai ada karena dapat lebih telah mereka sudah jika seperti bahwa tersebut dia kita harus secara "
    "banyak",
    "ru": "и в не на что я с он как это по но из у за от так же для вы бы к о до все мы его то их или если может "
    "при только вам вас вы мне мой ваш она они было быть уже чтобы есть также который это когда этот очень",
    "uk": "і в не на що я з як це до та у за від так для ви але по про ми його їх або якщо може при також він вона "
    "вони було бути вже щоб є який коли цей дуже та й із ще",
    "bg": "и в не на че с как това по но от за се да е са си го ви до ли към ще ако може при само тя те беше бъде "
    "вече има също който когато този много или най",
}
_LATIN = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "pl", "tr", "id")
_CYRILLIC = ("ru", "uk", "bg")
NAMED = frozenset({*_COMMON, "zh", *(name for _, _, name in _SCRIPTS if len(name) == 2)})
"""The languages that are told."""

_PROFILES = {
    language: frozenset(word for word in words.split() if len(word) > 1 or not word.isascii())
    for language, words in _COMMON.items()
}
_SHARED = Counter(word for profile in _PROFILES.values() for word in profile)

_RUSSIAN, _UKRAINIAN = frozenset("ыэё"), frozenset("іїєґ")
_FOREIGN = frozenset("ўәғқңөұүһҷҳҡҫҙјљњћђџѓќѕ")
"""Letters of Belarusian, Kazakh, Tajik, Bashkir; of Serbian and Macedonian: none of them is named."""

_LEAST_WORDS, _LEAST_SHARE, _LEAD = 4, 0.10, 1.5
_LEAST_DISTINCT = 2


@lru_cache(maxsize=2048)
def language_of(text: str) -> str:
    """Return the ISO 639-1 code of the language of a text, or `unknown`; code, links and addresses are left out."""
    prose = _NOISE.sub(" ", _FENCE.sub(" ", text[:LONGEST]))
    letters: Counter[str] = Counter()
    for character, times in Counter(prose).items():
        if character.isalpha():
            letters[_script(character)] += times
    script = _main_script(letters)
    if script == "Latin":
        return _by_words(prose, _LATIN)
    if script == "Cyrillic":
        return _cyrillic(prose)
    return script if len(script) == 2 else UNKNOWN


def _main_script(letters: Counter[str]) -> str:
    """Return the script, or the language that has one to itself, of more than half of the letters."""
    total = sum(letters.values())
    if letters["ja"] * 10 >= total and letters["ja"] + letters["Han"] > total / 2:
        return "ja"
    script, most = max(letters.items(), key=lambda item: item[1], default=(UNKNOWN, 0))
    if most <= total / 2:
        return UNKNOWN
    return "zh" if script == "Han" else script


def _by_words(prose: str, languages: Iterable[str]) -> str:
    """Return the language whose commonest words make up enough of a text, and clearly more than any other's.

    A word that several languages have counts for a part in each.
    """
    words = _WORD.findall(prose.lower().replace("’", "'"))
    if len(words) < _LEAST_WORDS:
        return UNKNOWN
    counts = Counter(words)
    scores = sorted(((_score(counts, _PROFILES[language]), language) for language in languages), reverse=True)
    (best, language), (second, _) = scores[0], scores[1]
    distinct = sum(word in _PROFILES[language] for word in counts)
    if distinct < _LEAST_DISTINCT or best < _LEAST_SHARE * len(words) or best < _LEAD * second:
        return UNKNOWN
    return language


def _score(counts: Counter[str], profile: frozenset[str]) -> float:
    return sum(times / _SHARED[word] for word, times in counts.items() if word in profile)


def _cyrillic(prose: str) -> str:
    """Return Russian or Ukrainian by letters that only they have of the languages named here, else ask the words."""
    letters = set(prose.lower())
    if letters & _FOREIGN:
        return UNKNOWN
    russian, ukrainian = bool(letters & _RUSSIAN), bool(letters & _UKRAINIAN)
    if russian != ukrainian and len(_WORD.findall(prose)) >= _LEAST_WORDS:
        return "ru" if russian else "uk"
    return _by_words(prose, _CYRILLIC)


def _script(character: str) -> str:
    point = ord(character)
    number = bisect_right(_STARTS, point) - 1
    if number < 0:
        return UNKNOWN
    _, last, script = _SCRIPTS[number]
    return script if point <= last else UNKNOWN
