"""The language of an answer is named where it can be told, and unknown otherwise."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.regression.language import UNKNOWN, language_of

SENTENCES = {
    "en": ["Your refund was sent today and should arrive within five days.", "I'm sorry, but I can't help with that."],
    "de": [
        "Ihre Rückerstattung wurde heute veranlasst und sollte in fünf Tagen ankommen.",
        "Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.",
    ],
    "fr": [
        "Votre remboursement a été envoyé aujourd'hui et devrait arriver dans les cinq jours.",
        "Je suis désolé, mais je ne peux pas vous aider avec cela.",
    ],
    "es": [
        "Su reembolso se envió hoy y debería llegar en los próximos cinco días.",
        "Lo siento, pero no puedo ayudarle con eso.",
    ],
    "it": [
        "Il rimborso è stato inviato oggi e dovrebbe arrivare entro cinque giorni.",
        "Mi dispiace, ma non posso aiutarla con questa richiesta.",
    ],
    "pt": [
        "O seu reembolso foi enviado hoje e deve chegar em até cinco dias.",
        "Desculpe, mas não posso ajudar você com isso.",
    ],
    "nl": [
        "Uw terugbetaling is vandaag verstuurd en zou binnen vijf dagen aan moeten komen.",
        "Het spijt me, maar daar kan ik u niet mee helpen.",
    ],
    "sv": [
        "Din återbetalning skickades idag och bör komma fram inom fem dagar.",
        "Jag är ledsen, men jag kan inte hjälpa dig med det.",
    ],
    "da": [
        "Din refusion blev sendt i dag og bør være fremme inden for fem dage.",
        "Jeg beklager, men det kan jeg ikke hjælpe dig med.",
    ],
    "pl": ["Państwa zwrot został wysłany i będzie na koncie za pięć dni.", "Przykro mi, ale nie mogę w tym pomóc."],
    "tr": [
        "İadeniz bugün gönderildi ve beş gün içinde size ulaşması bekleniyor.",
        "Üzgünüm ama bu konuda size yardımcı olamam.",
    ],
    "id": [
        "Pengembalian dana Anda telah dikirim hari ini dan akan tiba dalam lima hari.",
        "Maaf, saya tidak dapat membantu Anda dengan permintaan itu.",
    ],
    "ru": [
        "Ваш возврат был отправлен сегодня и должен прийти в течение пяти дней.",
        "Извините, но я не могу вам с этим помочь.",
    ],
    "uk": [
        "Ваше відшкодування надіслано сьогодні і має надійти протягом п'яти днів.",
        "Вибачте, але я не можу вам із цим допомогти.",
    ],
    "bg": [
        "Вашето възстановяване беше изпратено днес и трябва да пристигне до пет дни.",
        "Съжалявам, но не мога да ви помогна с това.",
    ],
    "el": ["Η επιστροφή χρημάτων στάλθηκε σήμερα."],
    "he": ["ההחזר שלך נשלח היום."],
    "ja": ["返金は本日送信されました。"],
    "zh": ["您的退款已于今天发出。"],
    "ko": ["환불이 오늘 전송되었습니다."],
    "th": ["เงินคืนของคุณถูกส่งแล้ววันนี้"],
}


@pytest.mark.parametrize(("language", "text"), [(one, text) for one, texts in SENTENCES.items() for text in texts])
def test_a_sentence_of_each_language_is_named(language, text):
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        "42",
        '{"a": 1}',
        "```python\nfor the of and to in is that it\n```",
        "https://example.com/the/of/and/to/in/is",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit",
        "Hyvityksesi lähetettiin tänään ja sen pitäisi saapua viiden päivän kuluessa.",
        "تم إرسال المبلغ المسترد اليوم",
        "आपका रिफंड आज भेज दिया गया",
        "Ваш поврат новца је послат данас, љубазно вас молимо да сачекате.",
    ],
)
def test_what_cannot_be_told_is_unknown(text):
    assert language_of(text) == UNKNOWN


def test_real_english_answers_are_english_and_never_another_language(data):
    with (data / "alpaca-eval-outputs" / "llama3-vs-llama31.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    found = Counter(language_of(row[name]) for row in rows for name in row if name.startswith("Meta-"))
    assert found["en"] >= 0.98 * found.total()
    assert set(found) == {"en", "fr", UNKNOWN}
    assert found["fr"] == 3


def test_a_text_in_two_languages_is_unknown():
    german, english = (SENTENCES[code][0] for code in ("de", "en"))
    assert language_of(f"{german} {english} {german} {english}") == UNKNOWN


def test_a_language_in_a_fence_or_a_link_does_not_count():
    german = "Ihre Rückerstattung wurde heute veranlasst und sollte in fünf Tagen ankommen."
    english = "and this is the one that you are on"
    assert language_of(f"{german}\n```\n{english * 5}\n```") == "de"


@given(st.text(max_size=300))
def test_any_text_has_a_code_or_is_unknown(text):
    found = language_of(text)
    assert found == UNKNOWN or (len(found) == 2 and found.isalpha())


def test_a_hostile_text_takes_no_time():
    began = time.perf_counter()
    for text in ("<" * 500_000, "a@" * 250_000, "```" * 150_000, "https://" + "x" * 500_000, "é" * 500_000):
        language_of(text)
    assert time.perf_counter() - began < 1
