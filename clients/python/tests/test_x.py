import dataclasses, socket, time, threading
from .house import *
from .pki import *
import piivault._transport as t
from piivault import TLS


def test_a(house, sdk, portal, authority, tmp_path, monkeypatch):
    real = t.explain_failure

    def spy(a, tls, d):
        print("   DETAILS", d)
        return real(a, tls, d)

    monkeypatch.setattr(t, "explain_failure", spy)

    def go(name, address, tls, **kw):
        t0 = time.time()
        try:
            sdk.do(
                sdk.open(address, tls, **kw)
                .compartment("accounts", purpose="services")
                .reveal(PSEUDONYM, ["phone"])
            )
        except Exception as e:
            print(name, f"{time.time() - t0:.2f}", type(e).__name__, e)

    house.answer("Reveal", record(phone="+996", last_name=None))
    go("nobody", "127.0.0.1:1", portal)
    go("dns", "nowhere.invalid:1", portal)
    (tmp_path / "o").mkdir()
    other = Authority(tmp_path / "o")
    mine = other.client()
    go("foreign client", house.address, dataclasses.replace(mine, ca=authority.file))
    go("foreign server", house.address, dataclasses.replace(portal, ca=other.file))
    go("hostname", house.address.replace("127.0.0.1", "127.0.0.2"), portal)
    go("name", house.address.replace("127.0.0.1", "localhost"), portal)
    s = socket.create_server(("127.0.0.1", 0))
    go("blackhole", "127.0.0.1:%d" % s.getsockname()[1], portal)

    def close():
        while True:
            try:
                c, _ = s.accept()
                c.recv(10)
                c.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")
                c.close()
            except OSError:
                return

    th = threading.Thread(target=close, daemon=True)
    th.start()
    go("http", "127.0.0.1:%d" % s.getsockname()[1], portal)
    s.close()
    house.answer("Reveal", bare(grpc.StatusCode.UNAVAILABLE))
    go("bare unavailable", house.address, portal)
    house.stop()
