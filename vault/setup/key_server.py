"""What the security team applies to the key server: a policy a login, and a script.

The script does what `vault.keys.provision` does, for those who want to read it first and run it
with their own tools.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from vault.keys.provision import OFFICER, app_role, officer_policy, policies, transit_keys

SCRIPT = "set-up.sh"

_HEAD = """\
#!/bin/sh
# Keys, policies and AppRoles of piivault. Written by `piivault setup`.
#
#     sh set-up.sh                 with OpenBao, logged in as an administrator
#     BAO=vault sh set-up.sh       with HashiCorp Vault
#
# It may be run again: a key that is there stays as it is.
set -eu
cd "$(dirname "$0")"
bao=${{BAO:-bao}}

"$bao" secrets list | grep -q '^{mount}/ ' || "$bao" secrets enable -path={mount} transit
"$bao" auth list | grep -q '^approle/ ' || "$bao" auth enable approle

# Nobody makes a key by encrypting, whatever their policy says.
"$bao" write {mount}/config/keys disable_upsert=true
"""

_KEY = """\
"$bao" read {path} >/dev/null 2>&1 || "$bao" write {path} - <<'JSON'
{json}
JSON
"""

_LOGIN = """\
"$bao" policy write {name} {name}.hcl
"$bao" write auth/approle/role/{name} - <<'JSON'
{json}
JSON
"""


_POLICY = """\
# Officers log in as people do; give them this policy: they rotate keys, and use none.
"$bao" policy write {name} {name}.hcl
"""


def key_server_files(compartments: Iterable[str], mount: str) -> dict[str, str]:
    """Write the files, by name. Pure; raises KeyServerError for a name that clashes."""
    compartments = tuple(compartments)
    written = policies(compartments, mount)
    script = [_HEAD.format(mount=mount), "# Keys that never leave the key server.\n"]
    script += [
        _KEY.format(path=f"{mount}/keys/{name}", json=_json(fields))
        for name, fields in transit_keys(compartments).items()
    ]
    script.append("# A policy and a login for each process. Processes use keys, they make none.\n")
    script += [_LOGIN.format(name=name, json=_json(app_role(name))) for name in written]
    script.append(_POLICY.format(name=OFFICER))
    written[OFFICER] = officer_policy(compartments, mount)
    files = {f"{name}.hcl": policy for name, policy in written.items()}
    return {**files, SCRIPT: "\n".join(script)}


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, indent=2)
