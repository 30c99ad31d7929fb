/** What openapi.json says of delivery, whose door is not one of the API's routes. */
const text = { type: "string" } as const;
const query = (name: string, required: boolean) => ({ name, in: "query", required, schema: text });
const problem = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/ProblemBody" } } },
});
const video = (description: string) => ({
  description,
  headers: { "X-Served-From": { schema: { enum: ["r2", "wasabi"] } } },
  content: { "video/mp4": {} },
});

const operation = {
  summary: "A proxy's bytes, by a URL from POST /v1/assets/{fileId}/playback.",
  security: [],
  parameters: [
    { name: "jobId", in: "path", required: true, schema: text },
    { name: "quality", in: "path", required: true, schema: { $ref: "#/components/schemas/Quality" } },
    ...["asset", "exp", "kid", "sig"].map((name) => query(name, true)),
    query("download", false),
    query("name", false),
  ],
  responses: {
    200: video("The whole file."),
    206: video("The range asked for."),
    304: { description: "The client's copy is still good." },
    403: problem("BAD_SIGNATURE or URL_EXPIRED."),
    404: problem("NOT_FOUND."),
    410: problem("SUPERSEDED: ask for a new URL."),
    412: problem("PRECONDITION_FAILED: the file is not the one that If-Match or If-Unmodified-Since names."),
    416: problem("RANGE_NOT_SATISFIABLE; Content-Range tells the size."),
    503: problem("UNAVAILABLE; Retry-After tells when."),
  },
};

export const deliveryPaths = { "/proxies/{jobId}/{quality}.mp4": { get: operation, head: operation } };
