# SPDX-License-Identifier: Apache-2.0
"""The packet service of BMv2 (--dp-grpc-server-addr): frames over gRPC instead of interfaces."""
