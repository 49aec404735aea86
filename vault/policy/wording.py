"""The fixed words of notices, language by language. A new language is one more entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vault.policy.vocabulary import Basis, Form, Retention


@dataclass(frozen=True, slots=True)
class Wording:
    """How one language says what an edition leaves to the software."""

    basis: str
    bases: Mapping[Basis, str]
    fields: str
    forms: Mapping[Form, str]
    voluntary: str
    recipients: str
    no_recipients: str
    joins: str
    no_joins: str
    retention: str
    duration: Callable[[Retention], str]
    kept: str  # after an erasure
    law: str
    edition: str  # with {number} and {date}
    date: str  # for strftime
    consent: str
    no_consent: str
    quotes: str  # opening and closing

    def quote(self, title: str) -> str:
        """Put a title between quotation marks."""
        return f"{self.quotes[0]}{title}{self.quotes[1]}"


def _plain(units: Mapping[str, str]) -> Callable[[Retention], str]:
    return lambda retention: f"{retention.count} {units[retention.unit]}"


def _english(retention: Retention) -> str:
    return str(retention)


def _russian(retention: Retention) -> str:
    one, few, many = _RUSSIAN_UNITS[retention.unit]
    count, last = retention.count, retention.count % 10
    if 11 <= count % 100 <= 14 or last == 0 or last >= 5:
        return f"{count} {many}"
    return f"{count} {one if last == 1 else few}"


_RUSSIAN_UNITS = {
    "day": ("день", "дня", "дней"),
    "week": ("неделя", "недели", "недель"),
    "month": ("месяц", "месяца", "месяцев"),
    "year": ("год", "года", "лет"),
}

WORDINGS: Mapping[str, Wording] = {
    "ky": Wording(
        basis="Укуктук негизи",
        bases={
            Basis.CONSENT: "сиздин макулдугуңуз",
            Basis.CONTRACT: "сиз менен түзүлгөн келишим",
            Basis.LEGAL_OBLIGATION: "мыйзам жүктөгөн милдет",
            Basis.VITAL_INTEREST: "адамдын өмүрүн жана ден соолугун коргоо",
            Basis.PUBLIC_TASK: "коомдук милдетти аткаруу",
            Basis.LEGITIMATE_INTEREST: "мыйзамдуу кызыкчылык",
        },
        fields="Иштелип чыгуучу жеке маалыматтар",
        forms={
            Form.PLAIN: "толугу менен",
            Form.MASKED: "бир бөлүгү жашырылган түрдө",
            Form.PRESENT: "бар же жок экени гана",
        },
        voluntary="өз каалоосу менен",
        recipients="Үчүнчү жактарга берүү",
        no_recipients="берилбейт",
        joins="Бириктирилиши мүмкүн болгон маалыматтар базалары",
        no_joins="жок",
        retention="Сактоо мөөнөтү",
        kept="Маалыматтарыңызды өчүрсөңүз да,"
        " мыйзам боюнча ушул максат үчүн гана мөөнөтү бүткөнчө сакталат",
        duration=_plain({"day": "күн", "week": "апта", "month": "ай", "year": "жыл"}),
        law="Колдонулуучу мыйзам",
        edition="Саясаттын № {number} редакциясы, күчүнө кирген күнү: {date}",
        date="%d.%m.%Y",
        consent="Макулдугуңузду каалаган убакта кайтарып ала аласыз.",
        no_consent="Бул максат үчүн макулдугуңуз талап кылынбайт.",
        quotes="«»",
    ),
    "ru": Wording(
        basis="Правовое основание",
        bases={
            Basis.CONSENT: "ваше согласие",
            Basis.CONTRACT: "договор с вами",
            Basis.LEGAL_OBLIGATION: "обязанность, возложенная законом",
            Basis.VITAL_INTEREST: "защита жизни и здоровья человека",
            Basis.PUBLIC_TASK: "выполнение общественной задачи",
            Basis.LEGITIMATE_INTEREST: "законный интерес",
        },
        fields="Обрабатываемые персональные данные",
        forms={
            Form.PLAIN: "полностью",
            Form.MASKED: "частично скрыто",
            Form.PRESENT: "только есть или нет",
        },
        voluntary="по желанию",
        recipients="Передача третьим лицам",
        no_recipients="не передаются",
        joins="Базы данных, с которыми возможно объединение",
        no_joins="нет",
        retention="Срок хранения",
        kept="Если вы удалите свои данные,"
        " по закону только для этой цели и до конца срока сохраняются",
        duration=_russian,
        law="Применимое право",
        edition="Редакция политики № {number}, вступила в силу {date}",
        date="%d.%m.%Y",
        consent="Вы можете отозвать согласие в любое время.",
        no_consent="Для этой цели ваше согласие не требуется.",
        quotes="«»",
    ),
    "en": Wording(
        basis="Lawful basis",
        bases={
            Basis.CONSENT: "your consent",
            Basis.CONTRACT: "a contract with you",
            Basis.LEGAL_OBLIGATION: "an obligation laid down by law",
            Basis.VITAL_INTEREST: "the protection of life and health",
            Basis.PUBLIC_TASK: "a task in the public interest",
            Basis.LEGITIMATE_INTEREST: "a legitimate interest",
        },
        fields="Personal data that is processed",
        forms={
            Form.PLAIN: "in full",
            Form.MASKED: "partly hidden",
            Form.PRESENT: "only whether it is there",
        },
        voluntary="voluntary",
        recipients="Disclosure to third parties",
        no_recipients="none",
        joins="Databases that it may be joined with",
        no_joins="none",
        retention="Kept for",
        kept="If you erase your data,"
        " the law has these kept for this purpose alone, until that time ends",
        duration=_english,
        law="Applicable law",
        edition="Edition {number} of the policy, in force from {date}",
        date="%Y-%m-%d",
        consent="You can withdraw your consent at any time.",
        no_consent="Your consent isn't needed for this purpose.",
        quotes="“”",
    ),
}
