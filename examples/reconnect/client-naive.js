// Keeps notes as long as nothing goes wrong: the client that everybody writes first.
const WebSocket = require('ws');
const work = require('./job');

function open() {
  const waiting = new Map();
  let ids = 0;
  const socket = new WebSocket(process.env.FCEMU_WS_URL);
  const opened = new Promise((resolve) => socket.on('open', resolve));
  socket.on('message', (data) => {
    const answer = JSON.parse(data);
    waiting.get(answer.id)?.(answer);
  });
  socket.on('error', (error) => work.fail(error.message));
  socket.on('close', (code) => work.fail(`the connection was closed with ${code}`));

  const ask = async (request) => {
    await opened;
    return new Promise((resolve) => {
      const id = (ids += 1);
      waiting.set(id, resolve);
      socket.send(JSON.stringify({ id, ...request }));
    });
  };
  return {
    keep: (job, number, text) => ask({ keep: number, job, text }),
    count: async (job) => (await ask({ count: job })).count,
  };
}

work(open);
