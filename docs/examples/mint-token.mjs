// A bearer token for the API; JWT_KEYS is in the environment: mint-token.mjs SUBJECT ROLE LIFETIME CLIENT…
import { randomUUID } from "node:crypto";
import { SignJWT } from "jose";

const [subject, role, lifetime, ...clients] = process.argv.slice(2);
const [[kid, secret]] = Object.entries(JSON.parse(process.env.JWT_KEYS));

const jti = randomUUID();
const token = await new SignJWT({ role, clients })
  .setProtectedHeader({ alg: "HS256", kid })
  .setSubject(subject)
  .setJti(jti)
  .setIssuedAt()
  .setExpirationTime(lifetime)
  .sign(Buffer.from(secret, "base64url"));
console.log(token);
console.error(`jti ${jti}`); // keep it: it ends this token before its time
