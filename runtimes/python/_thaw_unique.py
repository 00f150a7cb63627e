"""Keeps two environments made from one snapshot from drawing the same random values.

The kernel's own generator (os.urandom, secrets, uuid.uuid4) never repeats. What Python and its libraries keep in memory is part of the
snapshot, so this module registers the first after-restore hook: it runs before the function's own, and before the first event.
"""

import os
import sys

import snapshot_restore_py

_UUID_STATE = ("_last_timestamp", "_last_timestamp_v6", "_last_timestamp_v7")


def reseed():
    """Gives every generator that is loaded new entropy of the kernel. What is not loaded yet will seed itself."""
    loaded = sys.modules.get
    ssl = loaded("_ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(48), 48.0)
    random = loaded("random")
    if random is not None:
        random.seed()
    tempfile = loaded("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None  # made anew by the next name
    uuid = loaded("uuid")
    if uuid is not None:
        # uuid1 is a clock, a node and a sequence number; a copy is a node of its own, with the multicast bit that RFC 9562 asks for where the
        # node is not a network card's. libuuid, where Python has it, keeps its sequence in memory as well, so it is left out from now on.
        uuid._node = int.from_bytes(os.urandom(6), "big") | 1 << 40
        uuid._generate_time_safe = None
        for name in _UUID_STATE:
            if hasattr(uuid, name):
                setattr(uuid, name, None)
        if hasattr(uuid, "_last_counter_v7"):
            uuid._last_counter_v7 = 0
    numpy = loaded("numpy.random")
    if numpy is not None:
        numpy.seed()


def register():
    snapshot_restore_py.register_after_restore(reseed)
