"""`piivault setup`: what the security team and the database administrator apply."""

import asyncio
from pathlib import Path

import click

from vault.cli.options import read_edition
from vault.keys.login import TokenFile
from vault.keys.transit import Transit
from vault.policy import Edition
from vault.setup.apply import PublicKeys, apply_to_key_server, apply_to_postgresql
from vault.setup.files import SECRETS, Deployment, files

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PATIENCE = 30.0  # seconds, a call


@click.command()
@click.option("--policy", type=_FILE, required=True, help="The edition to set up for.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="piivault-setup",
    show_default=True,
    help="The folder to write into.",
)
@click.option(
    "--key-server",
    envvar="PIIVAULT_KEY_SERVER",
    default="https://key-server.example:8200",
    show_default=True,
    show_envvar=True,
    help="The key server's address.",
)
@click.option(
    "--mount", default="transit", show_default=True, help="The mount of the Transit engine."
)
@click.option(
    "--postgres",
    default="postgresql+asyncpg://postgresql.example:5432/?ssl=verify-full",
    show_default=True,
    help="PostgreSQL's URL; with --owner-url-file, the URL in that file counts.",
)
@click.option("--apply", "is_applied", is_flag=True, help="Apply it too. Safe to repeat.")
@click.option(
    "--key-server-ca",
    type=_FILE,
    envvar="PIIVAULT_KEY_SERVER_CA",
    show_envvar=True,
    help="To apply to the key server: the file of its CA.",
)
@click.option(
    "--token-file",
    type=_FILE,
    envvar="PIIVAULT_TOKEN_FILE",
    show_envvar=True,
    help="To apply to the key server: an administrator's token.",
)
@click.option(
    "--owner-url-file",
    type=_FILE,
    help="To apply to PostgreSQL: a URL with the password of a role that may make roles and "
    "databases, and will own them.",
)
def setup(
    policy: Path,
    output: Path,
    key_server: str,
    mount: str,
    postgres: str,
    is_applied: bool,
    key_server_ca: Path | None,
    token_file: Path | None,
    owner_url_file: Path | None,
) -> None:
    """Write what a deployment of an edition needs: keys, policies, databases, roles, configuration.

    README.md in the output says who runs what, in which order.
    """
    edition = read_edition(policy)
    owner_url = owner_url_file.read_text(encoding="utf-8").strip() if owner_url_file else ""
    keys = PublicKeys()
    if is_applied:
        if not token_file and not owner_url:
            raise click.UsageError("--apply needs --token-file, --owner-url-file, or both.")
        if token_file and not key_server_ca:
            raise click.UsageError("--token-file needs --key-server-ca.")
        folder = output / SECRETS
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if token_file and key_server_ca:
            login = TokenFile(token_file)
            admin = Transit(key_server, key_server_ca, login, mount, _PATIENCE)
            keys = apply_to_key_server(admin, _names(edition), folder, click.echo)
            admin.close()
        if owner_url:
            asyncio.run(apply_to_postgresql(owner_url, _names(edition), folder, click.echo))
    deployment = Deployment(
        trust_domain=edition.trust_domain,
        compartments=_names(edition),
        key_server=key_server,
        mount=mount,
        postgres=owner_url or postgres,
        capability_keys=keys.capability,
        checkpoint_keys=keys.checkpoint,
        signing_keys=keys.signing,
    )
    for name, content in files(deployment).items():
        file = output / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".toml":
            _write_beside(file, content)
        else:
            file.write_text(content, encoding="utf-8")
    click.echo(f"written: {output}. Read {output / 'README.md'} next.")


def _write_beside(file: Path, content: str) -> None:
    """Write what operators fill in: never over what they filled in."""
    beside = file.with_name(f"{file.name}.new")
    if not file.exists() or file.read_text(encoding="utf-8") == content:
        file.write_text(content, encoding="utf-8")
        beside.unlink(missing_ok=True)
        return
    beside.write_text(content, encoding="utf-8")
    click.echo(f"left as it was: {file}. What would be written now is in {beside}: compare them.")


def _names(edition: Edition) -> tuple[str, ...]:
    return tuple(edition.compartments)
