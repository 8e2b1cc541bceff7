# SPDX-License-Identifier: Apache-2.0
"""The running controller: the only part of p4ct that knows asyncio, gRPC and sockets."""
