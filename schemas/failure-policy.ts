/**
 * The one table of trouble: what follows from each failure code (`failurePolicy`), and which code each sign of trouble is
 * (`failureSources`). Stores, consumers, the agent and the pure machine read it; nobody else decides about trying again.
 */

/**
 * `outage`: waited out however long it lasts, never uses up a try · `attempt`: tried again after a backoff, failed once the
 * tries are used up · `fatal`: failed at once, as nothing changes by itself · `stale`: no longer wanted, told to nobody.
 */
export type FailurePolicy = "outage" | "attempt" | "fatal" | "stale";

export const failurePolicy = {
  WASABI_UNAVAILABLE: "outage",
  R2_UNAVAILABLE: "outage",
  LUCIDLINK_UNAVAILABLE: "outage",
  LUCIDLINK_FULL: "outage",
  LUCIDLINK_NOT_MOUNTED: "outage",
  // D1, or a queue: what records an upload before its first part.
  UNAVAILABLE: "outage",
  // An uploader may be slow; the step of the original waits no longer than `originalGraceMs`.
  ORIGINAL_MISSING: "outage",
  SOURCE_EXPIRED: "outage",
  NOT_READY: "outage",

  CHECKSUM_MISMATCH: "attempt",
  ETAG_MISMATCH: "attempt",
  UPLOAD_LOST: "attempt",
  SOURCE_UNREADABLE: "attempt",
  SOURCE_CHANGED: "attempt",
  LEASE_LOST: "attempt",
  ENCODER_FAILED: "attempt",
  RUNNER_FAILED: "attempt",
  OUTPUT_INCOMPLETE: "attempt",
  STEP_OVERDUE: "attempt",
  APP_WEBHOOK_FAILED: "attempt",
  INTERNAL: "attempt",

  INVALID_MEDIA: "fatal",
  AUDIO_ONLY: "fatal",
  STILL_IMAGE: "fatal",
  NO_VIDEO: "fatal",
  UNSUPPORTED_CODEC: "fatal",
  NO_DURATION: "fatal",
  TRUNCATED: "fatal",
  SOURCE_DAMAGED: "fatal",
  ENCRYPTED_MEDIA: "fatal",
  SIZE_MISMATCH: "fatal",
  SOURCE_REFUSED: "fatal",
  WASABI_FORBIDDEN: "fatal",
  PATH_REFUSED: "fatal",
  POISON_ASSET: "fatal",
  CANCELLED: "fatal",
  STRAY_UPLOAD: "fatal",
  R2_STRANGER: "fatal",
  EGRESS_HIGH: "fatal",
  CATALOGUE_BEHIND: "fatal",
  BAD_MESSAGE: "fatal",
  CONFLICT: "fatal",
  BAD_REQUEST: "fatal",
  UNAUTHENTICATED: "fatal",
  FORBIDDEN: "fatal",
  BAD_SIGNATURE: "fatal",
  URL_EXPIRED: "fatal",
  NOT_FOUND: "fatal",
  METHOD_NOT_ALLOWED: "fatal",
  PRECONDITION_FAILED: "fatal",
  RANGE_NOT_SATISFIABLE: "fatal",
  PAYLOAD_TOO_LARGE: "fatal",
  REQUEST_TIMEOUT: "fatal",
  UNSUPPORTED_MEDIA_TYPE: "fatal",
  UPGRADE_REQUIRED: "fatal",

  SUPERSEDED: "stale",
} as const satisfies Record<string, FailurePolicy>;

export type FailureName = keyof typeof failurePolicy;

/** Worth trying again without anybody doing anything. */
export function isRetryable(code: FailureName): boolean {
  const policy: FailurePolicy = failurePolicy[code];
  return policy === "outage" || policy === "attempt";
}

/** An outage that lasts so long is worth a person's look, although nobody has to do anything for it to be waited out. */
export const longOutageMs = 15 * 60_000;

/** No Retry-After may hold a step for longer: who asks for a day is asked again after an hour. */
export const longestRetryAfterMs = 60 * 60_000;

export interface FailureSource {
  /** What tells the trouble, for people. */
  readonly says: string;
  /** Sign → code. `5xx` stands for every status of its hundred that has no row of its own. */
  readonly rows: Readonly<Record<string, FailureName>>;
  /** A sign without a row; null where another source is asked then. */
  readonly otherwise: FailureName | null;
}

