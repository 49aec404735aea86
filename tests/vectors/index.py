"""blind_index_v1.json: what equal values have in common, written down by hand, and its hashes."""

from tests.vectors.formats import Vector, draw, mac, number

VERSION = number(1, 2)
MOBILE = "+996555123456"

# type, what is tried, region, value, its normal form (None: not indexed)
TABLE: list[tuple[str, str, str | None, str, str | None]] = [
    ("phone", "as it is stored", None, "+996555123456", MOBILE),
    ("phone", "spaces", None, "+996 555 123456", MOBILE),
    ("phone", "spaces around", None, "  +996 555 12 34 56 ", MOBILE),
    ("phone", "brackets and hyphens", None, "+996 (555) 12-34-56", MOBILE),
    ("phone", "no-break spaces and hyphens", None, "+996\u00a0555\u2011123\u2011456", MOBILE),
    ("phone", "Arabic-Indic digits", None, "+٩٩٦ ٥٥٥ ١٢٣٤٥٦", MOBILE),
    ("phone", "Persian digits", None, "+۹۹۶ ۵۵۵ ۱۲۳۴۵۶", MOBILE),
    ("phone", "full-width digits", None, "＋９９６５５５１２３４５６", MOBILE),
    ("phone", "a tel: URI", None, "tel:+996-555-123456", MOBILE),
    ("phone", "an extension is left out", None, "+996 555 123456 ext. 7", MOBILE),
    ("phone", "national, with its region", "KG", "0555 12 34 56", MOBILE),
    ("phone", "00 for +, with its region", "KG", "00996 555 123456", MOBILE),
    ("phone", "a landline in Osh", None, "+996 3222 5 12 34", "+996322251234"),
    ("phone", "a number of Russia", "RU", "8 (912) 345-67-89", "+79123456789"),
    ("phone", "the letter O for the last zero", None, "+996 555 12345O", None),
    ("phone", "the letter O for each zero", None, "+996 7OO 123456", None),
    ("phone", "national, without a region", None, "0555 12 34 56", None),
    ("phone", "a digit too few", None, "+996 555 12345", None),
    ("phone", "a digit too many", None, "+996 555 1234567", None),
    ("phone", "no such country", None, "+999 555 123456", None),
    ("phone", "a word", "KG", "телефон", None),
    ("phone", "nothing", "KG", "", None),
    ("email", "as it is stored", None, "aigul@example.kg", "aigul@example.kg"),
    ("email", "capitals", None, "Aigul@Example.KG", "aigul@example.kg"),
    ("email", "spaces around", None, " aigul@example.kg\u00a0", "aigul@example.kg"),
    ("email", "full-width letters", None, "ａｉｇｕｌ＠ｅｘａｍｐｌｅ．ｋｇ", "aigul@example.kg"),
    ("email", "Kyrgyz letters", None, "Айгүл@Мисал.КГ", "айгүл@мисал.кг"),
    ("email", "a letter in two code points", None, "и\u0306@example.kg", "й@example.kg"),
    ("email", "capitals in two code points", None, "Ϊ\u0301@example.kg", "\u0390@example.kg"),
    ("email", "ß is ss", None, "Straße@example.kg", "strasse@example.kg"),
    ("email", "dots and tags are letters", None, "a.b+osh@example.kg", "a.b+osh@example.kg"),
    ("email", "an ASCII domain stays one", None, "a@XN--80AKHBYKNJ4F.kg", "a@xn--80akhbyknj4f.kg"),
    ("email", "the last @ counts", None, "a@b@example.kg", "a@b@example.kg"),
    ("email", "no local part", None, "@example.kg", None),
    ("email", "no domain", None, "aigul@", None),
    ("email", "no @", None, "aigul", None),
    ("email", "nothing", None, "", None),
    ("document_number", "as it is stored", None, "ID1234567", "ID1234567"),
    ("document_number", "spaces and hyphens", None, "ID 123-45-67", "ID1234567"),
    ("document_number", "small letters", None, "id1234567", "ID1234567"),
    ("document_number", "full-width characters", None, "ＩＤ１２３４５６７", "ID1234567"),
    ("document_number", "Cyrillic is not Latin", None, "АН 1234567", "АН1234567"),
    ("document_number", "a personal number", None, "2 2804 1990 00123", "22804199000123"),
    ("document_number", "marks alone", None, "-- / --", None),
    ("document_number", "nothing", None, "", None),
    ("identifier", "as it is stored", None, "GA1.2.7c9e-Ab", "GA1.2.7c9e-Ab"),
    ("identifier", "spaces around", None, " GA1.2.7c9e-Ab\n", "GA1.2.7c9e-Ab"),
    ("identifier", "small and capital letters differ", None, "ga1.2.7c9e-ab", "ga1.2.7c9e-ab"),
    ("identifier", "a letter in two code points", None, "и\u0306-1", "й-1"),
    ("identifier", "full-width characters stay", None, "ＩＤ１", "ＩＤ１"),
    ("identifier", "spaces alone", None, " \t ", None),
    ("text", "is not indexed", None, "Айгүл", None),
    ("address", "is not indexed", None, "Ош шаары", None),
    ("date", "is not indexed", None, "1990-12-31", None),
]


def vectors() -> Vector:
    names = ("type", "name", "region", "value", "normalised")
    return {
        "normalisation": 1,
        "normalised": [dict(zip(names, row, strict=True)) for row in TABLE],
        "index_values": [
            _index_value("a phone", "accounts", 5, MOBILE),
            _index_value("the same in another field", "accounts", 6, MOBILE),
            _index_value("the same in another compartment", "orders", 5, MOBILE),
            _index_value("an e-mail", "accounts", 4, "айгүл@мисал.кг"),
        ],
    }


def _index_value(name: str, compartment: str, uid: int, normalised: str) -> Vector:
    key, uuid = draw(f"index key of {compartment} {uid}"), draw(f"uuid of {compartment}", 16)
    return {
        "name": name,
        "key": key.hex(),
        "compartment": uuid.hex(),
        "uid": uid,
        "normalised": normalised,
        "index_value": mac(key, uuid, number(uid), VERSION, normalised.encode())[:16].hex(),
    }
