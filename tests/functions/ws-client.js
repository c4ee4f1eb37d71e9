// A client of npm `ws`: does what its argument (JSON) says and prints, as JSON, what each of its sockets saw.
//
//   url        where to connect
//   protocols  subprotocols to offer
//   count      how many sockets (1); they send when all of them are open
//   send       messages: a string is text, {hex: …} is binary
//   expect     how many messages to wait for before closing; without it the socket is left to the server
//   close      [code, reason] of the Close frame; nothing: close() without a code
const WebSocket = require('ws');

const job = JSON.parse(process.argv[2]);

function open() {
  const saw = { subprotocol: null, extensions: null, status: null, body: '', messages: [], code: null, reason: null };
  const ws = new WebSocket(job.url, job.protocols || []);
  const settled = new Promise((resolve) => {
    ws.on('open', () => {
      saw.subprotocol = ws.protocol;
      saw.extensions = ws.extensions;
      resolve();
    });
    ws.on('error', resolve);
    ws.on('unexpected-response', (request, response) => {
      saw.status = response.statusCode;
      response.on('data', (data) => (saw.body += data));
      response.on('end', () => {
        ws.terminate();
        resolve();
      });
    });
  });
  const ended = new Promise((resolve) => {
    ws.on('close', (code, reason) => {
      saw.code = code;
      saw.reason = reason.toString();
      resolve(saw);
    });
  });
  ws.on('message', (data, binary) => {
    saw.messages.push(binary ? { hex: data.toString('hex') } : data.toString());
    if (saw.messages.length === job.expect) {
      ws.close(...(job.close || []));
    }
  });
  return { ws, settled, ended };
}

async function main() {
  const sockets = Array.from({ length: job.count || 1 }, open);
  await Promise.all(sockets.map((socket) => socket.settled));
  for (const { ws } of sockets) {
    if (ws.readyState === WebSocket.OPEN) {
      (job.send || []).forEach((m) => ws.send(typeof m === 'string' ? m : Buffer.from(m.hex, 'hex')));
    }
  }
  console.log(JSON.stringify(await Promise.all(sockets.map((socket) => socket.ended))));
}

main();
