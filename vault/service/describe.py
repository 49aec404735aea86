"""Describe: what a service may do in a compartment for a purpose. No data is met."""

from vault.policy import Denied, Description, describe
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment


async def describe_grant(served: ServedCompartment, call: Call, purpose: str) -> Description:
    """Return what the caller may do here for a purpose. Raises VaultError."""
    async with attempt(served, call, "describe", purpose) as attempted:
        description = describe(call.edition, call.service, purpose, served.name)
        if isinstance(description, Denied):
            raise description.error()
        await attempted.allow()
        return description
