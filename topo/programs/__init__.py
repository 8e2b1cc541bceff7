# SPDX-License-Identifier: Apache-2.0
"""Programs that run inside the hosts.  Standard library only; each prints one JSON value a line."""
