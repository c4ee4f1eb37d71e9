// Where is the inspector of a function that a tool starts (debugging.py)? In the process that serves: NODE_OPTIONS
// brings this file into every Node process, and the one that listens on a TCP port opens its inspector then. npm,
// yarn, npx, tsx and nodemon never listen; what they start does.
"use strict";

const inspector = require("inspector");
const { Server } = require("net");

const listen = Server.prototype.listen;

Server.prototype.listen = function (...where) {
  this.once("listening", () => {
    // A pipe's address is a text. An inspector that the developer opened stays.
    if (typeof this.address() === "string" || inspector.url()) return;
    // The primary of a cluster listens for its workers; the requests are theirs.
    if (Object.keys(require("cluster").workers || {}).length) return;
    inspector.open(Number(process.env.FCEMU_INSPECTOR_PORT), "127.0.0.1");
    // Another process of the function is there already: any free port, which Node tells on stderr.
    if (!inspector.url()) inspector.open(0, "127.0.0.1");
  });
  return listen.apply(this, where);
};