export const failureSources = {
  silence: {
    says: "No answer, a timeout, a connection that breaks off, or an answer that cannot be read, by who was asked",
    rows: {
      wasabi: "WASABI_UNAVAILABLE",
      r2: "R2_UNAVAILABLE",
      "lucid-agent": "LUCIDLINK_UNAVAILABLE",
      "source URL": "SOURCE_UNREADABLE",
      D1: "UNAVAILABLE",
      queue: "UNAVAILABLE",
      application: "APP_WEBHOOK_FAILED",
      consumer: "STEP_OVERDUE",
    },
    otherwise: "INTERNAL",
  },
  s3Code: {
    says: "Wasabi: the code in the XML of an error. Others, and answers without one, go by their status",
    rows: {
      SlowDown: "WASABI_UNAVAILABLE",
      ServiceUnavailable: "WASABI_UNAVAILABLE",
      InternalError: "WASABI_UNAVAILABLE",
      RequestTimeout: "WASABI_UNAVAILABLE",
      RequestTimeTooSkewed: "WASABI_UNAVAILABLE",
      OperationAborted: "WASABI_UNAVAILABLE",
      ConditionalRequestConflict: "WASABI_UNAVAILABLE",
      // The connection was cut while a body was sent.
      IncompleteBody: "WASABI_UNAVAILABLE",
      TemporaryRedirect: "WASABI_UNAVAILABLE",
      // Wasabi's throttling comes as a 403.
      RequestRateLimitExceeded: "WASABI_UNAVAILABLE",
      RequestLimitExceeded: "WASABI_UNAVAILABLE",
      BandwidthLimitExceeded: "WASABI_UNAVAILABLE",
      Throttling: "WASABI_UNAVAILABLE",
      ThrottlingException: "WASABI_UNAVAILABLE",
      TooManyRequests: "WASABI_UNAVAILABLE",
      AccessDenied: "WASABI_FORBIDDEN",
      InvalidAccessKeyId: "WASABI_FORBIDDEN",
      SignatureDoesNotMatch: "WASABI_FORBIDDEN",
      AuthorizationHeaderMalformed: "WASABI_FORBIDDEN",
      ExpiredToken: "WASABI_FORBIDDEN",
      InvalidToken: "WASABI_FORBIDDEN",
      AccountProblem: "WASABI_FORBIDDEN",
      AllAccessDisabled: "WASABI_FORBIDDEN",
      // A wrong bucket or region is a wrong setting, never a missing original.
      NoSuchBucket: "WASABI_FORBIDDEN",
      PermanentRedirect: "WASABI_FORBIDDEN",
      NoSuchKey: "ORIGINAL_MISSING",
      NoSuchVersion: "ORIGINAL_MISSING",
      NoSuchUpload: "UPLOAD_LOST",
      InvalidPart: "UPLOAD_LOST",
      InvalidPartOrder: "UPLOAD_LOST",
      EntityTooSmall: "UPLOAD_LOST",
      PreconditionFailed: "ETAG_MISMATCH",
      BadDigest: "CHECKSUM_MISMATCH",
      XAmzContentSHA256Mismatch: "CHECKSUM_MISMATCH",
      InvalidRange: "RANGE_NOT_SATISFIABLE",
      NotImplemented: "BAD_REQUEST",
    },
    otherwise: null,
  },
  s3Status: {
    says: "Wasabi: the status of an error without a code that is known",
    rows: {
      "301": "WASABI_FORBIDDEN",
      "401": "WASABI_FORBIDDEN",
      "403": "WASABI_FORBIDDEN",
      // S3 names the key or the bucket that it has not: a bare 404 is somebody else's.
      "404": "WASABI_UNAVAILABLE",
      "408": "WASABI_UNAVAILABLE",
      "412": "ETAG_MISMATCH",
      "416": "RANGE_NOT_SATISFIABLE",
      "425": "WASABI_UNAVAILABLE",
      "429": "WASABI_UNAVAILABLE",
      "5xx": "WASABI_UNAVAILABLE",
    },
    otherwise: "BAD_REQUEST",
  },
  s3Answer: {
    says: "Wasabi: an answer that says 2xx and is wrong",
    rows: {
      "another range than asked": "WASABI_UNAVAILABLE",
      "another ETag than asked": "ETAG_MISMATCH",
      "no ETag": "WASABI_UNAVAILABLE",
      "no size": "WASABI_UNAVAILABLE",
    },
    otherwise: "WASABI_UNAVAILABLE",
  },
  urlStatus: {
    says: "A source URL: the status of its answer. Retry-After is honoured",
    rows: {
      "404": "ORIGINAL_MISSING",
      "408": "SOURCE_UNREADABLE",
      "412": "SOURCE_CHANGED",
      "416": "SIZE_MISMATCH",
      "425": "SOURCE_UNREADABLE",
      "429": "SOURCE_UNREADABLE",
      "5xx": "SOURCE_UNREADABLE",
    },
    otherwise: "SOURCE_REFUSED",
  },
  urlAnswer: {
    says: "A source URL: what is wrong with an answer of 2xx or 3xx",
    rows: {
      "a web page, JSON or XML instead of a file": "SOURCE_REFUSED",
      "a redirect to an address that is not public": "SOURCE_REFUSED",
      "redirects without end": "SOURCE_REFUSED",
      "another size than announced": "SIZE_MISMATCH",
      "another range than asked": "SOURCE_UNREADABLE",
      "another version than asked": "SOURCE_CHANGED",
    },
    otherwise: "SOURCE_UNREADABLE",
  },
  r2: {
    says: "R2: the number at the end of its error's message",
    rows: {
      // EntityTooSmall, NoSuchUpload, InvalidPart, and parts of unequal sizes: started over.
      "10011": "UPLOAD_LOST",
      "10024": "UPLOAD_LOST",
      "10025": "UPLOAD_LOST",
      "10048": "UPLOAD_LOST",
      // InvalidDigest, BadDigest.
      "10014": "CHECKSUM_MISMATCH",
      "10037": "CHECKSUM_MISMATCH",
      "10039": "RANGE_NOT_SATISFIABLE",
      // MetadataTooLarge, InvalidObjectName, InvalidArgument: what we asked for is wrong.
      "10012": "INTERNAL",
      "10020": "INTERNAL",
      "10029": "INTERNAL",
    },
    otherwise: "R2_UNAVAILABLE",
  },
  agentStatus: {
    says: "lucid-agent: the status of a refusal that names no code of its own; a code that it names is taken as it is",
    rows: { "400": "BAD_REQUEST", "409": "CONFLICT", "413": "BAD_REQUEST", "422": "BAD_REQUEST" },
    otherwise: "LUCIDLINK_UNAVAILABLE",
  },
  agentErrno: {
    says: "lucid-agent: the system error of its file system",
    rows: {
      ENOSPC: "LUCIDLINK_FULL",
      EDQUOT: "LUCIDLINK_FULL",
      // A FUSE mount whose daemon is gone.
      ENOTCONN: "LUCIDLINK_NOT_MOUNTED",
      ENODEV: "LUCIDLINK_NOT_MOUNTED",
      ELOOP: "PATH_REFUSED",
    },
    otherwise: "LUCIDLINK_UNAVAILABLE",
  },
  agentSource: {
    says: "lucid-agent: how Wasabi answered its ranged read. Throttling, 408, 425, 429 and 5xx it waits out itself",
    rows: {
      "200": "SOURCE_UNREADABLE",
      "400 ExpiredToken": "SOURCE_EXPIRED",
      "401": "SOURCE_EXPIRED",
      "403": "SOURCE_EXPIRED",
      "412": "ETAG_MISMATCH",
      "416": "SIZE_MISMATCH",
      "another size than asked": "SIZE_MISMATCH",
      "another range than asked": "SOURCE_UNREADABLE",
      "another ETag than asked": "ETAG_MISMATCH",
    },
    otherwise: "SOURCE_UNREADABLE",
  },
  object: {
    says: "The asset's object: its answer to whoever would act",
    rows: {
      "the command is no longer wanted": "SUPERSEDED",
      "a newer operation has replaced this one": "SUPERSEDED",
      "another operation holds the key": "NOT_READY",
    },
    otherwise: "INTERNAL",
  },
} as const satisfies Record<string, FailureSource>;

type Sources = typeof failureSources;
type Rows<Name extends keyof Sources> = Sources[Name]["rows"];
/** Told so exactly that whoever may name only some codes, as the agent may, is checked by the compiler. */
type Judgement<Name extends keyof Sources> = Rows<Name>[keyof Rows<Name>] | Sources[Name]["otherwise"];

/** The code of a sign that the table is known to have. */
export function codeOf<Name extends keyof Sources, Sign extends keyof Rows<Name>>(
  name: Name,
  sign: Sign,
): Rows<Name>[Sign] {
  const rows: Rows<Name> = failureSources[name].rows;
  return rows[sign];
}

/** The code of whatever sign came: its own row, else that of its hundred, else what the source says of all others. */
export function judged<Name extends keyof Sources>(name: Name, sign: string | number | null): Judgement<Name> {
  const { rows, otherwise }: FailureSource = failureSources[name];
  const text = String(sign);
  const hundred = /^\d{3}$/.test(text) ? `${text[0]}xx` : text;
  // A sign may come from outside: `constructor` is no row.
  const found = [text, hundred].find((each) => Object.hasOwn(rows, each));
  return (found === undefined ? otherwise : rows[found]) as Judgement<Name>;
}
