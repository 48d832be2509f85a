// Brings the calls of a Node program to semel, which has started it.
//
// Node reads no proxy from the environment (from 22.21 on it can, but its own agents
// alone). So this is loaded before the program, by NODE_OPTIONS, and leads connections of
// HTTP through semel where they are made: agents' connections, whatever agent; TLS whose
// client offers to speak HTTP, as undici and http2 do; and fetch without TLS. A host that
// NO_PROXY names is left alone, and so is a proxy that the program itself has named.
//
// Certificates made by semel are trusted by NODE_EXTRA_CA_CERTS, and here where a program
// has a file of its own. What fails in here is said in one line, and the program goes on;
// its calls may then go round semel. For Node 18 and later, without any package.
'use strict';

const say = (text) => process.stderr.write(`semel: ${text}\n`);

function prepare() {
  const http = require('node:http');
  const https = require('node:https');
  const net = require('node:net');
  const tls = require('node:tls');
  const { PassThrough, Duplex } = require('node:stream');

  const proxy = new URL(process.env.SEMEL_PROXY);
  const secret = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const authorization = `Basic ${Buffer.from(secret).toString('base64')}`;

  // Whether an entry of NO_PROXY names a host: `*`, a domain with all below it, an
  // address, or a network; a port may follow.
  function names(entry, host, port) {
    const [network, bits] = entry.split('/');
    if (bits !== undefined) {
      const family = (address) => (net.isIPv6(address) ? 'ipv6' : 'ipv4');
      if (!net.isIP(network) || !net.isIP(host)) return false;
      const list = new net.BlockList();
      list.addSubnet(network, Number(bits), family(network));
      return list.check(host, family(host));
    }
    const [, name, only] = /^(\[.*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(entry) ?? [, entry];
    if (only && only !== String(port)) return false;
    const domain = name.replace(/^\[|\]$/g, '').replace(/^\*?\.?/, '');
    return name === '*' || host === domain || (domain !== '' && host.endsWith(`.${domain}`));
  }

  // Whether a connection to there has to go through semel.
  function isForSemel(host, port) {
    host = host.replace(/^\[|\]$/g, '').replace(/\.$/, '').toLowerCase();
    if (Number(port) === Number(proxy.port) && [proxy.hostname, 'localhost'].includes(host)) {
      return false;
    }
    const listed = process.env.no_proxy || process.env.NO_PROXY || '';
    const entries = listed.toLowerCase().split(/[\s,]+/).filter(Boolean);
    return !entries.some((entry) => names(entry, host, port));
  }

  // A connection to there, made by semel: callback(error, socket).
  function tunnel(host, port, callback) {
    const path = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
    const request = http.request({
      host: proxy.hostname,
      port: proxy.port,
      method: 'CONNECT',
      path,
      headers: { host: path, 'proxy-authorization': authorization },
      agent: false,
    });
    request.once('connect', (response, socket, head) => {
      if (response.statusCode === 200) {
        if (head.length > 0) socket.unshift(head);
        callback(null, socket);
      } else {
        socket.destroy();
        const refusal = `${response.statusCode} ${response.statusMessage}`;
        callback(new Error(`semel refused a connection to ${path}: ${refusal}`));
      }
    });
    request.once('error', callback);
    request.end();
  }

  // The same, for those who cannot wait for it.
  function tunnelAtOnce(host, port) {
    const sent = new PassThrough();
    const received = new PassThrough();
    const both = Duplex.from({ writable: sent, readable: received });
    tunnel(host, port, (error, socket) => {
      if (error) return both.destroy(error);
      const end = (error) => both.destroy(error);
      socket.once('error', end).once('close', () => received.end());
      both.once('close', () => socket.destroy());
      sent.pipe(socket).pipe(received);
    });
    return both;
  }

  // Agents make their connections by this, unless they have a way of their own.
  for (const { Agent } of [http, https]) {
    const direct = Agent.prototype.createConnection;
    Agent.prototype.createConnection = function createConnection(options, callback) {
      const { host = 'localhost', port, socketPath, proxyEnv } = options;
      // `proxyEnv` is Node's own way to a proxy, which is semel too.
      if (socketPath || proxyEnv || options.socket || !isForSemel(host, port)) {
        return direct.apply(this, arguments);
      }
      tunnel(host, port, (error, socket) => {
        if (error) return callback(error);
        if (Agent === http.Agent) return callback(null, socket);
        callback(null, direct.call(this, { ...options, socket }));
      });
    };
  }

  // Everyone else with TLS: connect(options), (port, options), (port, host, options).
  const connectTls = tls.connect;
  tls.connect = function connect(...args) {
    const at = args.findIndex((arg) => typeof arg === 'object' && arg !== null);
    const [port, host] = args.slice(0, Math.max(at, 0));
    const options = { port, host: host ?? 'localhost', ...args[at] };
    const offered = [options.ALPNProtocols ?? []].flat().map(String).join();
    const http = /\bh2\b|http\/1/.test(offered);
    if (!http || options.socket || options.path || !isForSemel(options.host, options.port)) {
      return connectTls.apply(this, args);
    }
    const socket = tunnelAtOnce(options.host, options.port);
    return connectTls({ ...options, socket }, ...args.slice(at + 1));
  };

  // A program's own certificates are instead of Node's, and of NODE_EXTRA_CA_CERTS.
  const createSecureContext = tls.createSecureContext;
  tls.createSecureContext = function (options) {
    const context = createSecureContext.apply(this, arguments);
    if (options?.ca && process.env.SEMEL_CA) {
      context.context.addCACert(require('node:fs').readFileSync(process.env.SEMEL_CA));
    }
    return context;
  };
  require('node:module').syncBuiltinESMExports();

  // fetch without TLS. How its agent connects is an option of that agent, which is there
  // once the client behind fetch is loaded: when it is first called, since it takes a while.
  const connectFetch = (own) => (to, callback) => {
    const { protocol, hostname: host, servername, localAddress } = to;
    const secure = protocol === 'https:';
    const port = to.port || (secure ? 443 : 80);
    let settled = false;
    const settle = (error, socket) => {
      if (!settled) callback(error, socket);
      settled = true;
    };
    if (!secure && isForSemel(host, port)) return tunnel(host, port, settle);
    const name = servername || (net.isIP(host) ? undefined : host);
    const options = { ...own, host, port, localAddress };
    const socket = secure
      ? tls.connect({ ...options, servername: name, ALPNProtocols: ['http/1.1'] })
      : net.connect(options);
    const connected = secure ? 'secureConnect' : 'connect';
    socket.once(connected, () => settle(null, socket)).on('error', settle);
  };
  const agentOfFetch = () =>
    ['2', '1'].map((version) => globalThis[Symbol.for(`undici.globalDispatcher.${version}`)])
      .find(Boolean);
  const seen = new WeakSet();
  const fetchDirect = globalThis.fetch;
  globalThis.fetch = function fetch(input, init) {
    // To load it something of it is touched.
    const agent = init?.dispatcher ?? agentOfFetch() ?? (globalThis.Headers && agentOfFetch());
    if (agent?.constructor.name === 'Agent' && !seen.has(agent)) {
      seen.add(agent);
      const symbols = Object.getOwnPropertySymbols(agent);
      const options = agent[symbols.find((symbol) => symbol.description === 'options')];
      if (!options) say('its hook does not fit this fetch; calls by http: may go round semel');
      else if (typeof options.connect !== 'function') options.connect = connectFetch(options.connect);
    }
    return fetchDirect.apply(this, arguments);
  };
}

try {
  if (process.env.SEMEL_PROXY) prepare();
} catch (error) {
  say(`its hook for Node fails (${error.message}); calls may go round semel`);
}
