"""What a new edition changes, sentence by sentence."""

from typing import Any

import pytest

from vault.policy import Edition, compile_edition, diff

from .conftest import Change, Variant


def _same(tree: Any) -> None:
    """Change nothing."""


def _widened(tree: Any) -> None:
    tree["purposes"]["newsletter"]["uses"]["accounts"]["fields"].update(city="plain")
    tree["purposes"]["account"]["uses"]["accounts"]["fields"].update(email="plain")


def _narrowed(tree: Any) -> None:
    fields = tree["purposes"]["account"]["uses"]["accounts"]["fields"]
    fields.update(last_name="masked")
    del fields["position"]


def _kept_for_less(tree: Any) -> None:
    tree["purposes"]["account"]["uses"]["accounts"]["retention"] = "1 month"


def _purpose_gone(tree: Any) -> None:
    del tree["purposes"]["statistics"]
    tree["grants"].pop()


def _compartment_gone(tree: Any) -> None:
    _purpose_gone(tree)
    del tree["compartments"]["web"]


def _joins(tree: Any) -> None:
    use = {"retention": "1 year", "fields": {"address": "plain"}}
    tree["purposes"]["account"]["uses"]["orders"] = use


def _by_contract(tree: Any) -> None:
    tree["purposes"]["statistics"]["basis"] = "contract"


def _courier(tree: Any) -> None:
    title = {"ky": "Курьер", "ru": "Курьер", "en": "Courier"}
    tree["recipients"] = {"courier": {"title": title}}
    tree["purposes"]["services"]["recipients"] = ["courier"]


def _courier_renamed(tree: Any) -> None:
    _courier(tree)
    tree["recipients"]["courier"]["title"]["en"] = "Fast courier"


def _reworded(tree: Any) -> None:
    tree["purposes"]["newsletter"]["description"]["en"] = "News, and offers of friends."
    tree["compartments"]["web"]["fields"]["cookie_id"]["title"]["en"] = "Advertising identifier"


def _limited(tree: Any) -> None:
    limits = {"reveal": {"per_second": 100, "per_day": 1000000}}
    tree["services"]["orders"]["limits"] = limits


def _forbidden(tree: Any) -> None:
    reason = {"ky": "a", "ru": "b", "en": "They write news"}
    what = {"owner": "press_office", "compartment": "accounts", "fields": ["first_name"]}
    tree["forbid"] = [{**what, "operations": ["reveal", "find"], "reason": reason}]


def _grants(tree: Any) -> None:
    tree["grants"][2]["operations"] = ["reveal"]
    tree["grants"][3]["operations"] = ["reveal", "find"]


def _renamed(tree: Any) -> None:
    owners, services, compartments = tree["owners"], tree["services"], tree["compartments"]
    owners["counting"] = owners.pop("site_statistics")
    services["counter"] = {**services.pop("analytics"), "owner": "counting"}
    compartments["site"] = compartments.pop("web")
    fields = compartments["site"]["fields"]
    fields["browser"] = fields.pop("user_agent")
    use = tree["purposes"]["statistics"]["uses"].pop("web")
    use["fields"]["browser"] = use["fields"].pop("user_agent")
    tree["purposes"]["statistics"]["uses"]["site"] = use
    tree["grants"][-1].update(service="counter", compartment="site")


def _fields(tree: Any) -> None:
    fields = tree["compartments"]["accounts"]["fields"]
    title = {"ky": "a", "ru": "b", "en": "c"}
    fields["birthday"] = {"uid": 9, "type": "date", "title": title}
    fields["nickname"] = {"uid": 10, "type": "name", "title": title, "voluntary": True}
    fields["email"].pop("index")
    fields["city"]["voluntary"] = False


def _asks(tree: Any) -> None:
    tree["services"]["portal"]["require_subject_assertion"] = True


def _moved(tree: Any) -> None:
    cabinet = {"owner": "cabinet", "spiffe": "spiffe://oshto.kg/cabinet", "subject_facing": True}
    del tree["services"]["portal"]
    tree["services"]["cabinet"] = cabinet


def _second(tree: Any) -> None:
    title = {"ky": "a", "ru": "b", "en": "c"}
    tree["owners"]["kiosks"] = {"id": "7b1c6f0e-5a3d-4c52-8a51-2f0f6f3f9c01", "title": title}
    tree["services"]["kiosk"] = {
        "owner": "kiosks",
        "spiffe": "spiffe://oshto.kg/kiosk",
        "subject_facing": True,
        "require_subject_assertion": True,
    }


