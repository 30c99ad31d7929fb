/**
 * Every failure code that the system reports, with what it means and what to do: feeds API, docs and alerts. What the
 * system itself does about each is in failure-policy.ts.
 */
import { z } from "zod";
import { type FailureName, type FailurePolicy, failurePolicy, isRetryable } from "./failure-policy.ts";

interface FailureText {
  /** What went wrong, for a person. */
  title: string;
  /** What to do next. */
  advice: string;
}

interface FailureFacts extends FailureText {
  policy: FailurePolicy;
  /** Worth trying again without anybody doing anything. */
  retryable: boolean;
}

const table = {
  INVALID_MEDIA: failure(
    "The file is not media that can be read",
    "Check the upload; export it again and upload under a new id.",
  ),
  AUDIO_ONLY: failure("The file has sound but no picture", "Upload a file with a video track."),
  STILL_IMAGE: failure("The file is a still image", "Upload a video."),
  NO_VIDEO: failure("The file has no video track", "Upload a file with a video track."),
  UNSUPPORTED_CODEC: failure(
    "The video's codec cannot be decoded here",
    "Export the file in a common codec and upload it under a new id.",
  ),
  NO_DURATION: failure(
    "The file does not say how long it is",
    "The recording was probably not closed: repair or export it, then upload again.",
  ),
  TRUNCATED: failure(
    "The file ends before its media does",
    "The upload was cut short or the recording is damaged: upload it again.",
  ),
  SOURCE_DAMAGED: failure(
    "Some of the original cannot be decoded",
    "The renditions show the last good picture there, or are silent: see `source.damage`. If the camera's card has a whole file, upload it under a new id.",
  ),
  ENCRYPTED_MEDIA: failure("The media is encrypted", "Upload an unprotected file."),
  ORIGINAL_MISSING: failure("The original is not in Wasabi", "Finish the upload, then send the webhook again."),
  SIZE_MISMATCH: failure(
    "The size differs from the size announced",
    "Upload again, or send the right size in the webhook of a new file id.",
  ),
  CHECKSUM_MISMATCH: failure(
    "The bytes differ from what was recorded",
    "The copy is made again; if it repeats, check the source's storage.",
  ),
  ETAG_MISMATCH: failure(
    "The object in Wasabi is not the one that was verified",
    "Someone replaced it: put the verified object back, then retry.",
  ),
  SOURCE_UNREADABLE: failure(
    "The source could not be read",
    "Check that the source answers ranged reads; it is tried again.",
  ),
  SOURCE_CHANGED: failure(
    "The source changed while it was read",
    "It is read again from its start; if it repeats, stop writing to it.",
  ),
  SOURCE_EXPIRED: failure("The source URL has expired", "A fresh one is issued by itself."),
  SOURCE_REFUSED: failure("The source URL was refused", "Check the URL's permissions and send the webhook again."),
  WASABI_UNAVAILABLE: failure("Wasabi does not answer", "It is tried again by itself; watch Wasabi's status page."),
  WASABI_FORBIDDEN: failure("Wasabi refuses the keys", "Check the keys and the bucket policy, then retry."),
  UPLOAD_LOST: failure(
    "The multipart upload is gone",
    "What was being written is started over; a rendition is encoded again.",
  ),
  STRAY_UPLOAD: failure(
    "A multipart upload that nobody knew lay in Wasabi",
    "It was aborted. If it repeats, look for what opens uploads without noting them.",
  ),
  R2_STRANGER: failure(
    "Something in R2 is no proxy",
    "Look at the keys and at who put them there; nothing deletes them by itself.",
  ),
  EGRESS_HIGH: failure(
    "This month's egress from Wasabi nears what is stored there",
    "See GET /v1/admin/egress; put off what reads much, or expect a bill.",
  ),
  CATALOGUE_BEHIND: failure(
    "Changes are listed late",
    "See GET /v1/admin/catalogue and the backlog of the catalogue queue; the assets themselves are not affected.",
  ),
  R2_UNAVAILABLE: failure("R2 does not answer", "It is tried again by itself."),
  LUCIDLINK_UNAVAILABLE: failure(
    "The LucidLink agent does not answer",
    "Check the droplet and its service; it is tried again by itself.",
  ),
  LUCIDLINK_FULL: failure("LucidLink has no room left", "Free space or raise the quota; placement goes on by itself."),
  LUCIDLINK_NOT_MOUNTED: failure(
    "The LucidLink filespace is not mounted",
    "Mount it on the droplet; placement goes on by itself.",
  ),
  PATH_REFUSED: failure("The agent refused the path", "Look for a symbolic link in the client's folder."),
  LEASE_LOST: failure("The runner lost its lease", "Another runner takes the job."),
  ENCODER_FAILED: failure("The encoder failed", "Another attempt is made; see the runner's log."),
  RUNNER_FAILED: failure("The runner failed", "Another attempt is made; see the runner's log."),
  OUTPUT_INCOMPLETE: failure("The encode is shorter than its source", "Another attempt is made."),
  POISON_ASSET: failure("The asset failed on several runners", "Look at the original; retry once it is understood."),
  CANCELLED: failure(
    "An operator cancelled the job",
    "Nothing goes on by itself; a retry resumes it where it stopped.",
  ),
  STEP_OVERDUE: failure("A step gave no sign in its time", "It is sent again by itself."),
  APP_WEBHOOK_FAILED: failure("The application's endpoint did not accept the call", "Check APP_WEBHOOK_URL."),
  BAD_MESSAGE: failure("A queue message could not be read", "See the dead letter and fix what sent it."),
  CONFLICT: failure("The request contradicts what is known", "Use another file id, or send the same data."),
  BAD_REQUEST: failure("The request is not valid", "Correct the fields named in errors."),
  UNAUTHENTICATED: failure("No valid token", "Send a valid bearer token."),
  FORBIDDEN: failure(
    "The token or key does not allow this",
    "Use a token with the right role, or the key of that client.",
  ),
  BAD_SIGNATURE: failure("The signature is not valid", "Sign with the current secret and the current time."),
  URL_EXPIRED: failure("The URL has expired", "Ask for a new playback URL."),
  NOT_FOUND: failure("There is no such thing here", "Check the id and the token's clients."),
  METHOD_NOT_ALLOWED: failure("The method is not allowed here", "See /openapi.json."),
  NOT_READY: failure("The asset has no such rendition yet", "Wait for the asset's state, or ask for another quality."),
  SUPERSEDED: failure("A newer rendition has replaced this one", "Ask for a new playback URL."),
  PRECONDITION_FAILED: failure(
    "The file is not the one that the request's condition names",
    "Ask without the condition, or for the whole file.",
  ),
  RANGE_NOT_SATISFIABLE: failure(
    "The range lies outside the file",
    "Ask for a range within the size in Content-Range.",
  ),
  PAYLOAD_TOO_LARGE: failure("The request's body is too large", "Send a smaller body."),
  REQUEST_TIMEOUT: failure("The request's body did not arrive in time", "Send it again, whole and without pauses."),
  UNSUPPORTED_MEDIA_TYPE: failure("The request's body is not of a type read here", "Send application/json."),
  UPGRADE_REQUIRED: failure("This address speaks WebSocket", "Connect with a WebSocket client."),
  UNAVAILABLE: failure("The service cannot answer now", "Try again shortly."),
  INTERNAL: failure("Something went wrong here", "Try again; quote the request id if it repeats."),
} as const satisfies Record<FailureName, FailureText>;

function failure(title: string, advice: string): FailureText {
  return { title, advice };
}

const codes = Object.keys(table) as [FailureName, ...FailureName[]];

export const FailureCode = z.enum(codes);
export type FailureCode = z.infer<typeof FailureCode>;

/** What may have become of an original that was verified once. */
export const OriginalLossCode = FailureCode.extract(["ORIGINAL_MISSING", "ETAG_MISMATCH"]);
export type OriginalLossCode = z.infer<typeof OriginalLossCode>;

export const failureFacts = Object.fromEntries(
  codes.map((code) => [code, { ...table[code], policy: failurePolicy[code], retryable: isRetryable(code) }]),
) as Readonly<Record<FailureCode, FailureFacts>>;
