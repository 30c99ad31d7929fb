/** What only an administrator of the cluster may do, by `radosgw-admin`. */
import { configPath } from "./cluster-config.ts";
import { ProgramError, runProgram } from "./program.ts";

export type CephUser = { uid: string; accessKeyId: string; secretAccessKey: string };

const alreadyThere = 17;

const admin = (directory: string, args: readonly string[]) =>
  runProgram("radosgw-admin", ["-c", configPath(directory), "-n", "client.radosgw", ...args]);

/** One that is there already stays as it is. `caps` such as `user-policy=*`. */
export async function putUser(directory: string, user: CephUser, caps?: string): Promise<void> {
  const { uid, accessKeyId, secretAccessKey } = user;
  const keys = ["--access-key", accessKeyId, "--secret-key", secretAccessKey];
  try {
    await admin(directory, [
      "user",
      "create",
      "--uid",
      uid,
      "--display-name",
      uid,
      ...keys,
      ...(caps === undefined ? [] : ["--caps", caps]),
    ]);
  } catch (error) {
    if (!(error instanceof ProgramError) || error.status !== alreadyThere) throw error;
  }
}

/** Carries out every bucket's lifecycle rules once, with days of so many seconds. */
export async function runLifecycle(directory: string, daySeconds: number): Promise<void> {
  await admin(directory, [`--rgw-lc-debug-interval=${daySeconds}`, "lc", "process"]);
}
