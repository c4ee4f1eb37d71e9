// Keeps notes, over Socket.IO: `keep` (job, number, text) and `count` (job), each with an acknowledgement.
const http = require('http');
const { Server } = require('socket.io');
const notes = require('./notes');

const SECOND = Number(process.env.SECOND ?? 1000); // in milliseconds; shorter in tests

const web = http.createServer();
const io = new Server(web, {
  pingInterval: 10 * SECOND, // keeps the connection alive; without one for the sum of both, the client reconnects
  pingTimeout: 15 * SECOND,
  maxHttpBufferSize: 64 * 1024,
});

io.on('connection', (socket) => {
  socket.on('keep', (job, number, text, answer) => {
    notes.keep(job, number, text).then(answer, (error) => console.error(error.message)); // answer once it is kept
  });
  socket.on('count', (job, answer) => {
    notes.count(job).then(answer, (error) => console.error(error.message));
  });
});

web.listen(process.env.FC_SERVER_PORT ?? 9000, '0.0.0.0');

process.on('SIGTERM', () => {
  io.close(() => process.exit());
  setTimeout(() => process.exit(), 3000);
});
