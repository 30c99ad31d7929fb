/** The retention policy, as operators read and change it, and the record of what they ordered. */
import { z } from "zod";
import { AuditPage } from "../../schemas/audit.ts";
import { StoredRetention } from "../../schemas/retention.ts";
import { PolicyChange } from "../../schemas/retention-order.ts";
import { Refusal } from "../problem.ts";
import { listAudit } from "../stores/audit.ts";
import { decisionNowMs } from "../stores/clock.ts";
import { changeRetention, readRetention } from "../stores/retention-policy.ts";
import { mustReachAll, operatorName, operators } from "./operator.ts";
import { reply, route } from "./route.ts";

const AUDIT_PAGE_LENGTH = 100;
const path = "/v1/admin/policy";

export const retentionPolicy = route({
  method: "GET",
  path,
  summary: "The retention policy in force: days without access by quality, and the clients and projects that differ.",
  access: operators,
  answers: { 200: StoredRetention },
  async handle({ env, config, caller }) {
    mustReachAll(caller);
    const now = new Date(decisionNowMs(env)).toISOString();
    return reply(200, (await readRetention(env.CATALOGUE, config.policy, now)).stored);
  },
});

export const changeRetentionPolicy = route({
  method: "PUT",
  path,
  summary: "Replaces the retention policy. 409 when somebody changed it since the version that is named.",
  access: operators,
  body: PolicyChange,
  answers: { 200: StoredRetention },
  async handle({ env, config, caller }, { body: { version, policy } }) {
    mustReachAll(caller);
    const at = new Date(decisionNowMs(env)).toISOString();
    const before = (await readRetention(env.CATALOGUE, config.policy, at)).stored;
    const by = operatorName(caller);
    const detail = { from: before.policy, to: policy, version: version + 1 };
    const about = { action: "policy.changed", clientName: null, projectName: null, fileId: null };
    const changed =
      before.version === version &&
      (await changeRetention(env.CATALOGUE, { policy, version }, { at, by, ...about, detail }));
    if (!changed) {
      const { stored } = await readRetention(env.CATALOGUE, config.policy, at);
      throw new Refusal("CONFLICT", `The policy is at version ${stored.version}, not ${version}: read it again.`, {
        errors: [{ path: "version", message: `must be ${stored.version}` }],
      });
    }
    return reply(200, { version: version + 1, policy, updatedAt: at, updatedBy: by });
  },
});

export const auditTrail = route({
  method: "GET",
  path: "/v1/admin/audit",
  summary:
    "What operators ordered and which originals were opened to whom, newest first. A token of some clients sees what is about them.",
  access: operators,
  query: z.strictObject({
    cursor: z.coerce.number("must be a cursor from an earlier page").int().positive().optional(),
  }),
  answers: { 200: AuditPage },
  async handle({ env, caller }, { query }) {
    const page = { beforeId: query.cursor ?? null, limit: AUDIT_PAGE_LENGTH };
    const entries = await listAudit(env.CATALOGUE, caller.clients, page);
    const oldest = entries.length === AUDIT_PAGE_LENGTH ? entries.at(-1)?.id : undefined;
    return reply(200, { entries, cursor: oldest === undefined ? null : String(oldest) });
  },
});
