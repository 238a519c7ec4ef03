"""Writes docs/roles.md, who may what: from the one table of roles, and from what the routes themselves declare.

    python scripts/reference_roles.py

A test compares the page with what this would write.
"""

from pathlib import Path

from tocsin.core.model.access import GRANTS, Permission, Role
from tocsin.web.app import build_api, permissions_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "roles.md"

TOP = """\
# Who may what

Written by `python scripts/reference_roles.py` from the table that the server itself asks. How somebody gets a role: \
[access.md](access.md). `analyst` is who responds, `service` is a machine that sends alerts.
"""


def generate() -> str:
    """Give the page."""
    lines = [TOP, "## Roles", "", f"| permission | {' | '.join(Role)} |", f"|---|{'---|' * len(Role)}"]
    for permission in Permission:
        held = " | ".join("yes" if permission in GRANTS[role] else "" for role in Role)
        lines.append(f"| `{permission}` | {held} |")
    lines += ["", "## Routes", "", "| route | permission | roles |", "|---|---|---|"]
    for path, method, asked in permissions_of(build_api()):
        roles = (
            ", ".join(role for role in Role if asked in GRANTS[role]) if asked else "anybody, without a token"
        )
        lines.append(f"| `{method} {path}` | {f'`{asked}`' if asked else ''} | {roles} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(generate())
    print(f"{PAGE} is written.")
