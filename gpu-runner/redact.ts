/** Takes secrets out of text that leaves the process: log lines, and messages to the API. */

const replacement = "[redacted]";

/**
 * @returns a function that removes the given secrets, bearer tokens, JWTs, and the query string and user of every URL.
 * It works on a whole log line, so that no field, stack or quoted stderr can be forgotten.
 */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const literal = secrets.filter((secret) => secret !== "").flatMap((secret) => [secret, encodeURIComponent(secret)]);
  return (text) => {
    let clean = text;
    for (const secret of literal) clean = clean.replaceAll(secret, replacement);
    return clean
      .replace(/\b(https?|wss?):\/\/[^\s/@"'\\]*@/gi, `$1://${replacement}@`)
      .replace(/\b((?:https?|wss?):\/\/[^\s?"'\\<>]*)\?[^\s"'\\<>)]*/gi, `$1?${replacement}`)
      .replace(/\b(X-Amz-(?:Signature|Credential|Security-Token)=)[^\s&"'\\]+/gi, `$1${replacement}`)
      .replace(/\b(bearer)\s+[A-Za-z0-9._~+/=-]+/gi, `$1 ${replacement}`)
      .replace(/\beyJ[\w-]+\.[\w-]+\.[\w-]+/g, replacement);
  };
}
