// Keeps notes with Socket.IO, which connects again, sends pings, and, if told to, sends again what was not answered.
const { io } = require('socket.io-client');
const work = require('./job');

const { SECOND } = work;

function open() {
  const socket = io(process.env.FCEMU_URL, {
    // Long polling, its default, is many requests of one session. Without session affinity they meet several instances,
    // of which one knows the session.
    transports: [process.env.TRANSPORT ?? 'websocket'],
    forceNew: true,
    // Also what ends an attempt whose connection broke before Socket.IO's own handshake: the library does not notice it.
    timeout: 20 * SECOND,
    reconnectionDelay: 1 * SECOND,
    reconnectionDelayMax: 30 * SECOND,
    retries: Infinity, // `job.js` gives up at some time
    ackTimeout: 30 * SECOND,
  });
  return {
    keep: (job, number, text) => socket.emitWithAck('keep', job, number, text),
    count: (job) => socket.emitWithAck('count', job),
  };
}

work(open);
