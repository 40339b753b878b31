"""Precisions by the names of the command line, and the parity error that each may have."""

PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8", "fp8": "float8"}
TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 1e-2, "int8": 5e-2, "fp8": 5e-2}  # relative, see `parity`
TOLERANCE = TOLERANCES["fp32"]
EIGHT_BIT = ("int8", "fp8")  # their accuracy is checked as well, for their parity error may be large
