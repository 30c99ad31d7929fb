/** Which step a command works for, and how an outage of what it needs is told. */
import type { StorageEffect } from "../../durable-objects/machine/effect.ts";
import type { StepRef } from "../../schemas/step.ts";

/** A command that a consumer carries out for a step. */
export type OpCommand = Exclude<
  StorageEffect,
  { type: "EnqueueTranscode" | "AbortUpload" | "AbortEdgeUpload" | "CountSourceRead" }
>;

export function stepOfCommand(command: OpCommand): StepRef {
  switch (command.type) {
    case "ArchiveOriginal":
    case "IngestOriginal":
      return { kind: "archive" };
    case "CompleteUpload":
    case "RestoreArchive":
      return { kind: "complete", quality: command.quality };
    case "PlaceEdgeCopy":
    case "RemoveEdgeCopy":
      return { kind: "copy", tier: "r2", quality: command.quality };
    case "PlaceEditorCopy":
    case "CheckEditorCopy":
    case "RemoveEditorCopy":
      return { kind: "copy", tier: "lucidlink", quality: command.quality };
  }
}

export function outageOf(command: OpCommand) {
  switch (stepOfCommand(command).kind) {
    case "copy":
      return command.type.includes("Editor")
        ? ({ code: "LUCIDLINK_FULL", message: "No room left." } as const)
        : ({ code: "R2_UNAVAILABLE", message: "R2 does not answer." } as const);
    default:
      return { code: "WASABI_UNAVAILABLE", message: "Wasabi does not answer." } as const;
  }
}
