"""Setting a deployment up: its processes, and what each is given and no other.

`processes` names them, `configuration` writes the TOML of each, `files` writes all that the
security team and the database administrator apply, `apply` applies it.
"""
