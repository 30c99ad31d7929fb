/** Which key an operation acts on, and when two operations on one key exclude each other. Pure. */
import type { Command } from "../schemas/command.ts";
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
