// The job of every client here: keep twelve notes, with a pause in the middle, then check that all are there.
const { randomUUID } = require('crypto');

const SECOND = Number(process.env.SECOND ?? 1000); // in milliseconds; shorter in tests
const NOTES = 12;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * SECOND));

// `open` returns a connection with keep(job, number, text) and count(job); their promises resolve sooner or later.
module.exports = async function work(open) {
  setTimeout(() => fail('it takes too long'), 600 * SECOND);
  const job = randomUUID();
  const writer = open();
  const kept = [];
  for (let number = 1; number <= NOTES; number += 1) {
    kept.push(writer.keep(job, number, `note ${number}`));
    await pause(number === NOTES / 2 ? 30 : 1); // the user thinks
  }
  await Promise.all(kept);
  const count = await open().count(job); // a second user, whom the cloud may send to another instance
  if (count !== NOTES) fail(`there are ${count} notes of ${NOTES}`);
  console.log(`all ${NOTES} notes are there`);
  process.exit(0);
};

function fail(why) {
  console.error(why);
  process.exit(1);
}

module.exports.SECOND = SECOND;
module.exports.fail = fail;
