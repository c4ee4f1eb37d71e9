// A chat room: everybody in the room receives what one user says. The path names the room: ws://…/lobby.
//
// Two users of a room may be in two instances. With REDIS_URL each room is a channel in Redis, so they receive each
// other's messages. Without it they do so only if they happen to share an instance.
const Redis = require('ioredis');
const { WebSocketServer } = require('ws');

const rooms = new Map(); // name of a room → this instance's sockets in it
const url = process.env.REDIS_URL;
const publisher = url && connect({ maxRetriesPerRequest: 1 }); // after that the message is lost
// A subscription waits until Redis is back. The ready check sends INFO, which a subscribed connection must not do.
const subscriber = url && connect({ maxRetriesPerRequest: null, enableReadyCheck: false });
subscriber?.on('message', deliver);

function connect(options) {
  return new Redis(url, { retryStrategy: () => 1000, ...options })
    .on('ready', () => console.log('Redis: connected'))
    .on('error', (error) => console.error(`Redis: ${error.message}`));
}

function say(room, text) {
  if (!publisher) return deliver(room, text);
  publisher.publish(room, text).catch((error) => console.error(`${room}: a message is lost: ${error.message}`));
}

function deliver(room, text) {
  for (const socket of rooms.get(room) ?? []) {
    if (socket.isPaused) continue; // it joined later than the messages that Redis kept while this instance was frozen
    if (socket.bufferedAmount < 1024 * 1024) {
      socket.send(text);
    } else {
      console.error(`${room}: a client is too slow and cut off`);
      socket.terminate(); // it sees 1006, as when a connection breaks, and reconnects
    }
  }
}

async function join(room, socket) {
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room).add(socket);
  if (!subscriber) return;
  socket.pause();
  await subscriber.subscribe(room);
  socket.resume(); // a user who can send also receives
}

async function leave(room, socket) {
  rooms.get(room).delete(socket);
  if (rooms.get(room).size > 0) return;
  rooms.delete(room);
  await subscriber?.unsubscribe(room);
}

const server = new WebSocketServer({
  host: '0.0.0.0',
  port: process.env.FC_SERVER_PORT ?? 9000,
  maxPayload: 64 * 1024,
});

server.on('connection', (socket, request) => {
  const room = request.url.split('?')[0];
  socket.on('error', (error) => console.error(`${room}: ${error.message}`)); // otherwise it would crash the process
  socket.on('message', (data, isBinary) => { if (!isBinary) say(room, `${data}`); });
  socket.on('close', () => leave(room, socket).catch(() => {}));
  socket.on('pong', () => { socket.answered = true; });
  socket.answered = true;
  join(room, socket).catch((error) => { console.error(`${room}: ${error.message}`); socket.close(1011); });
});

// Pings keep a socket alive, and find sockets whose client is gone; these would still be billed.
setInterval(() => {
  for (const socket of server.clients) {
    if (!socket.answered) socket.terminate();
    socket.answered = false;
    socket.ping();
  }
}, 30_000).unref();

process.on('SIGTERM', () => {
  for (const socket of server.clients) socket.close(1001);
  server.close(() => process.exit());
  setTimeout(() => process.exit(), 3000);
});
