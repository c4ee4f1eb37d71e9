// A chat room: what one user says, everybody in the room hears. The room is the path: ws://…/lobby.
//
// Two users of a room may be in two instances. With REDIS_URL they hear each other, for each room is a channel in Redis.
// Without it they do only if they happen to share an instance.
const Redis = require('ioredis');
const { WebSocketServer } = require('ws');

const rooms = new Map(); // name of a room → the sockets in it, of this instance
const url = process.env.REDIS_URL;
const publisher = url && connect({ maxRetriesPerRequest: 1 }); // then the message is lost
// A subscription waits until Redis is back. The ready check sends INFO, which a subscribed connection may not.
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
    if (socket.isPaused) continue; // what Redis kept for this instance while it was frozen is not for who joins now
    if (socket.bufferedAmount < 1024 * 1024) {
      socket.send(text);
    } else {
      console.error(`${room}: a client is too slow and cut off`);
      socket.terminate(); // it sees 1006, as when a line breaks, and connects again
    }
  }
}

async function join(room, socket) {
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room).add(socket);
  if (!subscriber) return;
  socket.pause();
  await subscriber.subscribe(room);
  socket.resume(); // whoever can speak also hears
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
  socket.on('error', (error) => console.error(`${room}: ${error.message}`)); // else it would end the process
  socket.on('message', (data, isBinary) => { if (!isBinary) say(room, `${data}`); });
  socket.on('close', () => leave(room, socket).catch(() => {}));
  socket.on('pong', () => { socket.answered = true; });
  socket.answered = true;
  join(room, socket).catch((error) => { console.error(`${room}: ${error.message}`); socket.close(1011); });
});

// Pings keep a socket alive, and find those whose client is gone: they would be billed.
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
