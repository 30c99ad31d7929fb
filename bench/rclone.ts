/** rclone copies the same object into the same kind of bucket, for scale only: many machines do not have it. */
import { execFile } from "node:child_process";
import { bareBucket } from "./bare-copy.ts";
import { say } from "./figure.ts";
import type { TransferStage } from "./transfer-stage.ts";

const timeoutMs = 30 * 60_000;

function rclone(args: string[], env: Record<string, string> = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    // With a bundle of certificates in the environment, some builds refuse to start; nothing here speaks TLS.
    const options = { env: { ...process.env, AWS_CA_BUNDLE: "", ...env }, timeout: timeoutMs };
    execFile("rclone", args, options, (error) => (error === null ? resolve() : reject(error)));
  });
}

/** By environment, so that no key shows in `ps`. */
function remote(name: string, access: { endpoint: string; accessKeyId: string; secretAccessKey: string }) {
  const prefix = `RCLONE_CONFIG_${name.toUpperCase()}`;
  return {
    [`${prefix}_TYPE`]: "s3",
    [`${prefix}_PROVIDER`]: "Other",
    [`${prefix}_ENDPOINT`]: access.endpoint,
    [`${prefix}_ACCESS_KEY_ID`]: access.accessKeyId,
    [`${prefix}_SECRET_ACCESS_KEY`]: access.secretAccessKey,
    [`${prefix}_REGION`]: "us-east-1",
  };
}

export async function copyByRclone({ stack, bare }: TransferStage, key: string, sizeBytes: number): Promise<void> {
  const found = await rclone(["version"]).then(
    () => true,
    () => false,
  );
  if (!found) {
    say("    rclone: not on this machine, left out");
    return;
  }
  const endpoint = `${bare.origin}/cdn-cgi/local/r2/s3`;
  const env = { ...remote("wasabi", stack.wasabi), ...remote("edge", { ...bare, endpoint }) };
  const target = `edge:${bareBucket}/by-rclone.mp4`;
  const startedAtMs = performance.now();
  const shape = ["--s3-chunk-size", "64Mi", "--s3-upload-concurrency", "4", "--s3-no-check-bucket"];
  try {
    await rclone(["copyto", ...shape, `wasabi:${stack.wasabi.bucket}/${key}`, target], env);
    const seconds = (performance.now() - startedAtMs) / 1_000;
    say(`    rclone: ${seconds.toFixed(1)} s, ${(sizeBytes / 1e6 / seconds).toFixed(1)} MB/s`);
    await rclone(["deletefile", target], env);
  } catch (error) {
    say(`    rclone: failed, left out (${(error as Error).message.trim().split("\n").at(-1)?.slice(0, 300)})`);
  }
}
