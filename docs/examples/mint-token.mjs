// A bearer token for the API: JWT_KEYS='{"kid":"secret"}' node docs/examples/mint-token.mjs ROLE CLIENT…
import { SignJWT } from "jose";

const [role, ...clients] = process.argv.slice(2);
const [[kid, secret]] = Object.entries(JSON.parse(process.env.JWT_KEYS));

const token = await new SignJWT({ role, clients })
  .setProtectedHeader({ alg: "HS256", kid })
  .setSubject("jane@example.com")
  .setExpirationTime("12h")
  .sign(Buffer.from(secret, "base64url"));
console.log(token);
