"""The README of what `piivault setup` writes: who runs what, in which order."""

from collections.abc import Iterable

from vault.keys.provision import (
    AUDIT_KEY,
    BROKERS_AUDIT_KEY,
    CAPABILITY_KEY,
    signing_transit_key,
)
from vault.names import BROKER
from vault.setup.processes import Process
from vault.store.rights import OWNER, database_of

_TEXT = """\
# Setting piivault up

Written by `piivault setup` from an edition. Nothing here is secret but what `--apply` puts into
`secrets/`. Everything may be run again, with a later edition too: what is there stays, what is
missing is made. A `piivault-PROCESS.toml` that was filled in is never written over: what would be
written now stands beside it as `piivault-PROCESS.toml.new`, where the two differ.

Each process has a login of its own at the key server and roles of its own in PostgreSQL; none has
those of two:

{table}

## 1. The security team: the key server

    export BAO_ADDR=https://… BAO_CACERT=… BAO_TOKEN=…
    sh key-server/set-up.sh

Read the policies first, the `.hcl` files beside it: no process may make a key, rotate one or take
one out. Then hand each process its two ids, in files that it alone may read:

    role=auth/approle/role/piivault-broker
    bao read -field=role_id $role/role-id > secrets/piivault-broker.role-id
    bao write -force -field=secret_id $role/secret-id > secrets/piivault-broker.secret-id

Each worker and the broker also have the public half of `{capability_key}` in `capability_keys`: in
base64url without padding, where the key server writes base64.

    bao read -field=keys transit/keys/{capability_key}

Each worker has the public half of its own `{signing_key}` in `signing_keys`: it signs what subjects
are handed (receipts of erasures, and exports). Publish it where the policy is posted, not
through the services that relay such documents, and pin it where they are verified
(`PIIVAULT_COMPARTMENT_<NAME>_SIGNING_KEYS`): who has it from the relaying service alone has that
service's word. `piivault keys status` prints it again.

The auditor has that of `{audit_key}` in `checkpoint_keys`, and whoever verifies trails has it too:
`piivault audit keys` prints it. Say in [auditor] where checkpoints are shipped, `ship_file` or
`ship_stdout`, and keep that out of reach of whoever administers the databases.

The key server must not have a static seal: a process refuses to start on one.

### Other logins

A process may also log in by a JWT, in Kubernetes by its service account, or with a token that an
agent keeps fresh. Its policy stays the same. Files are read anew at each login.

    [broker.login]                          # or [compartments.NAME.login], [auditor.login]
    method = "kubernetes"
    role = "piivault-broker"
    # mount = "kubernetes"
    # jwt_file = "/var/run/secrets/kubernetes.io/serviceaccount/token"

    method = "jwt"
    role = "piivault-broker"
    jwt_file = "secrets/broker.jwt"
    # mount = "jwt"

    method = "token"
    token_file = "secrets/token"

At the key server, a role for each process:

    bao write auth/kubernetes/role/piivault-broker token_policies=piivault-broker \\
        token_no_default_policy=true token_ttl=1h token_max_ttl=24h \\
        bound_service_account_names=piivault-broker bound_service_account_namespaces=piivault

    bao write auth/jwt/role/piivault-broker role_type=jwt token_policies=piivault-broker \\
        token_no_default_policy=true token_ttl=1h token_max_ttl=24h \\
        user_claim=sub bound_subject=… bound_audiences=…

Bind each role to one subject: who can log in as two processes is two processes.

## 2. The database administrator: PostgreSQL

    psql --set=ON_ERROR_STOP=1 --file=postgresql/1-databases.sql postgres     # as a superuser

Then give each role in the table above a password, with psql's `\\password`, and write it into
`secrets/ROLE.password` for its process. `{owner}` belongs to no process: it owns the tables and
runs the migrations.

`{brokers_database}` holds the broker's own trail, sealed under `{brokers_key}`, and no personal
data.

## 3. The operators: configuration, tables, rights

Fill in each `piivault-PROCESS.toml`, and put the server's certificate, the secrets and the two CAs
beside it. `officers` are the same in all: the people who sign editions. Each makes a key, keeps it,
and hands over the public half:

    openssl genpkey -algorithm ed25519 -out officer.pem
    openssl pkey -in officer.pem -pubout -outform DER | tail -c 32 | base64 | tr '+/' '-_' | tr -d =

`spiffe` is the one URI in the certificate by which that officer is known. Then, once for each file:

    piivault config check --config piivault-control.toml
    piivault db upgrade --config piivault-control.toml \\
        --owner {owner} --owner-password-file …

This makes the tables, and gives each role its rights: what `postgresql/2-rights.sql` says, which is
there to be read, or to be run by hand.

### Identity providers

Where the edition says `require_subject_assertion` of a service, the broker alone takes an identity
provider's word for it that a subject is there. It doesn't start without one, and fetches no keys:
pin them in its configuration, the next key before the provider begins to sign with it.

    [[broker.identity_providers]]
    issuer = "https://id.example.kg"        # `iss`, letter by letter
    audience = "piivault"                   # `aud`; this is the default

    [[broker.identity_providers.keys]]
    id = "2026-1"                           # `kid`
    algorithm = "EdDSA"                     # or "ES256", "RS256"
    public_key = '''
    -----BEGIN PUBLIC KEY-----
    …
    -----END PUBLIC KEY-----
    '''

`docs/editions.md` says what an assertion holds.

## 4. The officers: the first edition

    export PIIVAULT_OFFICER=NAME PIIVAULT_SIGNING_KEY=officer.pem
    piivault policy sign policy.yaml                                          # each officer
    piivault policy first policy.yaml --config piivault-control.toml --signature …

All later ones go through control. Now start the processes, each with its own file:

    piivault serve --config piivault-control.toml

Each refuses to start with more than its part: compartments that aren't joinable, another's section
in its configuration, a database role with more rights than its own.

## Steps 1 to 3 at once

    piivault setup --policy … --output . --apply --key-server https://… --key-server-ca … \\
        --token-file … --owner-url-file …

takes an administrator's token, and the login of a role that may make others and will own all
databases (`CREATE ROLE {owner} LOGIN CREATEDB CREATEROLE`). Each process's ids and passwords are
then in `secrets/`: hand them out and delete them. Either half may be left out, the token or the
owner.
"""


def readme(parts: Iterable[Process]) -> str:
    """Write it, with a row a process. Pure."""
    rows = ["| process | key server | PostgreSQL: control | PostgreSQL: trail and compartments |"]
    rows.append("|---|---|---|---|")
    for process in parts:
        own = (process.trail_role, *map(process.database_role, process.compartments))
        roles = ", ".join(f"`{role}`" for role in own if role)
        login = f"`{process.login}`" if process.login else "none"
        rows.append(f"| {process.name} | {login} | `{process.control_role}` | {roles or 'none'} |")
    return _TEXT.format(
        table="\n".join(rows),
        owner=OWNER,
        audit_key=AUDIT_KEY,
        capability_key=CAPABILITY_KEY,
        signing_key=signing_transit_key("COMPARTMENT"),
        brokers_key=BROKERS_AUDIT_KEY,
        brokers_database=database_of(BROKER),
    )
