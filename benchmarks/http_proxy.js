// npm's http-proxy as people use it: `node http_proxy.js PORT TARGET_PORT`.
const http = require('http');
const httpProxy = require('http-proxy');

const [port, target] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 1024 });
const proxy = httpProxy.createProxyServer({ target: { host: '127.0.0.1', port: target }, agent, ws: true });
proxy.on('error', (error, request, response) => {
  console.error(error.message);
  if (response && response.writeHead) response.writeHead(502);
  if (response) response.end();
});
const server = http.createServer((request, response) => proxy.web(request, response));
server.keepAliveTimeout = 3600 * 1000;
server.requestTimeout = 0;
server.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head));
server.listen(port, '127.0.0.1', 4096);
