"""Starts AWS's runtime interface client for Python, unchanged.

What the service's own bootstrap does around it: the search path of modules, and the handler from the environment. Under SnapStart also
what keeps copies of one snapshot from drawing the same random values. AWS's SDK lies in this folder, too.
"""

import os
import sys

from awslambdaric import __main__ as client  # before the function's folder is searched: it may carry another one

task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
version = "python%d.%d" % sys.version_info[:2]
layer = os.path.join(os.environ.pop("_THAW_OPT", "/opt"), "python")  # named where /opt is the host's

# Nothing that was installed for the interpreter on the host: what is left is its own library, this folder, and what PYTHONPATH names.
library = os.path.dirname(os.__file__)
named = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p] + [sys.path[0]]
archive = "python%d%d.zip" % sys.version_info[:2]
sys.path[:] = [p for p in sys.path if p in named or p == library or os.path.basename(p) == "lib-dynload" or os.path.basename(p) == archive]

# The function first, then layers, then the client's folder, which is this script's and already there.
# Source: AWS Lambda Developer Guide, "Working with layers for Python", search path.
sys.path[0:0] = [task, os.path.join(layer, "lib", version, "site-packages"), layer]

if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
    import _thaw_unique

    _thaw_unique.register()  # before the function is imported: hooks run in the order of their registration

    import _thaw_snapshot

    _thaw_snapshot.install(int(os.environ.pop("_THAW_PRIMING_INVOKES", "0")))

client.main([sys.argv[0], os.environ["_HANDLER"]])
