// Brings the calls of a Node program to semel, which has started it.
//
// Node reads no proxy from the environment (from 22.21 on it can, but for its own agents
// alone). So this is loaded before the program, by NODE_OPTIONS, and leads connections of
// HTTP through semel where they are made: those of agents, whoever's they are; TLS whose
// client offers to speak HTTP, as undici and http2 do; and fetch without TLS. A host that
// NO_PROXY names is left alone, and so is a proxy that the program itself has named.
//
// Certificates made by semel are trusted by NODE_EXTRA_CA_CERTS, and here where a program
// has its own instead. What fails in here is said in one line, and the program goes on; its
// calls may then go round semel. For Node 18 and later, without any package; in the syntax
// of older ones, since each Node that the command starts must be able to read it.
'use strict';

const http = require('http');
const https = require('https');
const net = require('net');
const tls = require('tls');
const { readFileSync } = require('fs');
const { syncBuiltinESMExports } = require('module');
const { PassThrough, Duplex } = require('stream');

const said = new Set();
function attempt(what, act) {
  try {
    return act();
  } catch (error) {
    const text = `semel: its hook cannot ${what} (${error.message}); calls may go round semel\n`;
    if (!said.has(text)) process.stderr.write(text);
    said.add(text);
  }
}

// Where semel listens, with this task's secret.
const proxy = attempt('find semel', () => {
  if (!process.env.SEMEL_PROXY) return undefined;
  if (parseInt(process.versions.node, 10) < 18) throw new Error('Node is older than 18');
  const { hostname, port, username, password } = new URL(process.env.SEMEL_PROXY);
  const secret = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const authorization = `Basic ${Buffer.from(secret).toString('base64')}`;
  return { host: hostname, port: Number(port), authorization };
});

// Whether an entry of NO_PROXY names a host: `*`, a domain with all below it, an address,
// or a network; a port may follow.
function names(entry, host, port) {
  const [network, bits] = entry.split('/');
  if (bits !== undefined) {
    const family = (address) => (net.isIPv6(address) ? 'ipv6' : 'ipv4');
    if (!net.isIP(network) || !net.isIP(host) || !(bits <= 128)) return false;
    if (net.isIPv4(network) && bits > 32) return false;
    const list = new net.BlockList();
    list.addSubnet(network, Number(bits), family(network));
    return list.check(host, family(host));
  }
  const [, name, only] = /^(\[.*\]|[^:]*|.*:.*:.*?)(?::(\d+))?$/.exec(entry) || ['', entry];
  if (only && only !== String(port)) return false;
  const domain = name.replace(/^\[|\]$/g, '').replace(/^\*?\.?/, '');
  return name === '*' || host === domain || (domain !== '' && host.endsWith(`.${domain}`));
}

// Whether a connection to there has to go through semel.
function isForSemel(host, port) {
  host = String(host || 'localhost').replace(/^\[|\]$/g, '').replace(/\.$/, '').toLowerCase();
  if (Number(port) === proxy.port && [proxy.host, 'localhost'].includes(host)) return false;
  const listed = process.env.no_proxy || process.env.NO_PROXY || '';
  const entries = listed.toLowerCase().split(/[\s,]+/).filter(Boolean);
  return !entries.some((entry) => names(entry, host, port));
}

// A connection to there, made by semel: callback(error, socket).
function tunnel(host, port, callback) {
  const path = `${net.isIPv6(host) ? `[${host}]` : host || 'localhost'}:${port}`;
  const request = http.request({
    host: proxy.host,
    port: proxy.port,
    method: 'CONNECT',
    path,
    headers: { host: path, 'proxy-authorization': proxy.authorization },
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
    if (both.destroyed) return socket.destroy();
    both.tunnel = socket;
    socket.once('error', (error) => both.destroy(error)).once('close', () => received.end());
    both.once('close', () => socket.destroy());
    sent.pipe(socket).pipe(received);
  });
  return both;
}

// TLS inside of one.
function within(options, connect) {
  const socket = tunnelAtOnce(options.host, options.port);
  const secure = connect({ ...options, socket });
  // An idle connection is not to keep the program from its end.
  for (const how of ['ref', 'unref']) {
    secure[how] = function () {
      if (socket.tunnel) socket.tunnel[how]();
      return tls.TLSSocket.prototype[how].call(this);
    };
  }
  return secure;
}