CASES: dict[str, tuple[Change, Change, str]] = {
    "wider": (
        _same,
        _widened,
        """
        subjects: account now sees email of accounts plain and no longer masked.
        subjects: newsletter now sees city of accounts plain.
        consent: Consent given before to account in accounts doesn't cover that account now shows email of accounts plain and not only masked.
        consent: Consent given before to newsletter in accounts doesn't cover that newsletter now shows city of accounts plain.
        services: support may now reveal email plain and not masked of accounts for account.
        services: support may now find email plain and not masked of accounts for account.
        services: newsletter may now reveal city plain of accounts for newsletter.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "narrower": (
        _same,
        _narrowed,
        """
        subjects: account now sees last_name of accounts masked and no longer plain.
        subjects: account no longer sees position of accounts.
        erasure: position of accounts falls due on 2026-01-01: no purpose sees it any more.
        services: support may now reveal last_name masked and not plain of accounts for account.
        services: support may no longer reveal position of accounts for account.
        """,
    ),
    "kept for less": (
        _same,
        _kept_for_less,
        """
        subjects: account uses accounts for 1 month and no longer 3 years.
        erasure: patronymic, organisation, city and position of accounts are used for 1 month and no longer 3 years.
        erasure: email of accounts is used for 1 year and no longer 3 years.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "kept for longer": (
        _kept_for_less,
        _same,
        """
        subjects: account uses accounts for 3 years and no longer 1 month.
        consent: Consent given before to account in accounts doesn't cover that account now keeps accounts for 3 years and not only 1 month.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "a purpose gone": (
        _same,
        _purpose_gone,
        """
        subjects: The purpose statistics is gone.
        subjects: statistics no longer uses web.
        erasure: cookie_id and user_agent of web fall due on 2026-01-01: no purpose sees it any more.
        services: analytics may no longer reveal anything of web for statistics.
        owners: site_statistics reaches nothing now.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "a compartment gone": (
        _same,
        _compartment_gone,
        """
        policy: The compartment web is gone.
        subjects: The purpose statistics is gone.
        subjects: statistics no longer uses web.
        erasure: All that web holds falls due on 2026-01-01: the compartment is gone.
        services: analytics may no longer reveal anything of web for statistics.
        owners: site_statistics reaches nothing now.
        """,
    ),
    "a purpose and a compartment new": (
        _compartment_gone,
        _same,
        """
        policy: The compartment web is new.
        subjects: The purpose statistics is new: Statistics of the site.
        subjects: statistics now uses web, for 6 months on consent: cookie_id present and user_agent plain.
        consent: Nobody consented to statistics in web yet: it is denied until they consent.
        services: analytics may now reveal cookie_id present and user_agent plain of web for statistics.
        owners: site_statistics reaches web now.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "a purpose that joins more": (
        _same,
        _joins,
        """
        subjects: account now uses orders, for 1 year on consent: address plain.
        subjects: account may now join accounts with orders.
        consent: Nobody consented to account in orders yet: it is denied until they consent.
        consent: Consent given before to account in accounts covers nothing any more: account now may join accounts with orders.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "a purpose on another basis": (
        _same,
        _by_contract,
        """
        subjects: statistics now stands on contract and no longer on consent.
        consent: Consent given before to statistics in web covers nothing any more: statistics now stands on contract and not on consent.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "a purpose in other words": (
        _same,
        _reworded,
        """
        policy: cookie_id of web reads Advertising identifier now: make sure that it means the same.
        subjects: The purpose newsletter is put in other words, and old consents count for it: make sure that it means the same.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "a third party": (
        _same,
        _courier,
        """
        subjects: services lets data of accounts go to courier now.
        subjects: services lets data of orders go to courier now.
        subjects: The third party courier is new: Courier.
        consent: Consent given before to services in accounts doesn't cover that services now lets data of accounts go to courier.
        consent: Consent given before to services in orders doesn't cover that services now lets data of orders go to courier.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "no third party any more": (
        _courier,
        _same,
        """
        subjects: services no longer lets data of accounts go to courier.
        subjects: services no longer lets data of orders go to courier.
        subjects: The third party courier is gone.
        """,
    ),
    "a third party under another title": (
        _courier,
        _courier_renamed,
        """
        subjects: The third party courier is called Fast courier now, and old consents count for it: make sure that it is the same.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "a pair": (
        lambda tree: tree.update(joinable=[], grants=tree["grants"][1:]),
        _same,
        """
        policy: accounts and orders may now be joined: To deliver an order one must know who placed it and how to call them.
        subjects: services may now join accounts with orders.
        subjects: services may now join orders with accounts.
        consent: Consent given before to services in accounts covers nothing any more: services now may join accounts with orders.
        consent: Consent given before to services in orders covers nothing any more: services now may join orders with accounts.
        services: orders may now reveal last_name plain, first_name plain and phone plain of accounts for services.
        owners: municipal_services reaches accounts and orders now.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "limits": (
        _same,
        _limited,
        """
        services: orders may reveal at most 100 times a second and 1,000,000 times a day now.
        """,
    ),
    "no limits": (
        _limited,
        _same,
        """
        services: orders may reveal as often as the server lets it now.
        """,
    ),
    "something forbidden": (
        _same,
        _forbidden,
        """
        services: newsletter may no longer reveal first_name of accounts for newsletter.
        services: Whatever is granted, the services of press_office must not find or reveal first_name of accounts: They write news.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "something no longer forbidden": (
        _forbidden,
        _same,
        """
        services: newsletter may now reveal first_name plain of accounts for newsletter.
        services: It is no longer so that the services of press_office must not find or reveal first_name of accounts.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "grants": (
        _same,
        _grants,
        """
        services: newsletter may now find email plain of accounts for newsletter.
        services: support may no longer find anything of accounts for account.
        """,
    ),
    "names alone": (
        _same,
        _renamed,
        """
        policy: The compartment web is now called site.
        policy: browser of site was called user_agent before.
        services: The service analytics is now called counter.
        owners: The owner site_statistics is now called counting.
        """,
    ),
    "fields": (
        _same,
        _fields,
        """
        policy: accounts has a new field, birthday, which whoever registers must give.
        policy: accounts has a new field, nickname.
        policy: email of accounts can no longer be found by.
        policy: city of accounts is now required of whoever registers.
        services: support may no longer find email of accounts for account.
        """,
    ),
    "subjects who must be there": (
        _same,
        _asks,
        """
        policy: portal from now on acts only for subjects who are there: it must show an assertion of each.
        """,  # noqa: E501 -- a sentence as it is said
    ),
    "subjects who needn't be there any more": (
        _asks,
        _same,
        """
        policy: portal NO LONGER HAS TO SHOW THAT A SUBJECT IS THERE: it may act for whomever it has a root id of, at any time.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "another portal of the same owner, for which they needn't be there": (
        _asks,
        _moved,
        """
        policy: cabinet NO LONGER HAS TO SHOW THAT A SUBJECT IS THERE: it may act for whomever it has a root id of, at any time.
        services: cabinet, of cabinet, is a new service, which acts for subjects.
        services: portal, of cabinet, is no longer let in.
        """,  # noqa: E501 -- an edition as it is written
    ),
    "one more, for subjects who are there": (
        _same,
        _second,
        """
        services: kiosk, of kiosks, is a new service, which acts for subjects who are there.
        owners: The owner kiosks is new.
        """,
    ),
    "the law": (
        _same,
        lambda tree: tree["law"].update(en="Digital Code"),
        """
        policy: The law that governs what is left open is now: Digital Code.
        """,
    ),
}


@pytest.mark.parametrize(("first", "second", "changes"), CASES.values(), ids=CASES.keys())
def test_says(variant: Variant, first: Change, second: Change, changes: str) -> None:
    """All that changes, and nothing else."""
    found = diff(compile_edition(variant(first)), compile_edition(variant(second)))
    said = [f"{change.concerns}: {change.sentence}" for change in found]
    assert said == [line.strip() for line in changes.strip().splitlines()]


def test_says_nothing_where_nothing_changed(edition: Edition, variant: Variant) -> None:
    def the_other_way_round(tree: Any) -> None:
        tree["joinable"][0]["between"].reverse()

    assert diff(edition, compile_edition(variant(_same))) == ()
    assert diff(edition, compile_edition(variant(the_other_way_round))) == ()
