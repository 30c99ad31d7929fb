/** How far the lists are behind the assets. */
import { CatalogueLag, lagReport } from "../../schemas/catalogue-lag.ts";
import { lagSince } from "../stores/catalogue-lag.ts";
import { decisionNowMs } from "../stores/clock.ts";
import { mustReachAll, operators } from "./operator.ts";
import { reply, route } from "./route.ts";

const hourMs = 60 * 60_000;

export const catalogueLag = route({
  method: "GET",
  path: "/v1/admin/catalogue",
  summary:
    "How long changes take until they are listed: the worst of the last five minutes, and the last hour's minutes.",
  access: operators,
  answers: { 200: CatalogueLag },
  async handle({ env, caller }) {
    mustReachAll(caller);
    const nowMs = decisionNowMs(env);
    return reply(200, lagReport(await lagSince(env.CATALOGUE, nowMs - hourMs), nowMs));
  },
});
