// Keeps notes with npm's reconnecting-websocket, which reconnects. The rest is up to us: to resend unanswered messages,
// to keep the connection alive, and to notice when it is dead.
const ReconnectingWebSocket = require('reconnecting-websocket');
const WebSocket = require('ws');
const work = require('./job');

const { SECOND } = work;

class NodeWebSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    // The library drops its listeners when it gives up an attempt. In Node, an unheard error crashes the process.
    this.on('error', () => {});
  }
}

function open() {
  const waiting = new Map(); // id → a request without an answer yet
  let heard = 0; // when the last message came
  let ids = 0;

  const socket = new ReconnectingWebSocket(process.env.FCEMU_WS_URL, [], {
    WebSocket: NodeWebSocket, // leave it out in a browser
    connectionTimeout: 20 * SECOND, // a cold start takes time, and continues while we try again
    minReconnectionDelay: (1 + Math.random()) * SECOND, // not all clients at once
    maxReconnectionDelay: 30 * SECOND,
    maxEnqueuedMessages: 0, // we resend messages ourselves
  });
  socket.addEventListener('open', () => {
    heard = Date.now();
    for (const { message } of waiting.values()) socket.send(message);
  });
  socket.addEventListener('message', ({ data }) => {
    heard = Date.now();
    const answer = JSON.parse(data);
    waiting.get(answer.id)?.resolve(answer);
    waiting.delete(answer.id);
  });
  // A browser cannot send pings; a message works as well. Without answers a connection is dead, whatever the OS says.
  setInterval(() => {
    if (socket.readyState !== ReconnectingWebSocket.OPEN) return;
    if (Date.now() - heard > 25 * SECOND) socket.reconnect();
    else socket.send('{}');
  }, 10 * SECOND);

  const ask = (request) => new Promise((resolve) => {
    const id = (ids += 1);
    const message = JSON.stringify({ id, ...request });
    waiting.set(id, { message, resolve });
    socket.send(message);
  });
  return {
    keep: (job, number, text) => ask({ keep: number, job, text }),
    count: async (job) => (await ask({ count: job })).count,
  };
}

work(open);
