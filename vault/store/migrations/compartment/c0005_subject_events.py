"""What a report on processing needs: a subject's own events, and since when a trail is kept.

A worker may add events and read none. This function gives it those of tokens that it names, and it
names those of a record that it opened. It runs as the tables' owner, so its text is all that may be
asked: fixed, bounded in tokens and rows, and with the path of names pinned, so that nobody puts a
table or an operator of their own in its way. SQLite has no roles, and no functions of this kind.
"""

import sqlalchemy as sa
from alembic import op

revision = "c0005"
down_revision = "c0004"

# store/subject_events.py asks it so, and does the same on SQLite. A token is 16 bytes of HMAC.
_FUNCTION = """
CREATE FUNCTION subject_events(
    asked bytea[], after_writer bytea, after_sequence bigint, most integer
)
RETURNS TABLE (writer bytea, sequence bigint, previous bytea, token bytea, sealed bytea)
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    its_token bytea;
    wanted bigint := least(most, 500);
    found_now bigint;
BEGIN
    IF cardinality(asked) > 500 THEN
        RAISE program_limit_exceeded USING MESSAGE = 'at most 500 tokens at a time';
    END IF;
    FOREACH its_token IN ARRAY asked LOOP
        EXIT WHEN wanted <= 0;
        RETURN QUERY
            SELECT a.writer, a.sequence, a.previous, a.token, a.sealed FROM public.audit a
            WHERE a.token = its_token AND length(its_token) = 16
                AND (a.writer, a.sequence) > (after_writer, after_sequence)
            ORDER BY a.writer, a.sequence LIMIT wanted;
        GET DIAGNOSTICS found_now = ROW_COUNT;
        wanted := wanted - found_now;
        after_writer := '';
        after_sequence := -1;
    END LOOP;
END
$$
"""


def upgrade() -> None:
    op.add_column(
        "compartment",
        sa.Column("trail_begins", sa.BigInteger(), nullable=False, server_default="0"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_FUNCTION)
        op.execute(
            "REVOKE ALL ON FUNCTION subject_events(bytea[], bytea, bigint, integer) FROM PUBLIC"
        )
