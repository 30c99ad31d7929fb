/** What a problem's `type` points to: the code's meaning and what to do, from the one table of failures. */
import { z } from "zod";
import { FailureCode, failureFacts } from "../../schemas/failure.ts";
import { reply, route } from "./route.ts";

export const problemPage = route({
  method: "GET",
  path: "/problems/{code}",
  summary: "What a problem's code means, and what to do about it.",
  access: { by: "anyone" },
  params: z.strictObject({ code: FailureCode }),
  answers: { 200: z.object({ code: FailureCode, title: z.string(), retryable: z.boolean(), advice: z.string() }) },
  async handle(_call, { params: { code } }) {
    const { title, retryable, advice } = failureFacts[code];
    return reply(200, { code, title, retryable, advice });
  },
});
