# SPDX-License-Identifier: Apache-2.0
"""BMv2 JSON as p4c writes it, read as untrusted input into typed objects (`ir`)."""
