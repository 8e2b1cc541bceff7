"""P4Runtime messages and services, generated at set-up.

Run ``python stubs/generate.py`` (``make`` does it) to create the modules below this package:
``p4rt_stubs.p4.v1.p4runtime_pb2``, ``p4rt_stubs.p4.v1.p4runtime_pb2_grpc``,
``p4rt_stubs.p4.v1.p4data_pb2``, ``p4rt_stubs.p4.config.v1.p4info_pb2`` and
``p4rt_stubs.p4.config.v1.p4types_pb2``.  ``google.rpc`` comes from googleapis-common-protos.
"""
