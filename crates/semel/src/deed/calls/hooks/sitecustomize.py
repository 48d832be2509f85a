"""Brings the calls of a Python program to semel, which has started it.

Most clients do what the environment says. This is for those that do not: it adds semel's
certificate authority to whatever they trust, and sends those through semel that read no
proxy from the environment, or were told not to. A host that NO_PROXY names is left alone,
and so is a proxy that the program itself has named.

Python loads this at its start, since its folder is the first in PYTHONPATH. Nothing is
imported before the program does: a client is changed at the end of its own import. What
fails in here is said in one line, and the program goes on; its calls may then go round
semel. Where the user has a sitecustomize too, it runs after this one, and takes its place.

It is read by each Python that the command starts, of whatever age: below 3.6 it does
nothing, but must be understood.
"""

import os
import sys


SAID = set()


def say(text):
    """A line on stderr, but once."""
    if sys.stderr is not None and text not in SAID:
        SAID.add(text)
        sys.stderr.write("semel: %s\n" % text)


class Proxy:
    """Where semel listens, with this task's secret."""

    def __init__(self, url):
        # As http://TASK:SECRET@HOST:PORT. To take urllib for it would cost each start.
        self.secret, _, at = url.rstrip("/").rpartition("://")[2].rpartition("@")
        self.host, _, port = at.rpartition(":")
        self.port = int(port)
        self.url = "http://%s" % at

    def header(self):
        from base64 import b64encode
        from urllib.parse import unquote_to_bytes

        secret = b64encode(unquote_to_bytes(self.secret)).decode("ascii")
        return {"Proxy-Authorization": "Basic " + secret}

    def is_for(self, host, port):
        """Whether a connection to there has to go through semel."""
        host = host.strip("[]").rstrip(".").lower()
        if port == self.port and host in (self.host, "localhost"):
            return False
        listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        entries = listed.lower().replace(",", " ").split()
        return not any(names(entry, host, port) for entry in entries)


def names(entry, host, port):
    """Whether an entry of NO_PROXY names a host: `*`, a domain with all below it, an
    address, or a network; a port may follow."""
    if "/" in entry:
        import ipaddress

        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(entry, False)
        except ValueError:
            return False
    if entry.startswith("[") or entry.count(":") == 1:
        entry, _, only = entry.partition("]:" if entry.startswith("[") else ":")
        if only and only != str(port):
            return False
    entry = entry.strip("[]")
    domain = entry.lstrip("*.")
    return entry == "*" or host == domain or bool(domain) and host.endswith("." + domain)


def instead_of(owner, name, make):
    """Puts what `make` makes of a function in the function's place, but once."""
    original = getattr(owner, name)
    if not hasattr(original, "semel"):
        replacement = make(original)
        replacement.semel = original
        replacement.__name__ = name
        replacement.__doc__ = original.__doc__
        setattr(owner, name, replacement)


def trust(ssl):
    """Whatever is trusted, by default or from a file of the program's own: the authority
    that semel made for this run is trusted beside it."""
    authority = os.environ["SEMEL_CA"]
    load = ssl.SSLContext.load_verify_locations

    def and_semel(original):
        def trusting(self, *args, **kwargs):
            original(self, *args, **kwargs)
            try:
                load(self, authority)
            except Exception as error:
                say("certificates made by it will not be trusted: %s: %s" % (authority, error))

        return trusting

    instead_of(ssl.SSLContext, "load_verify_locations", and_semel)
    instead_of(ssl.SSLContext, "set_default_verify_paths", and_semel)


