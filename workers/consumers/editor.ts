/** Editor copies: asks lucid-agent to place, check or remove the file in the LucidLink tree. */
import { type Transfer, transferId } from "../../schemas/agent-protocol.ts";
import type { CommandOf } from "../../schemas/command.ts";
import { noteEgress } from "../stores/egress.ts";
import { getTransfer, type LucidAgentConfig, putTransfer, removeFile } from "../stores/lucidlink.ts";
import { StoreFailure } from "../stores/store-failure.ts";
import type { Facts, Workbench } from "./workbench.ts";

type PlaceOrCheck = CommandOf<"PlaceEditorCopy"> | CommandOf<"CheckEditorCopy">;

/** The agent reads at once, and asks for a fresh URL should a long transfer outlive this one. */
const sourceUrlSeconds = 60 * 60;

export async function placeEditorCopy(command: CommandOf<"PlaceEditorCopy">, bench: Workbench): Promise<Facts> {
  await bench.claim("place");
  const transfer = await place(command, bench);
  noteEgress("placement", command.source.sizeBytes);
  return factsOf(transfer, command);
}

/** The backstop of the agent's callback; also brings a fresh URL, or the whole transfer to an agent that forgot it. */
export async function checkEditorCopy(command: CommandOf<"CheckEditorCopy">, bench: Workbench): Promise<Facts> {
  const transfer = await getTransfer(agentOf(bench), transferId(command));
  const stopped = transfer === null || (transfer.status === "failed" && transfer.problem?.code === "SOURCE_EXPIRED");
  if (!stopped) return factsOf(transfer, command);
  await bench.claim("place");
  return factsOf(await place(command, bench), command);
}

export async function removeEditorCopy(command: CommandOf<"RemoveEditorCopy">, bench: Workbench): Promise<Facts> {
  const { op, quality, jobId, key } = command;
  await bench.claim("remove");
  await removeFile(agentOf(bench), { key, mode: "delete", op });
  return [{ type: "CopyRemoved", tier: "lucidlink", quality, jobId, op }];
}

function agentOf({ config }: Workbench): LucidAgentConfig {
  if (config.lucidAgent !== null) return config.lucidAgent;
  throw new StoreFailure("LUCIDLINK_UNAVAILABLE", "This deployment has no LucidLink agent.", { retryable: false });
}

/** The id names the intent, so that asking twice is one transfer. */
async function place(command: PlaceOrCheck, bench: Workbench): Promise<Transfer> {
  const { key, source, fileId, quality, op, id } = command;
  return putTransfer(agentOf(bench), transferId(command), {
    key,
    source: { url: await bench.wasabi.presignGet(source.key, sourceUrlSeconds), etag: source.etag },
    sizeBytes: source.sizeBytes,
    sha256: source.sha256,
    callback: { url: `${bench.config.publicUrl}/v1/agent/callback`, fileId, quality, op, commandId: id },
  });
}

/** None while it is under way: the leave to begin has just told the object, whose timer asks again. */
function factsOf(transfer: Transfer, { source, quality, jobId, op, key }: PlaceOrCheck): Facts {
  if (transfer.status === "failed") {
    const { code, message } = transfer.problem ?? unexplained;
    throw new StoreFailure(code, message);
  }
  if (transfer.status !== "durable") return [];
  const same =
    transfer.key === key && transfer.sizeBytes === source.sizeBytes && transfer.sha256 === source.sha256.composite;
  if (!same) throw new StoreFailure("CHECKSUM_MISMATCH", "The agent reports another file than was asked for.");
  const { sizeBytes, sha256 } = source;
  return [{ type: "CopyPlaced", tier: "lucidlink", quality, jobId, op, sizeBytes, etag: null, sha256 }];
}

const unexplained = {
  code: "LUCIDLINK_UNAVAILABLE",
  message: "The agent reports a failure without a reason.",
} as const;
