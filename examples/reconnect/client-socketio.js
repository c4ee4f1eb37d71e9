// Keeps notes with Socket.IO, which reconnects, sends pings, and, if configured, resends unanswered messages.
const { io } = require('socket.io-client');
const work = require('./job');

const { SECOND } = work;

function open() {
  const socket = io(process.env.FCEMU_URL, {
    // Long polling, its default, sends many requests per session. Without session affinity they reach several
    // instances, and only one of them knows the session.
    transports: [process.env.TRANSPORT ?? 'websocket'],
    forceNew: true,
    // Also ends an attempt whose connection broke before Socket.IO's own handshake, which the library does not notice.
    timeout: 20 * SECOND,
    reconnectionDelay: 1 * SECOND,
    reconnectionDelayMax: 30 * SECOND,
    retries: Infinity, // `job.js` gives up at some point
    ackTimeout: 30 * SECOND,
  });
  return {
    keep: (job, number, text) => socket.emitWithAck('keep', job, number, text),
    count: (job) => socket.emitWithAck('count', job),
  };
}

work(open);
