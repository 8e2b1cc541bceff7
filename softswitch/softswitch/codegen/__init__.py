# SPDX-License-Identifier: Apache-2.0
"""From the typed program (`softswitch.bmv2.ir`) to C text.

No string of the JSON reaches the C text, except log messages, as escaped string literals: every
identifier is made from an object's number.
"""
