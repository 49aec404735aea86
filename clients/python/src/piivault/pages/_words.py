"""The words of pages, language by language. A new language is one more entry here.

What an edition says (purposes, fields, bases, law) comes with the report, in its language.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from piivault._types import Form


@dataclass(frozen=True, slots=True)
class Words:
    """How one language says what a page needs. Braces are filled in."""

    title: str
    as_of: str
    edition: str
    law: str
    zone: str
    date: str  # for strftime
    registered: str
    request: str
    restricted: str
    # the summary
    held_fields: str
    times_read: str
    times_disclosed: str
    times_refused: str
    readers: str
    # what is held
    held: str
    data: str
    since: str
    until: str
    voluntary: str
    nothing_held: str
    # what for
    purposes: str
    no_purposes: str
    basis: str
    sees: str
    would_see: str
    recipients: str
    no_recipients: str
    joins: str
    retention: str
    used: str
    closed: Mapping[str, str]  # by reason; "" for any other
    forms: Mapping[Form | None, str]
    # what was agreed to
    consents: str
    purpose: str
    edition_number: str
    given: str
    withdrawn: str
    stands: str
    ask_again: str
    no_consents: str
    # who read, who was refused, what else was done
    read: str
    when: str
    who: str
    what_for: str
    looked_up: str
    disclosed: str
    nobody_read: str
    refused: str
    refused_intro: str
    why: str
    reasons: Mapping[str, str]  # "" for any other
    nobody_refused: str
    changes: str
    action: str
    you: str
    clock: str
    actions: Mapping[str, str]
    nothing_changed: str
    # what it can't say
    unsaid: str
    limits: str  # a line each
    trail_begins: str
    unread: str
    unread_why: Mapping[str, str]  # "" for any other


WORDS: Mapping[str, Words] = {
    "ky": Words(
        title="Жеке маалыматтарыңызды иштеп чыгуу жөнүндө маалымат",
        as_of="{at} абалы боюнча",
        edition="Саясаттын № {number} редакциясы, күчүнө кирген күнү: {date}",
        law="Колдонулуучу мыйзам",
        zone="Убакыт: {zone}",
        date="%d.%m.%Y",
        registered="Катталган күнүңүз: {date}.",
        request="Суроо-талабыңыз: {id}. Берилген күнү: {opened}, жооп берүү мөөнөтү: {due}.",
        restricted="Сиз маалыматтарыңызды иштеп чыгууну чектегенсиз.",
        held_fields="Сакталган маалымат",
        times_read="Канча жолу окулган",
        times_disclosed="Үчүнчү жактарга берилген",
        times_refused="Баш тартылган",
        readers="Окугандар: {names}.",
        held="Эмне сакталат",
        data="Маалымат",
        since="Качантан бери",
        until="Эң узагы качанга чейин",
        voluntary="өз каалооңуз менен берилген",
        nothing_held="Азыр эч кандай маалымат сакталбайт.",
        purposes="Эмне үчүн иштетилет",
        no_purposes="Бул маалыматтарды эч бир максат колдонбойт.",
        basis="Укуктук негизи",
        sees="Көрүнгөн маалыматтар",
        would_see="Макулдук берсеңиз көрүнөт",
        recipients="Үчүнчү жактарга берүү",
        no_recipients="берилбейт",
        joins="Бириктирилиши мүмкүн болгон маалыматтар базалары",
        retention="Сактоо мөөнөтү",
        used="Колдонулууда",
        closed={
            "CONSENT_REQUIRED": "Колдонулбайт: макулдугуңуз жок",
            "RETENTION_EXPIRED": "Колдонулбайт: сактоо мөөнөтү бүттү",
            "RESTRICTED": "Колдонулбайт: иштеп чыгууну чектегенсиз",
            "": "Колдонулбайт",
        },
        forms={
            Form.PLAIN: "толугу менен",
            Form.MASKED: "бир бөлүгү жашырылган түрдө",
            Form.PRESENT: "бар же жок экени гана",
            None: "",
        },
        consents="Сиз эмнеге макул болгонсуз",
        purpose="Максат",
        edition_number="Редакция",
        given="Берилген",
        withdrawn="Кайтарылып алынган",
        stands="күчүндө",
        ask_again="Күчүндөгү редакция мындан көбүрөөктү көздөйт: макулдугуңуз кайра суралат.",
        no_consents="Сиз макулдук берген жоксуз.",
        read="Маалыматтарыңызды ким окуган",
        when="Качан",
        who="Ким",
        what_for="Эмне үчүн",
        looked_up="ушул маалымат боюнча издеп тапкан",
        disclosed="Үчүнчү жакка берилди: {name}",
        nobody_read="Бул убакыт ичинде маалыматтарыңызды эч ким окуган эмес.",
        refused="Кимге баш тартылган",
        refused_intro="Бул суроо-талаптар боюнча эч нерсе көрсөтүлгөн эмес.",
        why="Себеби",
        reasons={
            "CONSENT_REQUIRED": "макулдугуңуз жок",
            "RETENTION_EXPIRED": "сактоо мөөнөтү бүткөн",
            "RESTRICTED": "иштеп чыгууну чектегенсиз",
            "RECIPIENT_NOT_ALLOWED": "ал үчүнчү жакка берүүгө болбойт",
            "INVALID_VALUE": "маалымат туура эмес жазылган",
            "VALUE_TAKEN": "мындай маалымат башка бирөөдө бар",
            "STALE_ETAG": "жазуу ал убакта өзгөргөн",
            "": "аткарылган эмес",
        },
        nobody_refused="Эч кимге баш тартылган эмес.",
        changes="Өзгөртүүлөр жана өз аракеттериңиз",
        action="Аракет",
        you="Сиз: {owner} аркылуу",
        clock="Өзүнөн өзү",
        actions={
            "register": "Катталуу",
            "put": "Маалыматты өзгөртүү",
            "view": "Өз маалыматтарын көрүү",
            "report": "Ушундай маалыматты суроо",
            "export": "Маалыматтардын көчүрмөсүн алуу",
            "grant_consent": "Макулдук берүү",
            "withdraw_consent": "Макулдукту кайтарып алуу",
            "list_consents": "Өз макулдуктарын көрүү",
            "restrict": "Иштеп чыгууну чектөө",
            "lift_restriction": "Чектөөнү алып салуу",
            "erase": "Өчүрүү",
            "expire": "Мөөнөтү бүткөнүн өчүрүү",
            "rotate": "Шифрлөө ачкычын алмаштыруу",
        },
        nothing_changed="Өзгөртүү болгон эмес.",
        unsaid="Бул жерде эмне айтылбайт",
        limits=(
            "Маалыматтардын өздөрү бул жерде жок: аларды Жеке кабинеттен көрө аласыз.\n"
            "Жазууга кайрылганга чейин эле эрежелер боюнча баш тартылган суроо-талаптар эч кимдин "
            "жазуусуна тиешелүү эмес, ошондуктан алар бул жерде жок.\n"
            "Эгер маалыматтарыңызды өчүрүп, кайра катталган болсоңуз, ага чейинкини эми эч ким "
            "таба албайт.\n"
            "Маалыматты окугандар аны андан ары кантип колдонгону бул жерде жазылбайт."
        ),
        trail_begins="{at} чейинки окуялар мындан ары сакталбайт.",
        unread="Окулбай калган окуялар: {count} ({why}).",
        unread_why={
            "KEYS_SUSPENDED": "ачкычы токтотулган",
            "KEY_DESTROYED": "ачкычы жок кылынган",
            "": "бузулган",
        },
    ),
    "ru": Words(
        title="Сведения об обработке ваших персональных данных",
        as_of="По состоянию на {at}",
        edition="Редакция политики № {number}, вступила в силу {date}",
        law="Применимое право",
        zone="Время: {zone}",
        date="%d.%m.%Y",
        registered="Вы зарегистрированы {date}.",
        request="Ваш запрос: {id}. Подан {opened}, срок ответа: {due}.",
        restricted="Вы ограничили обработку ваших данных.",
        held_fields="Хранится данных",
        times_read="Прочитано раз",
        times_disclosed="Передано третьим лицам",
        times_refused="Отказов",
        readers="Читали: {names}.",
        held="Что хранится",
        data="Данные",
        since="С какого времени",
        until="Не дольше чем до",
        voluntary="дано по желанию",
        nothing_held="Сейчас ничего не хранится.",
        purposes="Для чего обрабатывается",
        no_purposes="Ни одна цель не использует эти данные.",
        basis="Правовое основание",
        sees="Какие данные видны",
        would_see="Было бы видно с вашего согласия",
        recipients="Передача третьим лицам",
        no_recipients="не передаются",
        joins="Базы данных, с которыми возможно объединение",
        retention="Срок хранения",
        used="Используется",
        closed={
            "CONSENT_REQUIRED": "Не используется: нет вашего согласия",
            "RETENTION_EXPIRED": "Не используется: срок хранения истёк",
            "RESTRICTED": "Не используется: вы ограничили обработку",
            "": "Не используется",
        },
        forms={
            Form.PLAIN: "полностью",
            Form.MASKED: "частично скрыто",
            Form.PRESENT: "только есть или нет",
            None: "",
        },
        consents="На что вы дали согласие",
        purpose="Цель",
        edition_number="Редакция",
        given="Дано",
        withdrawn="Отозвано",
        stands="действует",
        ask_again="Действующая редакция идёт дальше: согласие спросят снова.",
        no_consents="Вы не давали согласия.",
        read="Кто читал ваши данные",
        when="Когда",
        who="Кто",
        what_for="Для чего",
        looked_up="найдено по этим данным",
        disclosed="Передано третьему лицу: {name}",
        nobody_read="За это время ваши данные никто не читал.",
        refused="Кому было отказано",
        refused_intro="По этим запросам ничего не было показано.",
        why="Почему",
        reasons={
            "CONSENT_REQUIRED": "нет вашего согласия",
            "RETENTION_EXPIRED": "срок хранения истёк",
            "RESTRICTED": "вы ограничили обработку",
            "RECIPIENT_NOT_ALLOWED": "этому третьему лицу передавать нельзя",
            "INVALID_VALUE": "данные записаны неверно",
            "VALUE_TAKEN": "такие данные уже есть у другого",
            "STALE_ETAG": "запись тем временем изменилась",
            "": "не было выполнено",
        },
        nobody_refused="Отказов не было.",
        changes="Изменения и ваши действия",
        action="Действие",
        you="Вы: {owner}",
        clock="Автоматически",
        actions={
            "register": "Регистрация",
            "put": "Изменение данных",
            "view": "Просмотр своих данных",
            "report": "Запрос таких сведений",
            "export": "Получение копии данных",
            "grant_consent": "Согласие дано",
            "withdraw_consent": "Согласие отозвано",
            "list_consents": "Просмотр своих согласий",
            "restrict": "Обработка ограничена",
            "lift_restriction": "Ограничение снято",
            "erase": "Удаление",
            "expire": "Удаление по истечении срока",
            "rotate": "Смена ключа шифрования",
        },
        nothing_changed="Изменений не было.",
        unsaid="О чём здесь не сказано",
        limits=(
            "Самих данных здесь нет: их можно увидеть в Личном кабинете.\n"
            "Запросы, отклонённые по правилам ещё до обращения к записи, не относятся ни к чьей "
            "записи, поэтому их здесь нет.\n"
            "Если вы удаляли свои данные и регистрировались заново, того, что было прежде, уже "
            "никто не найдёт.\n"
            "Как прочитанное использовали дальше, здесь не записывается."
        ),
        trail_begins="События до {at} больше не хранятся.",
        unread="События, которые нельзя прочитать: {count} ({why}).",
        unread_why={
            "KEYS_SUSPENDED": "их ключ приостановлен",
            "KEY_DESTROYED": "их ключ уничтожен",
            "": "повреждены",
        },
    ),
    "en": Words(
        title="How your personal data is processed",
        as_of="As of {at}",
        edition="Edition {number} of the policy, in force from {date}",
        law="Applicable law",
        zone="Times are {zone}",
        date="%Y-%m-%d",
        registered="You registered on {date}.",
        request="Your request: {id}. Made on {opened}, to be answered by {due}.",
        restricted="You restricted the processing of your data.",
        held_fields="Fields held",
        times_read="Times read",
        times_disclosed="Disclosed to others",
        times_refused="Refused",
        readers="Read by: {names}.",
        held="What is held",
        data="Data",
        since="Since",
        until="Until, at most",
        voluntary="given of your free will",
        nothing_held="Nothing is held.",
        purposes="What it is processed for",
        no_purposes="No purpose uses this data.",
        basis="Lawful basis",
        sees="What it sees",
        would_see="What it would see",
        recipients="Disclosure to third parties",
        no_recipients="none",
        joins="Databases that it may be joined with",
        retention="Kept for",
        used="In use",
        closed={
            "CONSENT_REQUIRED": "Not in use: you haven’t agreed",
            "RETENTION_EXPIRED": "Not in use: its time is over",
            "RESTRICTED": "Not in use: you restricted processing",
            "": "Not in use",
        },
        forms={
            Form.PLAIN: "in full",
            Form.MASKED: "partly hidden",
            Form.PRESENT: "only whether it is there",
            None: "",
        },
        consents="What you agreed to",
        purpose="Purpose",
        edition_number="Edition",
        given="Given",
        withdrawn="Withdrawn",
        stands="stands",
        ask_again="The edition in force goes further: you will be asked again.",
        no_consents="You have agreed to nothing.",
        read="Who read your data",
        when="When",
        who="Who",
        what_for="What for",
        looked_up="looked you up by it",
        disclosed="Disclosed to: {name}",
        nobody_read="Nobody read your data in this time.",
        refused="Who was refused",
        refused_intro="Nothing was shown to these requests.",
        why="Why",
        reasons={
            "CONSENT_REQUIRED": "you haven’t agreed",
            "RETENTION_EXPIRED": "its time was over",
            "RESTRICTED": "you restricted processing",
            "RECIPIENT_NOT_ALLOWED": "it may not go to that third party",
            "INVALID_VALUE": "the data was written wrongly",
            "VALUE_TAKEN": "somebody else has that already",
            "STALE_ETAG": "the record had changed meanwhile",
            "": "it couldn’t be carried out",
        },
        nobody_refused="Nobody was refused.",
        changes="Changes, and what you did",
        action="Action",
        you="You, through: {owner}",
        clock="By itself",
        actions={
            "register": "Registered",
            "put": "Data changed",
            "view": "Own data viewed",
            "report": "Asked for this",
            "export": "Copy of the data taken",
            "grant_consent": "Consent given",
            "withdraw_consent": "Consent withdrawn",
            "list_consents": "Own consents viewed",
            "restrict": "Processing restricted",
            "lift_restriction": "Restriction lifted",
            "erase": "Erased",
            "expire": "Erased, its time being over",
            "rotate": "Encryption key changed",
        },
        nothing_changed="Nothing was changed.",
        unsaid="What isn’t said here",
        limits=(
            "The data itself isn’t here: see it in the personal cabinet.\n"
            "Requests that the rules refused before any record was looked at are about nobody’s "
            "record, so they aren’t here.\n"
            "If you erased your data and registered anew, nobody can find any more what was "
            "before.\n"
            "What whoever read it did with it afterwards isn’t recorded here."
        ),
        trail_begins="Events from before {at} are no longer kept.",
        unread="Events that can’t be read: {count} ({why}).",
        unread_why={
            "KEYS_SUSPENDED": "their key is suspended",
            "KEY_DESTROYED": "their key was destroyed",
            "": "they are damaged",
        },
    ),
}
