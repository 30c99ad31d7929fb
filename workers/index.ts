/** The worker's entry: requests, queue batches and timers, each handed to its room; and the objects' classes. */
import { handleApi } from "./api/router.ts";
import { handleQueue } from "./consumers/dispatch.ts";
import { handleScheduled } from "./cron/schedule.ts";
import { handleDelivery, isDeliveryPath } from "./delivery/proxy.ts";
import type { Env } from "./stores/config.ts";

export { AssetObject } from "../durable-objects/asset-object.ts";
export { FeedObject } from "../durable-objects/feed-object.ts";
export { PullObject } from "../durable-objects/pull-object.ts";

export default {
  fetch(request, env, ctx) {
    return isDeliveryPath(request) ? handleDelivery(request, env, ctx) : handleApi(request, env, ctx);
  },
  queue: handleQueue,
  scheduled: handleScheduled,
} satisfies ExportedHandler<Env>;
