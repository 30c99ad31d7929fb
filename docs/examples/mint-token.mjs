// A bearer token for the API; JWT_KEYS is in the environment: mint-token.mjs SUBJECT ROLE LIFETIME CLIENT…
import { SignJWT } from "jose";

const [subject, role, lifetime, ...clients] = process.argv.slice(2);
const [[kid, secret]] = Object.entries(JSON.parse(process.env.JWT_KEYS));

const token = await new SignJWT({ role, clients })
  .setProtectedHeader({ alg: "HS256", kid })
  .setSubject(subject)
  .setExpirationTime(lifetime)
  .sign(Buffer.from(secret, "base64url"));
console.log(token);
