"""What is simpler than a trace: the candidates that minimizing tries, most daring first.

``size`` says how large a trace is; only candidates that are smaller are ever taken.
"""

from hicache_verify.simpler.arguments import simpler_arguments
from hicache_verify.simpler.configurations import simpler_configuration
from hicache_verify.simpler.names import renamed
from hicache_verify.simpler.operations import fewer_operations, without_requests
from hicache_verify.simpler.size import Size, size

__all__ = [
    "Size",
    "fewer_operations",
    "renamed",
    "simpler_arguments",
    "simpler_configuration",
    "size",
    "without_requests",
]
