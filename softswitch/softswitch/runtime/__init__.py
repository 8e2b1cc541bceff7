# SPDX-License-Identifier: Apache-2.0
"""The C runtime: sources only, compiled on first use (a package, so that wheels carry them)."""
