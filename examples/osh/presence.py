"""Who must be there: an edition that asks for the identity provider's word, and what it changes."""

from piivault.errors import SubjectAssertionError, SubjectAssertionRequired

from examples.osh.cast import Cast
from examples.osh.office import next_edition, publish, seconds_until, wider_edition
from examples.osh.stage import Stage, step

# From when on the portal must show that a subject is there.
PORTAL = "subject_facing: true}"
ASKED = "subject_facing: true, require_subject_assertion: true}"


@step("4.1")
def subject_must_be_there(stage: Stage, cast: Cast) -> None:
    """The portal acts only for who is there, and the identity provider says who is."""
    stage.asks("an officer: `piivault policy publish` an edition that asks it of the portal")
    stage.answers(publish(cast, next_edition(wider_edition(), (PORTAL, ASKED))))
    stage.check("the broker goes by it within 2 seconds", seconds_until(cast, 3) < 2)

    _, bekzat, bakery = cast.roots
    stage.asks("somebody at the portal, with Бекзат's root id while he sleeps: his pseudonym")
    with stage.refused(SubjectAssertionRequired):
        cast.portal.subject(bekzat).pseudonym("accounts")
    stage.asks("the same, with the assertion of somebody else, who is there")
    with stage.refused(SubjectAssertionError):
        other = cast.identity_provider.assertion(bakery)
        cast.portal.subject(bekzat, assertion=other).pseudonym("accounts")

    stage.asks("portal: the same, once Бекзат has logged in")
    there = cast.portal.subject(bekzat, assertion=lambda: cast.identity_provider.assertion(bekzat))
    own = there.view("accounts", ["last_name"])
    stage.answers(own["last_name"].expose() if own["last_name"] else "nothing")
    stage.check(
        "he is there, and it is his record",
        there.pseudonym("accounts") == cast.bekzat.pseudonym("accounts"),
    )
