# SPDX-License-Identifier: Apache-2.0
"""Helpers read the packets of a control connection and say which connections will follow it."""
