# Draws from every generator that Python has.
import concurrent.futures, os, random, secrets, ssl, tempfile, uuid
from snapshot_restore_py import register_after_restore, register_before_snapshot

context = ssl.create_default_context()
pool = concurrent.futures.ThreadPoolExecutor(1)
pool.submit(int).result()  # its thread is alive at the snapshot


def client_random():
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="example.com").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()[11:43].hex()


def draw():
    with open("/dev/urandom", "rb") as f:
        urandom = f.read(16).hex()
    return {
        "/dev/urandom": urandom, "os.urandom": os.urandom(16).hex(), "secrets": secrets.token_hex(16), "uuid4": str(uuid.uuid4()), "uuid1": str(uuid.uuid1()),
        "uuid1's node": str(uuid.uuid1())[24:] + str(random.random()), "random": random.random(), "randbytes": random.randbytes(16).hex(), "SystemRandom": random.SystemRandom().random(),
        "a new Random": random.Random().random(), "ssl.RAND_bytes": ssl.RAND_bytes(16).hex(), "ssl.RAND_bytes of a thread": pool.submit(ssl.RAND_bytes, 16).result().hex(), "TLS": client_random(),
        "tempfile": tempfile.mktemp(), "gettempprefix": next(tempfile._get_candidate_names()) + next(tempfile._get_candidate_names()),
    }


before, hook = {}, {}


@register_before_snapshot
def _():
    if os.environ.get("DRAW_BEFORE"):
        before.update(draw())


@register_after_restore
def _():
    hook.update(draw())


def handler(event, context):
    return {"before": before, "hook": hook, "event": draw()}
