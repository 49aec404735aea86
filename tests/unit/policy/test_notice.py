"""Notices: made from the edition alone, the same to the byte, in the subject's language."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from vault.errors import Reason, VaultError
from vault.policy import (
    Basis,
    Edition,
    Form,
    Retention,
    compile_edition,
    notice,
    notices,
    verify_notice,
)
from vault.policy.wording import WORDINGS

KYRGYZ = """\
Кызматтарды көрсөтүү жана сатуу
Администрация Сайтта сунушталган кызматтарды көрсөтөт же сатат, буйрутмаңызды аткарат \
жана ал боюнча сиз менен байланышат.

Укуктук негизи: сиздин макулдугуңуз.
Иштелип чыгуучу жеке маалыматтар («Буйрутмалар»):
– Дареги: толугу менен
– Буйрутмага эскертүү (өз каалоосу менен): толугу менен
Үчүнчү жактарга берүү: берилбейт.
Бириктирилиши мүмкүн болгон маалыматтар базалары: «Колдонуучулардын каттоо жазуулары» \
– Буйрутманы жеткирүү үчүн ким буйрутма бергенин жана ага кантип чалууну билүү керек.
Сактоо мөөнөтү: 1 жыл.
Колдонулуучу мыйзам: Кыргыз Республикасынын 2008-жылдын 14-апрелиндеги № 58 \
«Жеке мүнөздөгү маалымат жөнүндө» Мыйзамы.
Саясаттын № 1 редакциясы, күчүнө кирген күнү: 01.01.2026.
Макулдугуңузду каалаган убакта кайтарып ала аласыз.
"""


def test_the_whole_text_in_kyrgyz(edition: Edition) -> None:
    """Clause 1.2: purpose, basis, fields and forms, recipients, joins, retention, law, edition."""
    shown = notice(edition, "orders", "services", "ky")
    assert shown.text == KYRGYZ
    assert shown.digest == hashlib.sha256(KYRGYZ.encode()).digest()
    assert (shown.purpose, shown.edition, shown.language) == ("services", 1, "ky")
    assert shown.consent_needed


@pytest.mark.parametrize("language", ["ky", "ru", "en"])
def test_is_the_same_whenever_it_is_made(edition: Edition, text: str, language: str) -> None:
    again = compile_edition(text)
    shown = notices(edition, "accounts", language)
    assert shown == notices(again, "accounts", language)
    assert [its.purpose for its in shown] == ["account", "newsletter", "services"]
    for its in shown:
        assert verify_notice(edition, "accounts", its.purpose, language, its.digest) == its


def test_names_recipients_and_other_bases(
    variant: Callable[[Callable[[Any], object]], str],
) -> None:
    def change(tree: Any) -> None:
        title = {"ky": "Курьер", "ru": "Курьерская служба", "en": "Courier"}
        tree["recipients"] = {"courier": {"title": title}}
        tree["purposes"]["services"].update(recipients=["courier"], basis="contract")

    shown = notice(compile_edition(variant(change)), "orders", "services", "ru")
    assert "Передача третьим лицам: Курьерская служба." in shown.text
    assert "договор с вами" in shown.text
    assert not shown.consent_needed
    assert "согласие не требуется" in shown.text


@pytest.mark.parametrize(
    ("compartment", "purpose", "language", "reason", "names"),
    [
        pytest.param("x", "account", "ky", Reason.UNKNOWN_COMPARTMENT, "web", id="compartment"),
        pytest.param("web", "x", "ky", Reason.UNKNOWN_PURPOSE, "statistics", id="purpose"),
        pytest.param(
            "web", "account", "ky", Reason.UNKNOWN_PURPOSE, "statistics", id="no such use"
        ),
        pytest.param(
            "web", "statistics", "fr", Reason.MALFORMED_REQUEST, "ky, ru, en", id="french"
        ),
    ],
)
def test_what_there_is_no_notice_of(
    edition: Edition, compartment: str, purpose: str, language: str, reason: Reason, names: str
) -> None:
    """The refusal names what there is."""
    with pytest.raises(VaultError) as refused:
        notice(edition, compartment, purpose, language)
    assert refused.value.reason is reason
    assert names in refused.value.message


def test_notices_in_an_unknown_language_are_refused(edition: Edition) -> None:
    with pytest.raises(VaultError) as refused:
        notices(edition, "web", "fr")
    assert refused.value.reason is Reason.MALFORMED_REQUEST


def test_a_consent_to_another_text_is_refused(edition: Edition) -> None:
    other = notice(edition, "accounts", "account", "ru").digest
    with pytest.raises(VaultError) as refused:
        verify_notice(edition, "accounts", "account", "ky", other)
    assert refused.value.reason is Reason.NOTICE_MISMATCH


@pytest.mark.parametrize(
    ("count", "unit", "russian"),
    [
        (1, "year", "1 год"),
        (2, "year", "2 года"),
        (5, "year", "5 лет"),
        (11, "month", "11 месяцев"),
        (14, "day", "14 дней"),
        (21, "day", "21 день"),
        (22, "week", "22 недели"),
        (100, "week", "100 недель"),
        (111, "day", "111 дней"),
    ],
)
def test_russian_counts(count: int, unit: str, russian: str) -> None:
    """One form for 1, one for 2 to 4, one for the rest, and 11 to 14 among the rest."""
    assert WORDINGS["ru"].duration(Retention(count, unit)) == russian


@pytest.mark.parametrize("language", WORDINGS)
def test_every_language_has_a_word_for_everything(language: str) -> None:
    words = WORDINGS[language]
    assert set(words.bases) == set(Basis)
    assert set(words.forms) == set(Form)
    for unit in ("day", "week", "month", "year"):
        assert words.duration(Retention(2, unit)).startswith("2 ")
