"""What pytest leaves alone here."""

from __future__ import annotations

#: Programs of their own, which need packages that tests do not have.
collect_ignore_glob = ["peers/*"]
