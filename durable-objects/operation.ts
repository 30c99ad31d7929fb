/** Which key an operation acts on, and when two operations on one key exclude each other. Pure. */
import type { Command } from "../schemas/command.ts";
import type { AssetEvent } from "../schemas/event.ts";
import { type StepRef, stepName } from "../schemas/step.ts";
import type { OpVerb } from "./asset-door.ts";

export interface Operation {
  key: string;
  op: number;
  verb: OpVerb;
}

const verbs: Partial<Record<Command["type"], OpVerb>> = {
  ArchiveOriginal: "complete",
  IngestOriginal: "complete",
  CompleteUpload: "complete",
  RestoreArchive: "complete",
  PlaceEdgeCopy: "place",
  PlaceEditorCopy: "place",
  RemoveEdgeCopy: "remove",
  RemoveEditorCopy: "remove",
};

/** The operations' keys are named by step: one step acts on one key. @returns null for commands that change nothing. */
export function operationOf(command: { type: Command["type"]; op?: number; quality?: string }): Operation | null {
  const verb = verbs[command.type];
  if (verb === undefined || command.op === undefined) return null;
  return { key: operationKey(command), op: command.op, verb };
}

function operationKey({ type, quality }: { type: Command["type"]; quality?: string }): string {
  switch (type) {
    case "ArchiveOriginal":
    case "IngestOriginal":
      return "archive";
    case "PlaceEdgeCopy":
    case "RemoveEdgeCopy":
      return `r2:${quality}`;
    case "PlaceEditorCopy":
    case "RemoveEditorCopy":
      return `lucidlink:${quality}`;
    default:
      return `complete:${quality}`;
  }
}

/** The same intent may be carried out twice, and placing twice puts the same bytes; anything else must wait. */
export function excludes(held: { op: number; verb: OpVerb }, wanted: { op: number; verb: OpVerb }): boolean {
  if (held.op === wanted.op) return false;
  return !(held.verb === "place" && wanted.verb === "place");
}

/** The step and op that a fact reports on, so that its op token is released. */
export function reportedOperation(event: AssetEvent): { step: string; op: number } | null {
  const named = (step: StepRef, op: number) => ({ step: stepName(step), op });
  switch (event.type) {
    case "OriginalArchived":
      return named({ kind: "archive" }, event.op);
    case "RenditionArchived":
      return named({ kind: "complete", quality: event.quality }, event.op);
    case "CopyPlaced":
    case "CopyRemoved":
      return named({ kind: "copy", tier: event.tier, quality: event.quality }, event.op);
    case "StepDeferred":
    case "StepFailed":
      return named(event.step, event.op);
    default:
      return null;
  }
}
