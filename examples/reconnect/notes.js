// Stores notes, each under its job and number, so that a note that comes twice is stored once.
//
// STORE is a folder that all instances share. Without it notes are in the memory of one instance, and are lost with it.
const fs = require('fs/promises');
const path = require('path');

const memory = new Map(); // job → its notes by number

exports.keep = async (job, number, text) => {
  if (process.env.STORE) {
    await fs.mkdir(folder(job), { recursive: true });
    await fs.writeFile(path.join(folder(job), `${Number(number)}`), `${text}`);
  } else {
    memory.set(job, new Map(memory.get(job)).set(number, text));
  }
};

exports.count = async (job) => {
  if (process.env.STORE) return (await fs.readdir(folder(job)).catch(() => [])).length;
  return memory.get(job)?.size ?? 0;
};

function folder(job) {
  if (!/^[\w-]+$/.test(job)) throw new Error('not the name of a job');
  return path.join(process.env.STORE, job);
}
