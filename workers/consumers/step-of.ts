/** Which step of the asset a command works for; null for those that no step waits on. */
import type { Command, CommandOf } from "../../schemas/command.ts";
import type { StepRef } from "../../schemas/step.ts";

export type StepCommand = Exclude<
  Command,
  CommandOf<
    "EnqueueTranscode" | "AbortUpload" | "AbortEdgeUpload" | "CountSourceRead" | "PublishCatalogue" | "NotifyApp"
  >
>;

export function stepOf(command: StepCommand): StepRef {
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