// What is no connection to a host, or has a way to it. Node's own way to a proxy, where
// there is one, leads to semel too.
const canProxy = process.allowedNodeEnvironmentFlags.has('--use-env-proxy');
const stays = ({ host, port, socket, socketPath, path, proxyEnv }) =>
  socket || socketPath || path || (canProxy && proxyEnv) || !isForSemel(host, port);

function leadAgents() {
  const plain = http.Agent.prototype.createConnection;
  http.Agent.prototype.createConnection = function createConnection(options, callback) {
    if (stays(options)) return plain.apply(this, arguments);
    tunnel(options.host, options.port, callback);
  };
  // Some who extend this one want their connection at once.
  const secure = https.Agent.prototype.createConnection;
  https.Agent.prototype.createConnection = function createConnection(options, callback) {
    if (stays(options)) return secure.apply(this, arguments);
    return within(options, (options) => secure.call(this, options, callback));
  };
}

// Everyone else's TLS: connect(options), (port, options), (port, host, options).
function leadTls() {
  const original = tls.connect;
  tls.connect = function connect(...args) {
    const at = args.findIndex((arg) => typeof arg === 'object' && arg !== null);
    const [port, host] = args.slice(0, Math.max(at, 0));
    const options = { port, host, ...args[at] };
    const offered = [].concat(options.ALPNProtocols || []).map(String).join();
    if (!/\bh2\b|http\/1/.test(offered) || stays(options)) return original.apply(this, args);
    return within(options, (options) => original(options, ...args.slice(at + 1)));
  };
  syncBuiltinESMExports();
}

function trust() {
  const original = tls.createSecureContext;
  tls.createSecureContext = function createSecureContext(options) {
    const context = original.apply(this, arguments);
    if (options && options.ca) {
      const add = () => context.context.addCACert(readFileSync(process.env.SEMEL_CA));
      attempt('have its certificates trusted', add);
    }
    return context;
  };
  syncBuiltinESMExports();
}

// How an agent of fetch connects, with its own options; what has TLS is led by now.
function connectFetch(own) {
  return ({ protocol, hostname: host, port, servername, localAddress }, callback) => {
    const secure = protocol === 'https:';
    port = port || (secure ? 443 : 80);
    if (!secure && isForSemel(host, port)) return tunnel(host, port, callback);
    const options = { ...own, host, port, localAddress };
    if (secure) {
      options.servername = servername || (net.isIP(host) ? undefined : host);
      options.ALPNProtocols = ['http/1.1'];
    }
    const socket = (secure ? tls : net).connect(options);
    socket.once('error', callback).once(secure ? 'secureConnect' : 'connect', () => {
      socket.off('error', callback);
      callback(null, socket);
    });
  };
}

// That is an option of the agent, which is there once the client behind fetch is loaded:
// when it is first called, since loading it takes a while.
function leadFetch() {
  const seen = new WeakSet();
  const lead = (agent) => {
    if (!agent || agent.constructor.name !== 'Agent' || seen.has(agent)) return;
    seen.add(agent);
    const symbols = Object.getOwnPropertySymbols(agent);
    const options = agent[symbols.find((symbol) => symbol.description === 'options')];
    const own = options.connect;
    if (typeof own !== 'function' && !(own && own.socketPath)) options.connect = connectFetch(own);
  };
  // Two generations of it may be there.
  const agents = () =>
    [1, 2].map((generation) => globalThis[Symbol.for(`undici.globalDispatcher.${generation}`)]);
  const original = globalThis.fetch;
  globalThis.fetch = function fetch(input, init) {
    attempt('lead fetch', () => {
      // Touched, it is loaded.
      globalThis.Headers;
      [init && init.dispatcher, ...agents()].forEach(lead);
    });
    return original.apply(this, arguments);
  };
}

if (proxy) {
  attempt('lead http and https', leadAgents);
  attempt('lead TLS', leadTls);
  attempt('have its certificates trusted', trust);
  attempt('lead fetch', leadFetch);
}
