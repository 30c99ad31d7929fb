/** Runs doctor as a person does, and reads its findings. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Finding } from "../dev/doctor/check.ts";

const script = fileURLToPath(new URL("../dev/doctor/main.ts", import.meta.url));

export type DoctorRun = { code: number; output: string; findings: Finding[] };

export async function runDoctor(...args: string[]): Promise<DoctorRun> {
  return await new Promise((resolve, reject) => {
    execFile(process.execPath, [script, ...args, "--json"], { timeout: 240_000 }, (error, stdout, stderr) => {
      try {
        const { findings } = JSON.parse(stdout) as { findings: Finding[] };
        resolve({ code: Number(error?.code ?? 0), output: stdout + stderr, findings });
      } catch (cause) {
        reject(new Error(`doctor printed no findings: ${stdout}${stderr}`, { cause }));
      }
    });
  });
}
