"""Starts AWS's runtime interface client for Python, unchanged.

What the service's own bootstrap does around it: the search path of modules, and the handler from the environment. Under SnapStart also
what keeps copies of one snapshot from drawing the same random values.
"""

import os
import sys

from awslambdaric import __main__ as client  # before the function's folder is searched: it may carry another one

task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
version = "python%d.%d" % sys.version_info[:2]
layer = "/opt/python"

# The function first, then layers, then the client's folder, which is this script's and already there.
# Source: AWS Lambda Developer Guide, "Working with layers for Python", search path.
sys.path[0:0] = [task, os.path.join(layer, "lib", version, "site-packages"), layer]

if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
    import _thaw_unique

    _thaw_unique.register()  # before the function is imported: hooks run in the order of their registration

    import _thaw_snapshot

    _thaw_snapshot.install(int(os.environ.pop("_THAW_PRIMING_INVOKES", "0")))

client.main([sys.argv[0], os.environ["_HANDLER"]])
