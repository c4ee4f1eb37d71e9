// Keeps notes, over a plain WebSocket. Messages are JSON, and each is answered with its id:
//
//   {id, keep: number, job, text}   keep a note
//   {id, count: job}                how many notes a job has, as {id, count}
//   {id}                            nothing; shows that the connection is alive
const { WebSocketServer } = require('ws');
const notes = require('./notes');

const server = new WebSocketServer({
  host: '0.0.0.0',
  port: process.env.FC_SERVER_PORT ?? 9000,
  maxPayload: 64 * 1024,
});

async function answer(data) {
  const { id, keep, count, job, text } = JSON.parse(data);
  if (keep !== undefined) await notes.keep(job, keep, text); // answer only after the note is kept
  return JSON.stringify(count === undefined ? { id } : { id, count: await notes.count(count) });
}

server.on('connection', (socket) => {
  socket.on('error', (error) => console.error(error.message)); // otherwise it would crash the process
  socket.on('message', (data) => {
    answer(data).then(
      (text) => socket.send(text),
      (error) => { console.error(error.message); socket.close(1008); },
    );
  });
});

process.on('SIGTERM', () => {
  for (const socket of server.clients) socket.close(1001);
  server.close(() => process.exit());
  setTimeout(() => process.exit(), 3000);
});
