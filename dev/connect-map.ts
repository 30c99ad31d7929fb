/**
 * Preloaded (`node --import`) into a process that should reach certain loopback ports through proxies. Addresses stay as
 * everybody knows them, so that signed URLs and Host headers hold; only where the connection goes is another port.
 */
import { Socket } from "node:net";
import { z } from "zod";

/** A JSON object of port to port. */
export const connectMapVariable = "MMF_DEV_CONNECT_MAP";

const ConnectMap = z.record(z.string().regex(/^\d+$/), z.int().positive());

type ConnectArguments = unknown[];

/** Node's own callers hand over one array, [options, callback]; others the options, or the port, themselves. */
export function redirected(args: ConnectArguments, map: Readonly<Record<string, number>>): ConnectArguments {
  const [first] = args;
  const target: unknown = Array.isArray(first) ? first[0] : first;
  if (typeof target === "object" && target !== null && "port" in target) {
    const port = map[String(target.port)];
    if (port !== undefined) target.port = port;
    return args;
  }
  const port = map[String(target)];
  return port === undefined ? args : [port, ...args.slice(1)];
}

const text = process.env[connectMapVariable];
if (text !== undefined) {
  const map = ConnectMap.parse(JSON.parse(text));
  const connect = Socket.prototype.connect as (...args: ConnectArguments) => Socket;
  Socket.prototype.connect = function (this: Socket, ...args: ConnectArguments): Socket {
    return connect.apply(this, redirected(args, map));
  };
}
