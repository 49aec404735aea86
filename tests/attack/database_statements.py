"""What can be asked of PostgreSQL, and what each role may.

What a role may do is written here by hand, not read from what writes the grants.
"""

from collections.abc import Mapping

TABLES: Mapping[str, tuple[str, ...]] = {
    "compartment": (
        "compartment", "records", "data_keys", "blind_index", "keyring", "rotations", "epochs",
        "audit", "checkpoints", "tombstones", "idempotency", "alembic_version"),
    "broker": ("compartment", "keyring", "audit", "checkpoints", "alembic_version"),
    "control": ("chain", "approvals", "alembic_version"),
}  # fmt: skip

# Rows that could be inserted, and a column that could be changed. Nothing that is done stays.
ROWS: Mapping[str, tuple[str, str]] = {
    "compartment": (r"('\x01', 1, 0, '', '', '')", "epoch = 1"),
    "records": (r"('\x01', '', '')", "sealed = ''"),
    "data_keys": (r"('\x01', '', 1, '')", "wrapped = ''"),
    "blind_index": (r"(1, 1, '\x01', '', '')", "pseudonym = ''"),
    "keyring": ("('kek', 0, 99, '', '')", "wrapped = ''"),
    "rotations": (r"('\x01', 'kek', 0, 'done', 1, 2, 0, 0, '', '', 0, 0)", "error = ''"),
    "epochs": ("(99, 0, 0, 1)", "tombstones = 0"),
    "audit": (r"('\x01', 0, '', '', '')", "sealed = ''"),
    "checkpoints": ("(99, '', '')", "body = ''"),
    "tombstones": (r"('\x01')", "token = ''"),
    "idempotency": (r"('\x01', '', 1)", "content = ''"),
    "chain": ("(1000000, '', 'touch', '', '')", "kind = ''"),
    "approvals": (r"('\x01', '', '', '')", "body = ''"),
    "broker.compartment": (r"('\x01')", "uuid = ''"),
    "alembic_version": ("('mine')", "version_num = ''"),
}
PRIVILEGES: Mapping[str, str] = {
    "SELECT": "SELECT * FROM {table}",
    "INSERT": "INSERT INTO {table} VALUES {row}",
    "UPDATE": "UPDATE {table} SET {change} WHERE false",
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table}",
    # The same, by the back door.
    "count": "SELECT count(*) FROM {table}",
    "lock rows": "SELECT 1 FROM {table} FOR SHARE",
    "lock it": "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
    "sample": "SELECT * FROM {table} TABLESAMPLE SYSTEM (100)",
    "name rows": "SELECT ctid, xmin FROM {table}",
    "return": "INSERT INTO {table} VALUES {row} RETURNING *",
    "overwrite": "INSERT INTO {table} AS t VALUES {row} ON CONFLICT ON CONSTRAINT {key} "
                 "DO UPDATE SET {change}",
    "merge": "MERGE INTO {table} USING (SELECT 1) s ON false WHEN MATCHED THEN DELETE",
    "copy out": "COPY {table} TO '/dev/null'",
    "copy in": "COPY {table} FROM '/dev/null'",
    "query": "DECLARE c CURSOR FOR SELECT * FROM {table}",
    "as JSON": "SELECT json_agg(t) FROM {table} t",
    "by a function": "SELECT ts_stat('SELECT to_tsvector(''a'') FROM {table}')",
    "change its shape": "ALTER TABLE {table} ADD COLUMN mine text",
    "let all rows be seen": "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "own it": "ALTER TABLE {table} OWNER TO CURRENT_USER",
    # Without a privilege to grant it only warns.
    "grant it": "DO $$BEGIN GRANT ALL ON {table} TO PUBLIC; IF NOT EXISTS (SELECT FROM pg_class, "
                "aclexplode(relacl) a WHERE oid = '{table}'::regclass AND a.grantee = 0) "
                "THEN RAISE insufficient_privilege; END IF; END$$",
    "drop it": "DROP TABLE {table}",
    "watch it": "CREATE TRIGGER mine AFTER INSERT ON {table} EXECUTE FUNCTION "
                "suppress_redundant_updates_trigger()",
    "rewrite queries": "CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "index it": "CREATE INDEX ON {table} (({first}))",
    "measure it": "CREATE STATISTICS mine ON ({first}), ({first} IS NULL) FROM {table}",
    "view it": "CREATE VIEW mine AS SELECT * FROM {table}",
    "name it": "COMMENT ON TABLE {table} IS 'mine'",
    "size its rows": "SELECT pg_column_size(t) FROM {table} t",
}  # fmt: skip
# What the ways round need: they are legal for who has all of it.
NEEDS: Mapping[str, frozenset[str]] = {
    **{p: frozenset({p}) for p in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")},
    **{
        w: frozenset({"SELECT"})
        for w in ("count", "sample", "name rows", "query", "as JSON", "by a function",
                  "size its rows")
    },
    "lock rows": frozenset({"SELECT", "UPDATE"}),
    "return": frozenset({"SELECT", "INSERT"}),
    "overwrite": frozenset({"SELECT", "INSERT", "UPDATE"}),
    "merge": frozenset({"SELECT", "DELETE"}),
}  # fmt: skip

# What acts as its owner, and who may call it. A worker names tokens, and gets their events.
FUNCTIONS: Mapping[str, tuple[frozenset[str], str]] = {
    "subject_events": (
        frozenset({"worker"}),
        r"SELECT * FROM subject_events(ARRAY['\x00'::bytea], '', -1, 500)"),
}  # fmt: skip
# What a worker may try with it, to see events whose tokens it hasn't got. {token}: one of theirs.
TOKENS: Mapping[str, str] = {
    "no token": "ARRAY[]::bytea[]",
    "an empty one": "ARRAY[''::bytea]",
    "a null": "ARRAY[NULL]::bytea[]",
    "no array": "NULL::bytea[]",
    "its beginning": "ARRAY[substring({token} FROM 1 FOR 15)]",
    "its end": "ARRAY[substring({token} FROM 2)]",
    "more than it": "ARRAY[{token} || '\\x00'::bytea]",
    "a pattern": "ARRAY['%'::bytea, '*'::bytea]",
    "all of one byte": "(SELECT array_agg(decode(repeat(to_hex(16 + n % 240), 16), 'hex')) "
                       "FROM generate_series(1, 500) n)",
    "at random": "(SELECT array_agg(decode(md5(random()::text), 'hex')) "
                 "FROM generate_series(1, 500) n)",
}  # fmt: skip

# What the design grants, by kind of role: process of a role, then table.
_ALL = "SELECT INSERT UPDATE DELETE"
LEGAL: Mapping[str, Mapping[str, str]] = {
    "worker": {
        "compartment": "SELECT INSERT UPDATE",
        "records": _ALL,
        "data_keys": _ALL,
        "blind_index": "SELECT INSERT DELETE",
        "keyring": "SELECT INSERT UPDATE",
        "rotations": "SELECT INSERT UPDATE",
        "epochs": "SELECT INSERT UPDATE",
        "audit": "INSERT",
        "tombstones": "SELECT INSERT DELETE",
        "idempotency": "SELECT INSERT DELETE",
        "alembic_version": "SELECT",
    },
    "auditor": {
        "compartment": "SELECT",
        "keyring": "SELECT",
        "audit": "SELECT",
        "checkpoints": "SELECT INSERT",
        "alembic_version": "SELECT",
    },
    "broker": {
        "compartment": "SELECT INSERT",
        "keyring": "SELECT INSERT",
        "audit": "INSERT",
        "alembic_version": "SELECT",
    },
    "control": {"chain": "SELECT INSERT", "approvals": _ALL, "alembic_version": "SELECT"},
    "history": {"chain": "SELECT INSERT", "alembic_version": "SELECT"},
    "reader": {"chain": "SELECT", "alembic_version": "SELECT"},
}

# Whatever else a role could try; all of it is for superusers or owners. {other}: another role.
BEYOND: Mapping[str, str] = {
    "make a table": "CREATE TABLE mine (a int)",
    "make a temporary table": "CREATE TEMPORARY TABLE mine (a int)",
    "make a table elsewhere": "CREATE TABLE pg_temp.mine (a int)",
    "make a schema": "CREATE SCHEMA mine",
    "make a function": "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "change what a function does": "CREATE OR REPLACE FUNCTION subject_events(asked bytea[], "
                                   "after_writer bytea, after_sequence bigint, most integer) "
                                   "RETURNS TABLE (writer bytea, sequence bigint, previous bytea, "
                                   "token bytea, sealed bytea) LANGUAGE sql AS "
                                   "$$SELECT ''::bytea, 1::bigint, ''::bytea, ''::bytea, "
                                   "''::bytea$$",
    "make a type": "CREATE TYPE mine AS (a int)",
    "make a sequence": "CREATE SEQUENCE mine",
    "make an operator": "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "make a role": "CREATE ROLE mine",
    "make a language": "CREATE LANGUAGE mine HANDLER plpgsql_call_handler",
    "make a wrapper": "CREATE FOREIGN DATA WRAPPER mine",
    "make a publication": "CREATE PUBLICATION mine FOR ALL TABLES",
    "make an event trigger": "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION f()",
    "make a cast": "CREATE CAST (alembic_version AS text) WITH INOUT AS IMPLICIT",
    "reach another database (dblink)": "CREATE EXTENSION dblink",
    "reach another database (fdw)": "CREATE EXTENSION postgres_fdw",
    "reach files (fdw)": "CREATE EXTENSION file_fdw",
    "see pages": "CREATE EXTENSION pageinspect",
    "see statements": "CREATE EXTENSION pg_stat_statements",
    "load a library": "LOAD 'dblink'",
    "be the owner": "SET ROLE piivault_owner",
    "be the owner by a setting": "SELECT set_config('role', 'piivault_owner', false)",
    "be a superuser": "SET ROLE postgres",
    "be another": 'SET ROLE "{other}"',
    "be another from the start": 'SET SESSION AUTHORIZATION "{other}"',
    "be a reader of all": "SET ROLE pg_read_all_data",
    "be a reader of files": "SET ROLE pg_read_server_files",
    "be a monitor": "SET ROLE pg_monitor",
    "join the owner": "GRANT piivault_owner TO CURRENT_USER",
    "join the readers": "GRANT pg_read_all_data TO CURRENT_USER",
    "join another": 'GRANT "{other}" TO CURRENT_USER',
    "see every row": "ALTER ROLE CURRENT_USER BYPASSRLS",
    "become a superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "become a maker of roles": "ALTER ROLE CURRENT_USER CREATEROLE",
    "become a replica": "ALTER ROLE CURRENT_USER REPLICATION",
    "inherit": "ALTER ROLE CURRENT_USER INHERIT",
    "give another a password": "ALTER ROLE \"{other}\" PASSWORD 'mine'",
    "set another's path": "ALTER ROLE \"{other}\" SET search_path = 'mine'",
    "set the owner's path": "ALTER ROLE piivault_owner SET search_path = 'mine'",
    "drop another": 'DROP ROLE "{other}"',
    "take what another owns": 'REASSIGN OWNED BY "{other}" TO CURRENT_USER',
    "change what is granted": "ALTER DEFAULT PRIVILEGES FOR ROLE piivault_owner "
                              "GRANT ALL ON TABLES TO PUBLIC",
    "run a program": "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'",
    "read a program": "DO $$BEGIN EXECUTE 'COPY pg_class FROM PROGRAM ''true'''; END$$",
    "write a file": "COPY (SELECT 1) TO '/dev/null'",
    "read a file": "SELECT pg_read_file('PG_VERSION')",
    "read bytes": "SELECT pg_read_binary_file('global/pg_control')",
    "list files": "SELECT pg_ls_dir('.')",
    "look at a file": "SELECT pg_stat_file('PG_VERSION')",
    "list the log": "SELECT pg_ls_logdir()",
    "list the journal": "SELECT pg_ls_waldir()",
    "name the log": "SELECT pg_current_logfile()",
    "import a file": "SELECT lo_import('/etc/hostname')",
    "export a file": "SELECT lo_from_bytea(4242, 'a'); SELECT lo_export(4242, '/dev/null')",
    "read large objects": "SELECT * FROM pg_largeobject",
    "read passwords": "SELECT * FROM pg_authid",
    "read passwords of old": "SELECT * FROM pg_shadow",
    "read the doors": "SELECT * FROM pg_hba_file_rules",
    "read the files' settings": "SELECT * FROM pg_file_settings",
    "read statistics": "SELECT * FROM pg_statistic",
    "read more statistics": "SELECT * FROM pg_statistic_ext_data",
    "read origins": "SELECT * FROM pg_replication_origin_status",
    "read subscriptions": "SELECT subconninfo FROM pg_subscription",
    "size another database": "SELECT pg_database_size('{elsewhere}')",
    "enter another database": "GRANT CONNECT ON DATABASE {elsewhere} TO CURRENT_USER",
    "own its database": "ALTER DATABASE {here} OWNER TO CURRENT_USER",
    "set its database": "ALTER DATABASE {here} SET log_statement = 'all'",
    "log statements": "SET log_statement = 'all'",
    "log parameters": "SET log_parameter_max_length = -1",
    "log slow statements": "SET log_min_duration_statement = 0",
    "log plans": "SET debug_print_plan = on; SET session_preload_libraries = 'auto_explain'",
    "follow changes": "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
    "follow the journal": "SELECT pg_create_physical_replication_slot('mine')",
    "read a slot": "SELECT pg_logical_slot_peek_changes('mine', NULL, NULL)",
    "begin a backup": "SELECT pg_backup_start('mine', true)",
    "switch the journal": "SELECT pg_switch_wal()",
    "reload": "SELECT pg_reload_conf()",
    "turn the log": "SELECT pg_rotate_logfile()",
    "reset counters": "SELECT pg_stat_reset()",
    "show memory": "SELECT pg_log_backend_memory_contexts(pg_backend_pid())",
    "read memory": "SELECT * FROM pg_shmem_allocations",
    "read memory of backends": "SELECT * FROM pg_backend_memory_contexts",
    "read the server's settings": "SHOW data_directory",
    "read the configuration's place": "SHOW config_file",
    "make an origin": "SELECT pg_replication_origin_create('mine')",
}  # fmt: skip
EXTENSIONS = frozenset(what for what, statement in BEYOND.items() if "EXTENSION" in statement)
# What a superuser isn't asked for: it would stay, or stumble over what this cluster lacks.
IDLE = EXTENSIONS | {
    "follow changes", "follow the journal", "read a slot", "drop another", "list the log",
    "load a library", "make an event trigger",
}  # fmt: skip
# These can't run in a transaction, so an owner's try can't be undone: no control.
ALONE: Mapping[str, str] = {
    "make a database": "CREATE DATABASE mine",
    "drop a database": "DROP DATABASE {elsewhere}",
    "copy a database": "CREATE DATABASE mine TEMPLATE {here}",
    "set the server": "ALTER SYSTEM SET log_statement = 'all'",
    "make a tablespace": "CREATE TABLESPACE mine LOCATION '/tmp'",
    "subscribe": "CREATE SUBSCRIPTION mine CONNECTION 'dbname={elsewhere}' PUBLICATION p",
}
