// Portkey as a peer of `make bench`: it is told by two headers of each request where to go, and the address is known
// only when the measurement runs.  So they are added here, as the request comes in: node --import THIS start-server.js
// Version 1.15.2 streams with @hono/node-server 1.13.8 (an override in package.json), and not with newer ones.

import http from "node:http";

const told = ["x-portkey-provider", "openai", "x-portkey-custom-host", process.env.UPSTREAM_URL];
const emit = http.Server.prototype.emit;

http.Server.prototype.emit = function (event, request, ...rest) {
  if (event === "request") request.rawHeaders.push(...told);
  return emit.call(this, event, request, ...rest);
};