def tunnel(connection):
    """http.client and urllib3 can reach a host through a proxy, but are seldom told to."""

    def through(original):
        def connect(self):
            proxied = self._tunnel_host or getattr(self, "proxy", None)
            if proxied or not PROXY.is_for(self.host, self.port):
                return original(self)
            host, port = self.host, self.port
            self.set_tunnel(host, port, PROXY.header())
            self.host, self.port = PROXY.host, PROXY.port
            try:
                return original(self)
            finally:
                # To its owner this is a connection to the host, and is opened again like
                # one: urllib3 below 2 would not.
                self.host, self.port = host, port
                self._tunnel_host = self._tunnel_port = None
                self._tunnel_headers = {}
                self.auto_open = 1

        return connect

    instead_of(connection, "connect", through)


def http_client(module):
    tunnel(module.HTTPConnection)


def urllib3(module):
    tunnel(module.HTTPConnection)
    # Without ssl it is something else.
    if "connect" in vars(module.HTTPSConnection):
        tunnel(module.HTTPSConnection)


def httpcore(module):
    """What httpx stands on. A transport of the program's own knows no proxy."""

    def pool(owner, through):
        def connecting(original):
            def create_connection(self, origin):
                proxied = getattr(self, "_proxy", None) or getattr(self, "_uds", None)
                host = origin.host.decode("ascii")
                if proxied or not PROXY.is_for(host, origin.port):
                    return original(self, origin)
                return through(
                    PROXY.url,
                    proxy_headers=PROXY.header(),
                    ssl_context=self._ssl_context,
                    keepalive_expiry=self._keepalive_expiry,
                    http1=self._http1,
                    http2=self._http2,
                    network_backend=self._network_backend,
                ).create_connection(origin)

            return create_connection

        instead_of(owner, "create_connection", connecting)

    pool(module.ConnectionPool, module.HTTPProxy)
    pool(module.AsyncConnectionPool, module.AsyncHTTPProxy)


def aiohttp(module):
    """Reads no proxy from the environment, unless asked to; then it takes passwords from
    ~/.netrc as well. So it is not asked to, it is told a proxy."""
    from aiohttp.connector import TCPConnector

    def told(original):
        def _request(self, method, str_or_url, **kwargs):
            named = kwargs.get("proxy") or getattr(self, "_default_proxy", None)
            if not named and isinstance(self.connector, TCPConnector):
                url = self._build_url(str_or_url)
                if url.host and PROXY.is_for(url.host, url.port):
                    kwargs["proxy"] = PROXY.url.replace("//", "//%s@" % PROXY.secret)
            return original(self, method, str_or_url, **kwargs)

        return _request

    instead_of(module.ClientSession, "_request", told)


CLIENTS = {
    "ssl": trust,
    "http.client": http_client,
    "urllib3.connection": urllib3,
    "httpcore": httpcore,
    "httpcore2": httpcore,
    "aiohttp.client": aiohttp,
}


def prepare(name, module):
    try:
        CLIENTS[name](module)
    except Exception as error:
        say(
            "its hook does not fit this %s (%s: %s); its calls may go round semel"
            % (name, type(error).__name__, error)
        )


class Prepared:
    """A loader whose module is prepared as soon as it is loaded."""

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        # The module is to see nothing of this.
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        prepare(module.__name__, module)


class Finder:
    """Finds what all others find, and has the clients prepared."""

    def find_spec(self, name, path=None, target=None):
        if name not in CLIENTS:
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    if hasattr(spec.loader, "exec_module"):
                        spec.loader = Prepared(spec.loader)
                    return spec
        return None


def make_way():
    """Runs the sitecustomize that Python would have found without this one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    this = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ImportError as error:
        if getattr(error, "name", None) != __name__:
            raise
    finally:
        sys.modules.setdefault(__name__, this)


if sys.version_info >= (3, 6) and os.environ.get("SEMEL_PROXY"):
    try:
        PROXY = Proxy(os.environ["SEMEL_PROXY"])
        sys.meta_path.insert(0, Finder())
        for loaded in CLIENTS:
            if loaded in sys.modules:
                prepare(loaded, sys.modules[loaded])
    except Exception as error:
        say("its hook for Python fails (%s); calls may go round semel" % error)
make_way()
